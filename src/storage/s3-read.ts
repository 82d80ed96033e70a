import { Readable } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import { AppError, ExitCode } from "../errors.ts";
import { abortError, throwIfAborted } from "./interruption.ts";
import type { S3Connection } from "./s3-client.ts";
import { s3Error, s3Name, s3Status } from "./s3-errors.ts";
import { noSuchObject } from "./store-key.ts";

interface Opened {
  readonly body: AsyncIterable<Uint8Array>;
  /** Of the whole object. */
  readonly size: number;
  readonly etag: string | undefined;
}

/**
 * The bytes of an object. A connection that is cut, or silent for too long, is made again from
 * where it was, as often as is allowed without a byte of progress; an object that was changed in
 * between, or is shorter than it should be, is an error.
 *
 * @param key as in the bucket
 * @param name how messages call it
 */
export async function readObject(
  s3: S3Connection,
  key: string,
  name: string,
  signal: AbortSignal | undefined,
): Promise<Readable> {
  throwIfAborted(signal);
  const closed = new AbortController();
  const either = signal === undefined ? closed.signal : AbortSignal.any([signal, closed.signal]);
  const first = await openFrom(s3, key, name, 0, undefined, either);
  const bytes = withResumption(s3, key, name, first, either);
  const stream = new Readable({
    highWaterMark: 1 << 20,
    read() {
      bytes.next().then(
        (next) => void this.push(next.done === true ? null : next.value),
        (error: Error) => this.destroy(error),
      );
    },
    destroy(error, callback) {
      // Not only at the next byte, which may never come.
      closed.abort();
      signal?.removeEventListener("abort", onAbort);
      void bytes.return(undefined).catch(() => undefined);
      callback(error);
    },
  });
  const onAbort = () => signal !== undefined && stream.destroy(abortError(signal));
  signal?.addEventListener("abort", onAbort, { once: true });
  return stream;
}

async function* withResumption(
  s3: S3Connection,
  key: string,
  name: string,
  first: Opened,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { size, etag } = first;
  let opened = first;
  let received = 0;
  for (let failures = 0; ; ) {
    const before = received;
    let cause: unknown;
    const iterator = opened.body[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await iterator.next().catch((error: unknown) => {
          cause = error;
          return undefined;
        });
        if (next === undefined || next.done === true) break;
        received += next.value.length;
        if (received > size) break;
        yield next.value;
      }
    } finally {
      void iterator.return?.().catch(() => undefined);
    }
    if (received === size) return;
    throwIfAborted(signal);
    failures = received > before ? 1 : failures + 1;
    if (failures >= s3.attempts || received > size) {
      throw cause === undefined
        ? wrongLength(name, received, size)
        : s3Error(cause, s3, `read "${name}"`);
    }
    await wait(s3.pauseBefore(failures + 1), undefined, { signal }).catch(() => undefined);
    throwIfAborted(signal);
    opened = await openFrom(s3, key, name, received, etag, signal);
  }
}

async function openFrom(
  s3: S3Connection,
  key: string,
  name: string,
  offset: number,
  etag: string | undefined,
  signal: AbortSignal,
): Promise<Opened> {
  const request = {
    Bucket: s3.bucket,
    Key: key,
    ...(offset === 0 ? {} : { Range: `bytes=${offset}-` }),
    ...(etag === undefined ? {} : { IfMatch: etag }),
  };
  try {
    const answer = await s3.client.send(new s3.sdk.GetObjectCommand(request), {
      abortSignal: signal,
    });
    const { Body: body, ContentLength: length } = answer;
    if (!(body instanceof Readable) || length === undefined) throw new Error("no body");
    if (offset > 0 && answer.ContentRange?.startsWith(`bytes ${offset}-`) !== true) {
      body.destroy();
      throw new AppError(
        "s3-failed",
        ExitCode.storage,
        `could not read "${name}": ${s3.server} does not go on where a connection was cut`,
        { hint: "Try again; without a cut it needs no range." },
      );
    }
    return { body, size: offset + length, etag: answer.ETag };
  } catch (error) {
    if (
      s3Name(error) === "NoSuchKey" ||
      (s3Status(error) === 404 && s3Name(error) === "NotFound")
    ) {
      throw noSuchObject(name);
    }
    if (etag !== undefined && s3Status(error) === 412) {
      throw new AppError(
        "changed-object",
        ExitCode.storage,
        `"${name}" was replaced while it was read`,
        { hint: "Read it again.", cause: error },
      );
    }
    throw s3Error(error, s3, `read "${name}"`);
  }
}

function wrongLength(name: string, received: number, size: number): AppError {
  return new AppError(
    "cut-short",
    ExitCode.storage,
    `"${name}" has ${size} bytes, and ${received} of them came`,
    { hint: "Try again; if it stays so, take another copy." },
  );
}
