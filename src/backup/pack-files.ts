import { once } from "node:events";
import { constants } from "node:fs";
import tar from "tar-stream";
import { changedFile, readableFile } from "./readable-file.ts";
import type { IncludedEntry, IncludedFiles } from "./scan-files.ts";

export interface PackOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told of a file that went on growing while it was read: it is in the archive up to there. */
  readonly onNote?: ((note: string) => void) | undefined;
}

type Header = Parameters<tar.Pack["entry"]>[0];

const chunkBytes = 256 * 1024;
/** What the old header's field holds; the exact time is in the pax header. */
const latestOldTime = new Date((2 ** 31 - 1) * 1000);

/**
 * The bytes of a tar archive (pax) with what was scanned: names, owners as numbers, modes, times
 * to the millisecond, links as links.
 *
 * @throws {AppError} exit 8 naming the file that shrank, vanished or became something else
 */
export async function* packFiles(
  included: Pick<IncludedFiles, "entries">,
  options: PackOptions = {},
): AsyncGenerator<Uint8Array> {
  const pack = tar.pack();
  const feeding = feed(pack, included.entries, options).then(
    () => pack.finalize(),
    (error: unknown) => {
      pack.destroy(error instanceof Error ? error : new Error(String(error)));
      throw error;
    },
  );
  feeding.catch(() => undefined); // it is awaited below, or nobody is interested any more
  try {
    yield* pack as AsyncIterable<Uint8Array>;
    await feeding;
  } finally {
    pack.destroy();
    await feeding.catch(() => undefined);
  }
}

async function feed(
  pack: tar.Pack,
  entries: readonly IncludedEntry[],
  options: PackOptions,
): Promise<void> {
  for (const entry of entries) {
    options.signal?.throwIfAborted();
    if (entry.kind === "file") await addFile(pack, entry, options);
    else await addEmpty(pack, entry);
  }
}

async function addEmpty(pack: tar.Pack, entry: IncludedEntry): Promise<void> {
  const header =
    entry.kind === "folder"
      ? { ...headerOf(entry), name: `${entry.name}/`, type: "directory" as const }
      : { ...headerOf(entry), type: "symlink" as const, linkname: entry.target ?? "" };
  await new Promise<void>((resolve, reject) => {
    pack.entry(header, (error) => (error ? reject(error) : resolve())).end(null);
  });
}

async function addFile(pack: tar.Pack, entry: IncludedEntry, options: PackOptions): Promise<void> {
  const file = await readableFile(entry.path);
  try {
    // As it is now: the scan may have been a while ago.
    const { size, mode, uid, gid, mtime, mtimeMs } = await file.stat();
    const now = { ...entry, mode, uid, gid, mtime };
    const sink = pack.entry({ ...headerOf(now), type: "file", size });
    const ended = new Promise<void>((resolve, reject) => {
      sink.on("error", reject);
      sink.on("close", resolve);
    });
    ended.catch(() => undefined); // raced below
    let written = 0;
    while (written < size) {
      options.signal?.throwIfAborted();
      const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, size - written));
      const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
      if (bytesRead === 0) throw changedFile(entry.path);
      written += bytesRead;
      if (!sink.write(chunk.subarray(0, bytesRead))) {
        await Promise.race([once(sink, "drain"), ended]);
        if (pack.destroyed) return; // nobody reads any more
      }
    }
    sink.end(null);
    await ended;
    const after = await file.stat();
    if (after.size !== size || after.mtimeMs !== mtimeMs) {
      if (after.size < size) throw changedFile(entry.path);
      options.onNote?.(
        `the file "${entry.path}" was changed while it was being read; the archive holds its first ${size} bytes`,
      );
    }
  } finally {
    await file.close();
  }
}

/** Numbers and times stand in the pax header, since the old one's fields are too small for some. */
function headerOf(entry: IncludedEntry): Header {
  const { name, uid, gid, mtime } = entry;
  return {
    name,
    // The bits of the kind keep tar-stream from taking mode 0 for none.
    mode: entry.mode | constants.S_IFREG,
    mtime: mtime > latestOldTime ? latestOldTime : mtime,
    size: 0,
    pax: {
      uid: String(uid),
      gid: String(gid),
      mtime: (mtime.getTime() / 1000).toFixed(3),
    },
  };
}
