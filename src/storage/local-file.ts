import { createReadStream, createWriteStream, type ReadStream } from "node:fs";
import { access, link, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { AppError, ExitCode } from "../errors.ts";
import { interruptible } from "./interruption.ts";
import { temporaryName } from "./temporary-name.ts";

export interface WrittenFile {
  readonly path: string;
  readonly bytes: number;
}

export interface WriteFileOptions {
  /** Stages between the source and the file, such as compression. */
  readonly stages: readonly Transform[];
  readonly overwrite: boolean;
  readonly signal?: AbortSignal;
  /** By default that for a file which `-o` names. */
  readonly advice?: StorageAdvice;
}

/** What the hints about a file that cannot be written tell to do. */
export interface StorageAdvice {
  /** For the error when the name is taken. */
  readonly taken: (path: string) => AppError;
  /** Where else to write, in a sentence: `to another place with -o`. */
  readonly elsewhere: string;
  /** What to choose otherwise, in a sentence. */
  readonly choose: string;
}

const adviceForOutput: StorageAdvice = {
  taken: (path) =>
    new AppError("output-exists", ExitCode.usage, `the file "${path}" exists already`, {
      hint: "Choose another name with -o, or add --overwrite.",
    }),
  elsewhere: "to another place with -o",
  choose: "another place with -o or BACKUP_DIR",
};

/**
 * Writes a file that has its name only when it is complete: into a temporary neighbour, fsync,
 * then the name. Mode 0600; folders that are missing are made with 0700. Whatever goes wrong,
 * the temporary file is removed.
 *
 * @throws {AppError} exit 2 when the file exists and may not be overwritten, 8 when the disk
 *   is full or the folder cannot be written to
 */
export async function writeWholeFile(
  path: string,
  source: AsyncIterable<Uint8Array>,
  options: WriteFileOptions,
): Promise<WrittenFile> {
  const advice = options.advice ?? adviceForOutput;
  if (!options.overwrite) await refuseExisting(path, advice);
  const folder = dirname(path);
  const partial = join(folder, temporaryName(path));
  try {
    const made = await mkdir(folder, { recursive: true, mode: 0o700 });
    await pipeline(
      [
        Readable.from(interruptible(source, options.signal), {
          objectMode: false,
          highWaterMark: 1 << 20,
        }),
        ...options.stages,
        createWriteStream(partial, {
          mode: 0o600,
          flags: "wx",
          flush: true,
          highWaterMark: 1 << 20,
        }),
      ],
      options.signal === undefined ? {} : { signal: options.signal },
    );
    const { size } = await stat(partial);
    if (options.overwrite) await rename(partial, path);
    else await giveName(partial, path, advice);
    await syncFolder(folder);
    // The names of new folders have to be on disk, too.
    for (let parent = folder; made !== undefined && parent !== dirname(made); ) {
      parent = dirname(parent);
      await syncFolder(parent);
    }
    return { path, bytes: size };
  } catch (error) {
    throw storageError(error, path, advice);
  } finally {
    await rm(partial, { force: true }).catch(() => undefined);
  }
}

/** A hard link fails when the name is taken, so that two runs cannot overwrite each other. */
async function giveName(partial: string, path: string, advice: StorageAdvice): Promise<void> {
  try {
    await link(partial, path);
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST") throw advice.taken(path);
    if (code !== "EPERM" && code !== "ENOTSUP" && code !== "ENOSYS") throw error;
    await refuseExisting(path, advice);
    await rename(partial, path);
  }
}

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } catch {
    // Some file systems cannot sync a folder; the file itself is on disk.
  } finally {
    await handle.close();
  }
}

/** @throws {AppError} when something has this name already; by default with exit 2 */
export async function refuseExisting(path: string, advice = adviceForOutput): Promise<void> {
  try {
    await access(path);
  } catch {
    return;
  }
  throw advice.taken(path);
}

/**
 * The bytes of a file, and how many it has.
 *
 * @throws {AppError} exit 2 when there is no such file or it cannot be opened
 */
