import { constants, type Dirent } from "node:fs";
import { type FileHandle, lstat, open, readdir, rm, unlink } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { addAbortSignal, Readable } from "node:stream";
import { AppError, ExitCode } from "../errors.ts";
import { codeOf, type StorageAdvice, syncFolder, writeWholeFile } from "./local-file.ts";
import type { Store, StoredObject, WriteOptions } from "./store.ts";
import { checkKey, compareKeys, noSuchObject, objectExists, objectLocked } from "./store-key.ts";
import { isHidden, nameToBe } from "./temporary-name.ts";

const readChunk = 1 << 20;

const advice: StorageAdvice = {
  taken: objectExists,
  elsewhere: "to another disk with -d or BACKUP_DIR",
  choose: "another folder with -d or BACKUP_DIR",
};

/**
 * A folder as a store; it is made, with mode 0700, when the first object is written. Symbolic
 * links below it are neither followed nor listed, so that nothing outside is reached.
 */
export function openLocalStore(folder: string): Store {
  const root = normalize(folder).replace(/(?<=.)\/+$/, "");
  const pathOf = (key: string) => join(root, checkKey(key));

  return Object.freeze({
    kind: "local" as const,
    place: root,
    nameOf: (key: string) => join(root, key),

    async *list(prefix = ""): AsyncGenerator<StoredObject> {
      for await (const { key, entry } of walk(root, "", prefix)) {
        if (!entry.isFile() || isHidden(key)) continue;
        const found = await statFile(root, key);
        if (found !== undefined) yield found;
      }
    },

    stat: (key: string) => statFile(root, checkKey(key)),

    async read(key: string, options: { readonly signal?: AbortSignal | undefined } = {}) {
      const path = pathOf(key);
      if ((await statFile(root, key)) === undefined) throw noSuchObject(path);
      const handle = await openForReading(path);
      const stream = Readable.from(bytesOf(handle, path), {
        objectMode: false,
        highWaterMark: readChunk,
      });
      // A generator that was never started has no `finally` to close it.
      stream.once("close", () => void handle.close().catch(() => undefined));
      return options.signal === undefined ? stream : addAbortSignal(options.signal, stream);
    },

    async write(key: string, source: AsyncIterable<Uint8Array>, options: WriteOptions = {}) {
      const path = pathOf(key);
      await refuseLinks(root, key);
      const { bytes } = await writeWholeFile(path, source, {
        stages: [],
        overwrite: options.overwrite ?? false,
        advice,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      return { bytes };
    },

    async remove(key: string) {
      const path = pathOf(key);
      if ((await statFile(root, key)) === undefined) return;
      try {
        await unlink(path);
        await syncFolder(dirname(path));
      } catch (error) {
        const code = codeOf(error);
        if (code === "ENOENT") return;
        if (code === "EACCES" || code === "EPERM" || code === "EROFS" || code === "EBUSY") {
          throw objectLocked(path, code, error);
        }
        throw readError(error, path);
      }
    },

    async sweep(prefix: string) {
      const removed: string[] = [];
      for await (const { key, entry } of walk(root, "", prefix)) {
        const inFolder = key.slice(0, key.length - entry.name.length);
        const name = nameToBe(entry.name);
        if (name === undefined || !`${inFolder}${name}`.startsWith(prefix)) continue;
        if (!entry.isFile()) continue;
        const path = join(root, key);
        await rm(path, { force: true }).catch((error: unknown) => {
          throw objectLocked(path, codeOf(error) ?? "unknown", error);
        });
        removed.push(path);
      }
      return removed;
    },

    close: () => Promise.resolve(),
  });
}

interface Entry {
  readonly key: string;
  readonly entry: Dirent;
}

/**
 * Every file whose key, or whose key once it is complete, may begin with the prefix, in the
 * order of keys: a folder stands where its name with a slash would.
 */
async function* walk(root: string, folder: string, prefix: string): AsyncGenerator<Entry> {
  const entries = (await entriesOf(join(root, folder)))
    .map((entry) => ({ entry, key: `${folder}${entry.name}${entry.isDirectory() ? "/" : ""}` }))
    .sort((a, b) => compareKeys(a.key, b.key));
  for (const { entry, key } of entries) {
    if (entry.isDirectory()) {
      if (!isHidden(key) && (key.startsWith(prefix) || prefix.startsWith(key))) {
        yield* walk(root, key, prefix);
      }
    } else if (key.startsWith(prefix) || nameToBe(entry.name) !== undefined) {
      yield { key, entry };
    }
  }
}

async function entriesOf(folder: string): Promise<readonly Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw readError(error, folder);
  }
}

/** Undefined for whatever is no plain file, and for what only a symbolic link leads to. */
async function statFile(root: string, key: string): Promise<StoredObject | undefined> {
  const path = join(root, key);
  try {
    if ((await firstLink(root, key)) !== undefined) return undefined;
    const info = await lstat(path);
    if (!info.isFile()) return undefined;
    return { key, bytes: info.size, modifiedAt: info.mtime };
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG") return undefined;
    throw readError(error, path);
  }
}

/** The first folder on the way to a key that is a symbolic link. */
async function firstLink(root: string, key: string): Promise<string | undefined> {
  let path = root;
  for (const part of key.split("/").slice(0, -1)) {
    path = join(path, part);
    if ((await lstat(path)).isSymbolicLink()) return path;
  }
  return undefined;
}

async function refuseLinks(root: string, key: string): Promise<void> {
  // What does not exist yet is no link.
  const link = await firstLink(root, key).catch(() => undefined);
  if (link === undefined) return;
  throw new AppError("not-writable", ExitCode.storage, `"${link}" is a symbolic link`, {
    hint: "Links in a folder of backups are not followed; mount the other disk there, or make it the whole folder.",
  });
}

async function openForReading(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (codeOf(error) === "ENOENT") throw noSuchObject(path);
    throw readError(error, path);
  }
}

async function* bytesOf(handle: FileHandle, path: string): AsyncGenerator<Uint8Array> {
  for (;;) {
    const { buffer, bytesRead } = await handle
      .read(Buffer.allocUnsafe(readChunk), 0, readChunk)
      .catch((error: unknown) => {
        throw readError(error, path);
      });
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

function readError(error: unknown, path: string): unknown {
  const code = codeOf(error);
  if (code === undefined) return error;
  return new AppError("not-readable", ExitCode.storage, `"${path}" cannot be read (${code})`, {
    hint:
      code === "EIO"
        ? "The disk failed; check it, and take another copy of the file."
        : "Check the owner and mode of the file and of the folders above it.",
    cause: error,
  });
}
