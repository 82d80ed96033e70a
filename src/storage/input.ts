import { addAbortSignal, Readable } from "node:stream";
import { AppError, ExitCode } from "../errors.ts";
import { readWholeFile } from "./local-file.ts";
import { isS3Url, openS3Url, type S3Server } from "./s3-url.ts";

export interface Input {
  /** How messages call it. */
  readonly name: string;
  readonly bytes: Readable;
  /** How much of it was read, 0 to 1; undefined where the size is not known. */
  readonly shareRead: (() => number) | undefined;
}

/**
 * The bytes of a file, of an object in S3 for `s3://bucket/key`, or of the standard input for `-`;
 * they end with an error when the signal fires.
 *
 * @param server where S3 is; by default Amazon's
 * @throws {AppError} exit 2 when there is no such file or it cannot be opened, 8 when S3 fails
 */
export async function openInput(
  path: string,
  signal: AbortSignal,
  server: S3Server = {},
): Promise<Input> {
  if (path === "-") {
    addAbortSignal(signal, process.stdin);
    return { name: "the standard input", bytes: process.stdin, shareRead: undefined };
  }
  if (isS3Url(path)) return await openObject(path, signal, server);
  const { stream, size } = await readWholeFile(path);
  addAbortSignal(signal, stream);
  return {
    name: `"${path}"`,
    bytes: stream,
    shareRead: size > 0 ? () => stream.bytesRead / size : undefined,
  };
}

async function openObject(url: string, signal: AbortSignal, server: S3Server): Promise<Input> {
  const { store, key } = await openS3Url(url, server);
  try {
    const found = await store.stat(key);
    if (found === undefined) throw noSuchInput(url);
    const object = await store.read(key, { signal });
    let read = 0;
    async function* counted(): AsyncGenerator<Uint8Array> {
      for await (const chunk of object as AsyncIterable<Uint8Array>) {
        read += chunk.length;
        yield chunk;
      }
    }
    const bytes = Readable.from(counted(), { objectMode: false, highWaterMark: 1 << 20 });
    object.once("close", () => void store.close());
    return {
      name: `"${url}"`,
      bytes,
      shareRead: found.bytes > 0 ? () => read / found.bytes : undefined,
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

function noSuchInput(url: string): AppError {
  return new AppError("no-such-file", ExitCode.usage, `there is no object "${url}"`, {
    hint: "Check the bucket and the key; a key is written as it is, with nothing escaped.",
  });
}
