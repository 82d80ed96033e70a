import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { AppError, ExitCode, retold } from "../errors.ts";
import { abortError, interruptible, throwIfAborted } from "./interruption.ts";
import {
  abortUpload,
  beginMultipart,
  blocksOf,
  type MultipartUpload,
  md5Of,
  smallestPart,
  uploadsIn,
} from "./multipart.ts";
import type { S3Connection } from "./s3-client.ts";
import { s3Error, s3Name, s3Status } from "./s3-errors.ts";
import type { WriteOptions } from "./store.ts";
import { objectExists } from "./store-key.ts";

/** In an object's metadata, the id of the write that made it: whose it is after a lost answer. */
const mark = "pgtenant-write";

export interface Head {
  readonly bytes: number;
  readonly modifiedAt: Date;
  readonly writtenBy: string | undefined;
}

/** Undefined when there is no such object. */
export async function headOf(
  s3: S3Connection,
  key: string,
  signal?: AbortSignal,
): Promise<Head | undefined> {
  try {
    const head = await s3.client.send(
      new s3.sdk.HeadObjectCommand({ Bucket: s3.bucket, Key: key }),
      signal === undefined ? {} : { abortSignal: signal },
    );
    return {
      bytes: head.ContentLength ?? 0,
      modifiedAt: head.LastModified ?? new Date(0),
      writtenBy: head.Metadata?.[mark],
    };
  } catch (error) {
    if (s3Status(error) === 404 && s3Name(error) !== "NoSuchBucket") return undefined;
    const refused = s3Status(error);
    if (refused === 400 || refused === 403) await askWhy(s3, key, signal);
    throw error;
  }
}

/** The answer to HEAD has no body, and so not the name of the error; that to GET has. */
async function askWhy(s3: S3Connection, key: string, signal?: AbortSignal): Promise<void> {
  const { Body: body } = await s3.client.send(
    new s3.sdk.GetObjectCommand({ Bucket: s3.bucket, Key: key, Range: "bytes=0-0" }),
    signal === undefined ? {} : { abortSignal: signal },
  );
  if (body instanceof Readable) body.destroy();
}

/**
 * Writes an object: a small one by one request, others in parts. See `Store.write` for what holds
 * whatever goes wrong.
 *
 * @param key as in the bucket
 * @param name how messages call it
 */
export function writeObject(
  s3: S3Connection,
  key: string,
  name: string,
  source: AsyncIterable<Uint8Array>,
  options: WriteOptions,
): Promise<{ readonly bytes: number }> {
  return new ObjectWrite(s3, key, name, options).run(source);
}

class ObjectWrite {
  readonly #s3: S3Connection;
  readonly #key: string;
  readonly #name: string;
  readonly #signal: AbortSignal | undefined;
  readonly #overwrite: boolean;
  /** Marks the object as ours. */
  readonly #id = randomUUID();
  /** Fires with the operator's signal, and when a part fails, so that the others end, too. */
  readonly #stop = new AbortController();
  /** When it fires, whatever is still to be cleared up is left. */
  readonly #tooLate = new AbortController();
  #upload: MultipartUpload | undefined;
  /** Whether an upload may have been begun whose id we don't know. */
  #mayHaveStrays = false;
  #failedPart: { readonly error: unknown } | undefined;
  #failedSource: { readonly error: unknown } | undefined;
  /** The size of the object that the server was asked for, and may have made. */
  #asked: number | undefined;

  constructor(s3: S3Connection, key: string, name: string, options: WriteOptions) {
    this.#s3 = s3;
    this.#key = key;
    this.#name = name;
    this.#signal = options.signal;
    this.#overwrite = options.overwrite ?? false;
  }

  async run(source: AsyncIterable<Uint8Array>): Promise<{ readonly bytes: number }> {
    const onAbort = () => this.#stop.abort();
    let tooLate: NodeJS.Timeout | undefined;
    this.#stop.signal.addEventListener("abort", () => {
      tooLate = setTimeout(() => this.#tooLate.abort(), this.#s3.clearUpMs);
    });
    this.#signal?.addEventListener("abort", onAbort, { once: true });
    try {
      throwIfAborted(this.#signal);
      return await this.#write(source);
    } catch (error) {
      return await this.#settle(error);
    } finally {
      this.#signal?.removeEventListener("abort", onAbort);
      clearTimeout(tooLate);
    }
  }

  async #write(source: AsyncIterable<Uint8Array>): Promise<{ readonly bytes: number }> {
    await this.#refuseTaken();
    const blocks = blocksOf(interruptible(this.#watched(source), this.#stop.signal));
    let bytes = 0;
    for await (const block of blocks) {
      bytes += block.bytes.length;
      if (this.#upload === undefined && block.bytes.length < smallestPart) {
        await this.#put(block.bytes);
        return { bytes };
      }
      this.#upload ??= await this.#begin();
      this.#upload.send(block);
    }
    if (this.#mayHaveStrays) await this.#endStrays();
    await this.#complete(bytes);
    return { bytes };
  }

  /** To tell its errors from the server's: both may be of a network. */
  async *#watched(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* source;
    } catch (error) {
      this.#failedSource = { error };
      throw error;
    }
  }

