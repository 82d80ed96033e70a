import { createReadStream, createWriteStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import tar from "tar-stream";
import { AppError, ExitCode } from "../errors.ts";

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

/** A file in a tar of a dump. */
export interface DumpFile {
  readonly name: string;
  readonly bytes: number;
}

/**
 * Reads such a tar, and writes the files that `keep` wants into a folder.
 *
 * @throws {AppError} exit 3 when the tar is cut short or is none of a dump
 */
export async function unpackFolder(
  source: AsyncIterable<Uint8Array>,
  folder: string,
  name: string,
  keep: (file: DumpFile) => boolean = () => true,
): Promise<readonly DumpFile[]> {
  const extract = tar.extract();
  const files: DumpFile[] = [];
  const input = Readable.from(withEnd(source, name), { objectMode: false });
  input.on("error", (error) => extract.destroy(error));
  input.pipe(extract);
  try {
    for await (const entry of extract) {
      const file = { name: entry.header.name, bytes: entry.header.size ?? 0 };
      if (entry.header.type !== "file" || !plainName.test(file.name)) {
        throw noDump(name, `it holds "${file.name}", which pg_dump does not write`);
      }
      files.push(file);
      if (!keep(file)) {
        entry.resume();
        continue;
      }
      await pipeline(
        entry,
        createWriteStream(join(folder, file.name), { mode: 0o600, flags: "wx" }),
      );
    }
  } catch (error) {
    if (error instanceof AppError) throw error;
    if (error instanceof Error && "code" in error && error.code !== undefined) throw error;
    throw noDump(name, "it is no tar, or its end is missing");
  } finally {
    input.destroy();
  }
  if (!files.some((file) => file.name === contents)) throw noDump(name, `"${contents}" is missing`);
  return files;
}

/** The reader takes a tar without its two empty blocks for whole; a cut between two files shows here. */
async function* withEnd(
  source: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  let tail: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    tail =
      chunk.length >= 1024
        ? Buffer.from(chunk.subarray(-1024))
        : Buffer.concat([tail, chunk]).subarray(-1024);
    yield chunk;
  }
  if (tail.length < 1024 || tail.some((byte) => byte !== 0)) {
    throw noDump(name, "its end is missing");
  }
}

function noDump(name: string, why: string): AppError {
  return new AppError(
    "corrupt-dump",
    ExitCode.invalidInput,
    `${name} is no whole dump of the directory format: ${why}`,
    { hint: "Take another backup, or another copy of this one." },
  );
}
