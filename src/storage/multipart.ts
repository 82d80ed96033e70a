import { createHash } from "node:crypto";
import { AppError, ExitCode } from "../errors.ts";
import type { S3Connection } from "./s3-client.ts";
import { s3Name } from "./s3-errors.ts";
import { decodedKey } from "./s3-keys.ts";

export const smallestPart = 8 << 20;
const partsOfASize = 1_000;
/** S3 takes no more. */
const mostParts = 10_000;
/** One is filled while the other is sent. */
const buffers = 2;

/**
 * How many bytes the part with this number has, from 1: eight times 2^20 for the first thousand,
 * and twice as many for each further thousand, so that 10,000 parts hold more than the 5 TiB that
 * an object may have. Two of them are in memory: 16 MiB up to 7.8 GiB, 128 MiB up to 117 GiB.
 */
export function partSize(number: number): number {
  return smallestPart * 2 ** Math.floor((number - 1) / partsOfASize);
}

export interface Block {
  readonly bytes: Buffer;
  /** Gives the memory back. */
  readonly done: () => void;
}

/**
 * The bytes of a source in blocks of the sizes of parts; the last one, which alone may be empty,
 * is shorter. At most two are out at a time: the next waits until one is done.
 */
export async function* blocksOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<Block> {
  const free: Buffer[] = [];
  let out = 0;
  let freed: (() => void) | undefined;

  async function take(size: number): Promise<Buffer> {
    while (out >= buffers) await new Promise<void>((resolve) => (freed = resolve));
    out += 1;
    const used = free.pop();
    return used !== undefined && used.length === size ? used : Buffer.allocUnsafeSlow(size);
  }
  function block(buffer: Buffer, length: number): Block {
    return {
      bytes: buffer.subarray(0, length),
      done: () => {
        out -= 1;
        free.push(buffer);
        freed?.();
      },
    };
  }

  let number = 1;
  let buffer = await take(partSize(number));
  let filled = 0;
  for await (const chunk of source) {
    for (let offset = 0; offset < chunk.length; ) {
      if (filled === buffer.length) {
        yield block(buffer, filled);
        number += 1;
        buffer = await take(partSize(number));
        filled = 0;
      }
      const taken = Math.min(chunk.length - offset, buffer.length - filled);
      buffer.set(chunk.subarray(offset, offset + taken), filled);
      offset += taken;
      filled += taken;
    }
  }
  yield block(buffer, filled);
}

export function md5Of(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("base64");
}

/** An upload in parts that has begun. */
export interface MultipartUpload {
  readonly id: string;
  /** Whether it was asked for more than once, so that another one may have been begun. */
  readonly askedAgain: boolean;
  /** Begins to send the next part. */
  send(block: Block): void;
  /** Waits until every part has been sent. */
  sent(): Promise<void>;
  /** Asks for the object, once every part has been sent. */
  complete(conditions: { readonly IfNoneMatch?: string }): Promise<void>;
  /**
   * Waits for the parts, which the upload's signal has to have ended, and removes what was stored.
   * This has a deadline of its own, since that signal would end it, too.
   */
  abort(deadline: AbortSignal): Promise<void>;
}

export interface MultipartOptions {
  /** As in the bucket. */
  readonly key: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Ends what is being sent. */
  readonly signal: AbortSignal;
  /** Ends the beginning, which should be waited for: an upload whose id is lost would stay. */
  readonly beginSignal: AbortSignal;
  /** Called for a part that could not be sent. */
  readonly onFailure: (error: unknown) => void;
}

export async function beginMultipart(
  s3: S3Connection,
  options: MultipartOptions,
): Promise<MultipartUpload> {
  const { key, metadata, signal } = options;
  const { sdk, client, bucket } = s3;
  const target = { Bucket: bucket, Key: key };
  const { UploadId: id, $metadata: answered } = await client.send(
    new sdk.CreateMultipartUploadCommand({ ...target, Metadata: { ...metadata } }),
    { abortSignal: options.beginSignal },
  );
  if (id === undefined) throw new Error("an upload has no id");
  const parts: Promise<{ readonly PartNumber: number; readonly ETag: string | undefined }>[] = [];

  async function sendPart(number: number, { bytes, done }: Block) {
    try {
      const { ETag } = await client.send(
        new sdk.UploadPartCommand({
          ...target,
          UploadId: id,
          PartNumber: number,
          Body: bytes,
          ContentLength: bytes.length,
          ContentMD5: md5Of(bytes),
        }),
        { abortSignal: signal },
      );
      return { PartNumber: number, ETag };
    } finally {
      done();
    }
  }

  return {
    id,
    askedAgain: (answered.attempts ?? 1) > 1,
    send(block) {
      const number = parts.length + 1;
      if (number > mostParts) throw tooLarge();
      const part = sendPart(number, block);
      part.catch(options.onFailure);
      parts.push(part);
    },
    async sent() {
      await Promise.all(parts);
    },
    async complete(conditions) {
      await client.send(
        new sdk.CompleteMultipartUploadCommand({
          ...target,
          UploadId: id,
          MultipartUpload: { Parts: await Promise.all(parts) },
          ...conditions,
        }),
        { abortSignal: signal },
      );
    },
    async abort(deadline) {
      // A part that came after the end would stay.
      await Promise.allSettled(parts);
      await abortUpload(s3, key, id, deadline);
    },
  };
}

/** Uploads to keys that begin with the prefix, that were begun and not ended. */
export async function* uploadsIn(
  s3: S3Connection,
  prefix: string,
  deadline?: AbortSignal,
): AsyncGenerator<{ readonly key: string; readonly id: string }> {
  let after: { readonly KeyMarker: string; readonly UploadIdMarker?: string } | undefined;
  do {
    const page = await s3.client.send(
      new s3.sdk.ListMultipartUploadsCommand({
        Bucket: s3.bucket,
        Prefix: prefix,
        EncodingType: "url",
        ...after,
      }),
      deadline === undefined ? {} : { abortSignal: deadline },
    );
    for (const { Key, UploadId } of page.Uploads ?? []) {
      if (Key === undefined || UploadId === undefined) continue;
      const key = decodedKey(Key, page.EncodingType);
      if (key.startsWith(prefix)) yield { key, id: UploadId };
    }
    const { NextKeyMarker, NextUploadIdMarker } = page;
    after =
      page.IsTruncated === true && NextKeyMarker !== undefined
        ? {
            KeyMarker: decodedKey(NextKeyMarker, page.EncodingType),
            ...(NextUploadIdMarker === undefined ? {} : { UploadIdMarker: NextUploadIdMarker }),
          }
        : undefined;
  } while (after !== undefined);
}

/** That there is no such upload any more is no error. */
export async function abortUpload(
  s3: S3Connection,
  key: string,
  id: string,
  deadline?: AbortSignal,
): Promise<void> {
  try {
    await s3.client.send(
      new s3.sdk.AbortMultipartUploadCommand({ Bucket: s3.bucket, Key: key, UploadId: id }),
      deadline === undefined ? {} : { abortSignal: deadline },
    );
  } catch (error) {
    if (s3Name(error) !== "NoSuchUpload") throw error;
  }
}

function tooLarge(): AppError {
  return new AppError("too-large", ExitCode.storage, "an object in S3 holds no more than 5 TiB", {
    hint: "Compress the backup, or keep it in a folder.",
  });
}
