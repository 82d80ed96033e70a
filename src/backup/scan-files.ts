import type { Stats } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import { join, resolve, sep } from "node:path";
import { AppError, ExitCode } from "../errors.ts";
import { holdsPrivateKey, keyScanBytes } from "./private-keys.ts";
import { readableFile } from "./readable-file.ts";

/** One file, folder or symbolic link that goes into the archive of files. */
export interface IncludedEntry {
  /** Where it lies, absolute. */
  readonly path: string;
  /** Its name in the archive: the absolute path without the slash at its beginning. */
  readonly name: string;
  readonly kind: "file" | "folder" | "symlink";
  /** Of a file, as of the scan; 0 for the others. */
  readonly bytes: number;
  /** With the bits of its kind, as lstat gives it. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Date;
  /** Where a symbolic link points to, as it is written there. */
  readonly target?: string;
}

export interface IncludedFiles {
  /** In the order of the paths that were given, each folder before what is in it. */
  readonly entries: readonly IncludedEntry[];
  /** How many of them are files. */
  readonly files: number;
  /** Of all files together. */
  readonly bytes: number;
  /** The files that hold a private key anybody could use. */
  readonly privateKeys: readonly string[];
  /** What cannot be kept in an archive, or was gone before it could be read. */
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
  /** Links whose targets are not in the archive: restored, they may point to nothing. */
  readonly warnings: readonly string[];
}

/**
 * Looks at everything below the given paths, without following symbolic links.
 *
 * @throws {AppError} exit 2 for a path that does not exist, 8 for what cannot be read
 */
export async function scanIncluded(
  paths: readonly string[],
  signal?: AbortSignal,
): Promise<IncludedFiles> {
  const found = new Map<string, IncludedEntry>();
  const privateKeys: string[] = [];
  const skipped: { path: string; reason: string }[] = [];
  const links: IncludedEntry[] = [];
  const buffer = Buffer.alloc(keyScanBytes);

  async function visit(path: string, given: boolean): Promise<void> {
    signal?.throwIfAborted();
    if (found.has(path)) return;
    const info = await statOf(path, given);
    if (info === undefined) {
      const lossy = path.includes("\ufffd");
      skipped.push({
        path,
        reason: lossy ? "its name is not UTF-8" : "it was gone before it could be read",
      });
      return;
    }
    const kind = kindOf(info);
    if (kind === undefined) {
      skipped.push({ path, reason: `it is a ${specialKind(info)}` });
      return;
    }
    const entry = await entryOf(path, kind, info);
    found.set(path, entry);
    if (kind === "symlink") links.push(entry);
    if (kind === "file" && (await fileHoldsKey(path, buffer))) privateKeys.push(path);
    if (kind !== "folder") return;
    for (const name of (await namesIn(path)).sort()) await visit(join(path, name), false);
  }

  for (const path of paths) await visit(resolve(path), true);
  const entries = [...found.values()].filter((entry) => entry.name !== "");
  const files = entries.filter((entry) => entry.kind === "file");
  return {
    entries,
    files: files.length,
    bytes: files.reduce((sum, entry) => sum + entry.bytes, 0),
    privateKeys,
    skipped,
    warnings: links.filter((link) => !pointsInside(link, found)).map(danglingWarning),
  };
}

async function statOf(path: string, given: boolean): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code !== "ENOENT" && code !== "ENOTDIR") throw unreadable(path, cause);
    if (!given) return undefined;
    throw new AppError("no-such-file", ExitCode.usage, `there is no file or folder "${path}"`, {
      hint: "Check the paths of --include or BACKUP_INCLUDE_PATHS.",
      cause,
      data: { path },
    });
  }
}

function kindOf(info: Stats): IncludedEntry["kind"] | undefined {
  if (info.isFile()) return "file";
  if (info.isDirectory()) return "folder";
  return info.isSymbolicLink() ? "symlink" : undefined;
}

function specialKind(info: Stats): string {
  if (info.isSocket()) return "socket";
  return info.isFIFO() ? "named pipe" : "device";
}

async function entryOf(
  path: string,
  kind: IncludedEntry["kind"],
  info: Stats,
): Promise<IncludedEntry> {
  const { mode, uid, gid, mtime } = info;
  return {
    path,
    name: path.replaceAll(sep, "/").replace(/^\/+/, ""),
    kind,
    bytes: kind === "file" ? info.size : 0,
    mode,
    uid,
    gid,
    mtime,
    ...(kind === "symlink" ? { target: await readlink(path) } : {}),
  };
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

async function fileHoldsKey(path: string, buffer: Buffer): Promise<boolean> {
  const file = await readableFile(path);
  try {
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return holdsPrivateKey(path, buffer.subarray(0, length));
  } finally {
    await file.close();
  }
}

function pointsInside(link: IncludedEntry, found: ReadonlyMap<string, IncludedEntry>): boolean {
  return found.has(resolve(link.path, "..", link.target ?? ""));
}

function danglingWarning(link: IncludedEntry): string {
  return `"${link.path}" is a link to "${link.target}", which is not among the included files; only the link itself is kept`;
}

function unreadable(path: string, cause: unknown): AppError {
  const code = (cause as NodeJS.ErrnoException).code ?? "unknown error";
  return new AppError(
    "unreadable-file",
    ExitCode.storage,
    `"${path}" cannot be read (${code}), and without it the backup would not be whole`,
    {
      hint: "Check its owner and mode, or leave it out of --include.",
      cause,
      data: { path },
    },
  );
}