  async #refuseTaken(): Promise<void> {
    if (this.#overwrite) return;
    const there = await headOf(this.#s3, this.#key, this.#stop.signal);
    if (there !== undefined) throw objectExists(this.#name);
  }

  async #put(bytes: Buffer): Promise<void> {
    const { client, sdk, bucket } = this.#s3;
    await this.#ask(bytes.length, async (conditions) => {
      await client.send(
        new sdk.PutObjectCommand({
          Bucket: bucket,
          Key: this.#key,
          Body: bytes,
          ContentLength: bytes.length,
          ContentMD5: md5Of(bytes),
          Metadata: { [mark]: this.#id },
          ...conditions,
        }),
        { abortSignal: this.#stop.signal },
      );
    });
  }

  async #begin(): Promise<MultipartUpload> {
    this.#mayHaveStrays = true;
    const upload = await beginMultipart(this.#s3, {
      key: this.#key,
      metadata: { [mark]: this.#id },
      signal: this.#stop.signal,
      beginSignal: this.#tooLate.signal,
      onFailure: (error) => {
        this.#failedPart ??= { error };
        this.#stop.abort();
      },
    });
    this.#mayHaveStrays = upload.askedAgain;
    return upload;
  }

  async #complete(bytes: number): Promise<void> {
    const upload = this.#upload;
    if (upload === undefined) throw new Error("there is no upload to complete");
    await upload.sent();
    // Many servers ignore the condition here, and the upload may have taken hours.
    await this.#refuseTaken();
    await this.#ask(bytes, (conditions) => upload.complete(conditions));
    // The server may answer 200 before it knows, and say in the body that it failed.
    const made = await headOf(this.#s3, this.#key, this.#stop.signal);
    if (made?.writtenBy !== this.#id || made.bytes !== bytes) {
      throw new AppError(
        "incomplete-object",
        ExitCode.storage,
        `could not write "${this.#name}": ${this.#s3.server} said that it is complete, but ${
          made?.writtenBy === this.#id
            ? `has ${made.bytes} of its ${bytes} bytes`
            : "does not have it"
        }`,
        { hint: "Try again; if it stays so, ask whoever runs the server." },
      );
    }
  }

  /** Servers that know no conditional writes say so; a look beforehand has to do for them. */
  async #ask(
    bytes: number,
    request: (conditions: { readonly IfNoneMatch?: string }) => Promise<void>,
  ): Promise<void> {
    this.#asked = bytes;
    try {
      await request(this.#overwrite ? {} : { IfNoneMatch: "*" });
    } catch (error) {
      if (this.#overwrite || s3Status(error) !== 501) throw error;
      await request({});
    }
  }

  /**
   * After a failure, leaves nothing of what was written, and throws. But if only the answer was
   * lost and the object is there and whole, then it was no failure.
   */
  async #settle(cause: unknown): Promise<{ readonly bytes: number }> {
    this.#stop.abort();
    const left: string[] = [];
    await this.#endUploads().catch(() => {
      left.push(`an unfinished upload of "${this.#name}" was left; the next run clears it away`);
    });
    if (this.#asked !== undefined) {
      const made = await headOf(this.#s3, this.#key, this.#tooLate.signal).catch(() => undefined);
      if (made?.writtenBy === this.#id) {
        const whole = made.bytes === this.#asked;
        if (whole && this.#signal?.aborted !== true) return { bytes: made.bytes };
        if (!whole || !this.#overwrite) {
          await this.#remove().catch(() => {
            left.push(`"${this.#name}" was left, though its writing failed; remove it`);
          });
        }
      }
    }
    throw withDetails(this.#errorOf(cause), left);
  }

  async #endUploads(): Promise<void> {
    await this.#upload?.abort(this.#tooLate.signal);
    if (this.#mayHaveStrays) await this.#endStrays();
  }

  /**
   * Ends uploads to this very key that are not ours by their ids. Where the answer to a beginning
   * was lost they are ours all the same: nobody writes the same key at the same time.
   */
  async #endStrays(): Promise<void> {
    for await (const { key, id } of uploadsIn(this.#s3, this.#key, this.#tooLate.signal)) {
      if (key !== this.#key || id === this.#upload?.id) continue;
      await abortUpload(this.#s3, key, id, this.#tooLate.signal);
    }
  }

  async #remove(): Promise<void> {
    const { client, sdk, bucket } = this.#s3;
    await client.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key: this.#key }), {
      abortSignal: this.#tooLate.signal,
    });
  }

  #errorOf(cause: unknown): unknown {
    if (this.#signal?.aborted === true) return abortError(this.#signal);
    if (this.#failedSource !== undefined) return this.#failedSource.error;
    const error = this.#failedPart?.error ?? cause;
    const name = s3Name(error);
    if (name === "PreconditionFailed" || name === "ConditionalRequestConflict") {
      return objectExists(this.#name);
    }
    return s3Error(error, this.#s3, `write "${this.#name}"`);
  }
}

function withDetails(error: unknown, lines: readonly string[]): unknown {
  if (lines.length === 0 || !(error instanceof AppError)) return error;
  return retold(error, { details: [...error.details, ...lines] });
}
