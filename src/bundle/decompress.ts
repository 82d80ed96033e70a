import type { Transform } from "node:stream";
import zlib from "node:zlib";
import { AppError, ExitCode } from "../errors.ts";
import { magic, startsWith } from "./known-content.ts";
import type { Compression } from "./layers.ts";
import { throughStage } from "./through-stage.ts";

const outputChunk = 256 * 1024;

export function compressionOf(head: Buffer): Compression {
  if (startsWith(head, magic.zstd)) return "zstd";
  return startsWith(head, magic.gzip) ? "gzip" : "none";
}

/**
 * @param hint what to do about a copy that cannot be decompressed
 * @throws {AppError} exit 3 when it is cut short or corrupt, or something follows its end
 */
export function decompressed(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  name: string,
  hint: string,
): AsyncIterable<Uint8Array> {
  switch (compression) {
    case "zstd":
      return through(zlib.createZstdDecompress({ chunkSize: outputChunk }), source, name, hint);
    case "gzip":
      return through(zlib.createGunzip({ chunkSize: outputChunk }), source, name, hint);
    case "none":
      return source;
  }
}

const longestEmptyFrame = 32;

async function* through(
  stage: Transform & { readonly bytesWritten: number },
  source: AsyncIterable<Uint8Array>,
  name: string,
  hint: string,
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
  try {
    yield* throughStage(counted(), stage);
    // Node's decompressors pass over what stands behind the end. Its zstd compressor may close
    // with a second, empty frame, which is as good as nothing.
    const rest = received - stage.bytesWritten;
    if (rest > 0 && !isEmptyFrame(last.subarray(-rest), rest)) {
      throw new AppError(
        "corrupt-compression",
        ExitCode.invalidInput,
        `${name} is corrupt: something follows the end of its compressed data, after ${stage.bytesWritten} bytes`,
        { hint: `${hint} If it was compressed anew, decompress it first.` },
      );
    }
  } catch (cause) {
    if (!isCompressionError(cause)) throw cause;
    throw new AppError(
      "corrupt-compression",
      ExitCode.invalidInput,
      cause.code === "Z_BUF_ERROR"
        ? `${name} is cut short: its compressed data ends early, after ${received} bytes`
        : `${name} is corrupt: its compressed data cannot be read, within the first ${received} bytes (${cause.message})`,
      { cause, hint },
    );
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

function isCompressionError(error: unknown): error is NodeJS.ErrnoException {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    /^(Z_|ZSTD_|ERR_ZLIB|ERR_ZSTD)/.test(error.code)
  );
}
