import { Readable, type Transform } from "node:stream";
import zlib from "node:zlib";
import { AppError, ExitCode } from "../errors.ts";

export type Compression = "zstd" | "gzip" | "none";

export const compressionSuffix: Readonly<Record<Compression, string>> = {
  zstd: ".zst",
  gzip: ".gz",
  none: "",
};

const outputChunk = 256 * 1024;

/** The stage that compresses, or undefined for none. */
export function compressor(compression: Compression): Transform | undefined {
  switch (compression) {
    case "zstd":
      // The checksum makes `zstd -t` worth something. More workers must not be asked for:
      // Node's streams then end early in silence.
      return zlib.createZstdCompress({
        chunkSize: outputChunk,
        params: {
          [zlib.constants.ZSTD_c_compressionLevel]: 1,
          [zlib.constants.ZSTD_c_checksumFlag]: 1,
        },
      });
    case "gzip":
      return zlib.createGzip({ level: 4, chunkSize: outputChunk });
    case "none":
      return undefined;
  }
}

const magic = {
  zstd: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]),
  gzip: Buffer.from([0x1f, 0x8b]),
  age: Buffer.from("age-encryption.org/"),
  opensslEnc: Buffer.from("Salted__"),
  customDump: Buffer.from("PGDMP"),
  plainDump: Buffer.from("--\n-- PostgreSQL database"),
};

const longestMagic = Math.max(...Object.values(magic).map((bytes) => bytes.length));

/**
 * Takes off the compression that the first bytes tell of, whatever the file is called.
 *
 * @param name how messages call the input
 * @throws {AppError} exit 3 for what is no bundle or cannot be decompressed, 6 when it is encrypted
 */
export async function* withoutLayers(
  source: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  const { head, rest } = await peek(source);
  if (head.length === 0) {
    throw new AppError("empty-input", ExitCode.invalidInput, `${name} is empty`, {
      hint: "Nothing was written to it, or a copy was cut short; take another copy of the bundle.",
    });
  }
  if (startsWith(head, magic.age) || startsWith(head, magic.opensslEnc)) {
    throw new AppError("encrypted-input", ExitCode.key, `${name} is encrypted`, {
      hint: startsWith(head, magic.age)
        ? "Decrypt it first: age -d -i KEYFILE BUNDLE | pgtenant import -"
        : "This looks like an encrypted whole-database backup, which is not a tenant bundle.",
    });
  }
  if (startsWith(head, magic.customDump) || startsWith(head, magic.plainDump)) {
    throw new AppError(
      "not-a-bundle",
      ExitCode.invalidInput,
      `${name} is a pg_dump file, not a tenant bundle`,
      {
        hint: "Restore it with pg_restore or psql; bundles are made by pgtenant export.",
      },
    );
  }
  if (startsWith(head, magic.zstd)) {
    yield* through(zlib.createZstdDecompress({ chunkSize: outputChunk }), rest, name);
  } else if (startsWith(head, magic.gzip)) {
    yield* through(zlib.createGunzip({ chunkSize: outputChunk }), rest, name);
  } else yield* rest;
}

const longestEmptyFrame = 32;

async function* through(
  stage: Transform & { readonly bytesWritten: number },
  source: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  let last: Buffer = Buffer.alloc(0);
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      received += chunk.length;
      last = Buffer.concat([last.subarray(-longestEmptyFrame), chunk.subarray(-longestEmptyFrame)]);
      yield chunk;
    }
  }
  const input = Readable.from(counted(), { objectMode: false });
  input.on("error", (error) => stage.destroy(error));
  try {
    yield* input.pipe(stage) as AsyncIterable<Uint8Array>;
    // Node's decompressors pass over what stands behind the end. Its zstd compressor may close
    // with a second, empty frame, which is as good as nothing.
    const rest = received - stage.bytesWritten;
    if (rest > 0 && !isEmptyFrame(last.subarray(-rest), rest)) {
      throw trailingData(name, stage.bytesWritten);
    }
  } catch (cause) {
    if (!isCompressionError(cause)) throw cause;
    throw new AppError(
      "corrupt-compression",
      ExitCode.invalidInput,
      cause.code === "Z_BUF_ERROR"
        ? `${name} is cut short: its compressed data ends early, after ${received} bytes`
        : `${name} is corrupt: its compressed data cannot be read, within the first ${received} bytes (${cause.message})`,
      {
        cause,
        hint: "Take another copy of the bundle; pgtenant verify tells whether a copy is whole.",
      },
    );
  } finally {
    input.destroy();
    stage.destroy();
  }
}

function isEmptyFrame(bytes: Buffer, expected: number): boolean {
  if (bytes.length !== expected || !startsWith(bytes, magic.zstd)) return false;
  try {
    return zlib.zstdDecompressSync(bytes, { maxOutputLength: 1024 }).length === 0;
  } catch {
    return false;
  }
}

function trailingData(name: string, end: number): AppError {
  return new AppError(
    "corrupt-compression",
    ExitCode.invalidInput,
    `${name} is corrupt: something follows the end of its compressed data, after ${end} bytes`,
    { hint: "Take another copy of the bundle; if it was compressed anew, decompress it first." },
  );
}

function isCompressionError(error: unknown): error is NodeJS.ErrnoException {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    /^(Z_|ZSTD_|ERR_ZLIB|ERR_ZSTD)/.test(error.code)
  );
}

function startsWith(head: Buffer, prefix: Buffer): boolean {
  return head.length >= prefix.length && head.subarray(0, prefix.length).equals(prefix);
}

/** Reads enough to tell the format, and gives it back with what follows. */
async function peek(
  source: AsyncIterable<Uint8Array>,
): Promise<{ head: Buffer; rest: AsyncGenerator<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]();
  const chunks: Uint8Array[] = [];
  let size = 0;
  while (size < longestMagic) {
    const next = await iterator.next();
    if (next.done === true) break;
    chunks.push(next.value);
    size += next.value.length;
  }
  async function* rest(): AsyncGenerator<Uint8Array> {
    try {
      yield* chunks;
      for (;;) {
        const next = await iterator.next();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }
  return { head: Buffer.concat(chunks), rest: rest() };
}