export async function readWholeFile(
  path: string,
): Promise<{ readonly stream: ReadStream; readonly size: number }> {
  let size = 0;
  try {
    const info = await stat(path);
    size = info.size;
    if (info.isDirectory()) {
      throw new AppError("not-a-file", ExitCode.usage, `"${path}" is a folder`, {
        hint: "Give the path of one file.",
      });
    }
    await access(path, 4);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    const missing = codeOf(cause) === "ENOENT";
    throw new AppError(
      missing ? "no-such-file" : "unreadable-file",
      ExitCode.usage,
      missing
        ? `there is no file "${path}"`
        : `the file "${path}" cannot be read (${codeOf(cause)})`,
      { cause, hint: missing ? "Check the path." : "Check its owner and mode." },
    );
  }
  return { stream: createReadStream(path, { highWaterMark: 1 << 20 }), size };
}

/** Writes to the standard output; a closed pipe is an error, since the bundle is incomplete. */
export async function writeToStdout(
  source: AsyncIterable<Uint8Array>,
  options: Omit<WriteFileOptions, "overwrite">,
): Promise<WrittenFile> {
  let bytes = 0;
  const counted = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  try {
    await pipeline(
      [
        Readable.from(source, { objectMode: false, highWaterMark: 1 << 20 }),
        ...options.stages,
        counted,
        process.stdout,
      ],
      { end: false, ...(options.signal === undefined ? {} : { signal: options.signal }) },
    );
  } catch (error) {
    throw storageError(error, "the standard output");
  }
  return { path: "-", bytes };
}

/** What went wrong with a file, as an operator can act on it; other errors as they are. */
export function storageError(
  error: unknown,
  path: string,
  advice: StorageAdvice = adviceForOutput,
): unknown {
  const where = path.startsWith("the ") ? path : `"${path}"`;
  const fail = (code: string, message: string, hint: string) =>
    new AppError(code, ExitCode.storage, message, { hint, cause: error });
  switch (codeOf(error)) {
    case "ENOSPC":
    case "EDQUOT":
      return fail(
        "disk-full",
        `the disk is full: ${where} could not be written`,
        `Free some space, or write ${advice.elsewhere}. The partial file was removed.`,
      );
    case "EPIPE":
    case "ERR_STREAM_PREMATURE_CLOSE":
      return fail(
        "closed-pipe",
        `${where} was closed before everything was written`,
        "The program that reads the pipe ended early; its own message tells why.",
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return fail(
        "not-writable",
        `${where} cannot be written (${codeOf(error)})`,
        `Choose ${advice.choose}, or change the folder's rights.`,
      );
    case "EEXIST": // where a folder is wanted, there is a file
    case "ENOTDIR":
    case "ENAMETOOLONG":
    case "EISDIR":
    case "ENOENT":
      return fail(
        "not-writable",
        `${where} cannot be written (${codeOf(error)})`,
        "Check the path.",
      );
    case "EIO":
      return fail(
        "disk-error",
        `the disk failed while ${where} was written`,
        `Check the machine's disks; write ${advice.elsewhere}.`,
      );
    default:
      return isOfFile(error)
        ? fail(
            "not-writable",
            `${where} cannot be written (${codeOf(error)})`,
            `Check the disk or the mount, and the system's log; or write ${advice.elsewhere}.`,
          )
        : error;
  }
}

/** Of what is written: the connection that it comes from, or its program, has another story. */
const ofConnections: ReadonlySet<string | undefined> = new Set([
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "ENETDOWN",
  "ENETRESET",
  "ENETUNREACH",
]);

/** Whether the system has refused something to a file: there are more names than anybody lists. */
function isOfFile(error: unknown): boolean {
  if (!(error instanceof Error) || !("errno" in error) || !("syscall" in error)) return false;
  const { errno, syscall } = error;
  if (typeof errno !== "number" || typeof syscall !== "string") return false;
  if (/^(connect|getaddrinfo|spawn)\b/.test(syscall)) return false;
  const code = codeOf(error);
  return !ofConnections.has(code) && !(syscall === "read" && code === "ETIMEDOUT");
}

/** The system's name of an error, such as `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;
}
