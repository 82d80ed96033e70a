import { createReadStream, createWriteStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import tar from "tar-stream";
import { AppError, ExitCode } from "../errors.ts";
import { type StorageAdvice, storageError } from "../storage/local-file.ts";
import { readTar } from "./tar-reader.ts";

/** pg_dump's directory format is flat, and its names are plain. */
const plainName = /^[a-z0-9_][a-z0-9_.]*$/;
const contents = "toc.dat";

/** A folder of pg_dump's directory format as a tar; the table of contents first. */
export async function* packFolder(folder: string): AsyncGenerator<Uint8Array> {
  const pack = tar.pack({ highWaterMark: 1 << 20 });
  const names = (await readdir(folder)).sort(
    (a, b) => Number(b === contents) - Number(a === contents) || (a < b ? -1 : 1),
  );
  const filling = (async () => {
    for (const name of names) {
      const path = join(folder, name);
      const { size } = await stat(path);
      const entry = pack.entry({ name, size, mode: 0o600 });
      await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), entry);
    }
    pack.finalize();
  })();
  filling.catch((error: unknown) => pack.destroy(error instanceof Error ? error : undefined));
  for await (const chunk of pack) yield chunk as Uint8Array;
  await filling;
}

/** Where else an archive can lie. */
export const tempAdvice: StorageAdvice = {
  taken: (path) => new AppError("temp-file", ExitCode.storage, `"${path}" exists already`),
  elsewhere: "temporary files elsewhere with --temp-dir or BACKUP_TEMP_DIR",
  choose: "another place for temporary files with --temp-dir or BACKUP_TEMP_DIR",
};

/** A file in a tar of a dump. */
export interface DumpFile {
  readonly name: string;
  readonly bytes: number;
}

/**
 * Reads such a tar, and writes the files that `keep` wants into a folder.
 *
 * @throws {AppError} exit 3 when the tar is cut short or is none of a dump, 8 when the folder is full
 */
export async function unpackFolder(
  source: AsyncIterable<Uint8Array>,
  folder: string,
  name: string,
  keep: (file: DumpFile) => boolean = () => true,
): Promise<readonly DumpFile[]> {
  const files: DumpFile[] = [];
  for await (const entry of readTar(source, name)) {
    if (entry.kind !== "file" || !plainName.test(entry.name)) {
      throw noDump(name, `it holds "${entry.name}", which pg_dump does not write`);
    }
    const file = { name: entry.name, bytes: entry.bytes };
    files.push(file);
    if (!keep(file)) continue;
    const path = join(folder, file.name);
    await pipeline(entry.content, createWriteStream(path, { mode: 0o600, flags: "wx" })).catch(
      (error: unknown) => {
        throw storageError(error, path, tempAdvice);
      },
    );
  }
  if (!files.some((file) => file.name === contents)) throw noDump(name, `"${contents}" is missing`);
  return files;
}

function noDump(name: string, why: string): AppError {
  return new AppError(
    "corrupt-dump",
    ExitCode.invalidInput,
    `${name} is no whole dump of the directory format: ${why}`,
    { hint: "Take another backup, or another copy of this one." },
  );
}
