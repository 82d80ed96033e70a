import { AppError, ExitCode } from "../errors.ts";
import { abortUpload, uploadsIn } from "./multipart.ts";
import { connectS3, type S3Connection, type S3Options } from "./s3-client.ts";
import { s3Error, s3Name, s3Status } from "./s3-errors.ts";
import { decodedKey } from "./s3-keys.ts";
import { readObject } from "./s3-read.ts";
import { headOf, writeObject } from "./s3-write.ts";
import type { Store, StoredObject, WriteOptions } from "./store.ts";
import { checkKey, isKey, objectLocked } from "./store-key.ts";
import { isHidden } from "./temporary-name.ts";

/**
 * A bucket, or a folder in it, as a store. Nothing is sent yet; the bucket has to exist, and its
 * absence is an error of the first request.
 *
 * @throws {AppError} exit 2 when the prefix has a part `.` or `..`
 */
export async function openS3Store(options: S3Options): Promise<Store> {
  const folder = (options.prefix ?? "").replace(/^\/+|\/+$/g, "");
  if (folder !== "") checkKey(folder);
  const inBucket = folder === "" ? "" : `${folder}/`;
  const s3 = await connectS3({ ...options });
  const place = `s3://${s3.bucket}${folder === "" ? "" : `/${folder}`}`;
  const nameOf = (key: string) => `${place}/${key}`;
  const keyOf = (key: string) => `${inBucket}${checkKey(key)}`;

  return Object.freeze({
    kind: "s3" as const,
    place,
    nameOf,

    async *list(prefix = ""): AsyncGenerator<StoredObject> {
      for await (const { key, bytes, modifiedAt } of objectsIn(s3, inBucket + prefix, place)) {
        const relative = key.slice(inBucket.length);
        if (isKey(relative) && !isHidden(relative)) yield { key: relative, bytes, modifiedAt };
      }
    },

    async stat(key: string) {
      const target = keyOf(key);
      const head = await headOf(s3, target)
        .then(async (found) => found ?? (await requireBucket(s3)))
        .catch((error: unknown) => {
          throw s3Error(error, s3, `look for "${nameOf(key)}"`);
        });
      return head && { key, bytes: head.bytes, modifiedAt: head.modifiedAt };
    },

    async read(key: string, { signal }: { readonly signal?: AbortSignal | undefined } = {}) {
      return await readObject(s3, keyOf(key), nameOf(key), signal);
    },

    async write(key: string, source: AsyncIterable<Uint8Array>, options: WriteOptions = {}) {
      return await writeObject(s3, keyOf(key), nameOf(key), source, options);
    },

    async remove(key: string) {
      const target = keyOf(key);
      try {
        await s3.client.send(new s3.sdk.DeleteObjectCommand({ Bucket: s3.bucket, Key: target }));
      } catch (error) {
        if (s3Name(error) === "NoSuchKey") return;
        if (isRefusal(error)) throw objectLocked(nameOf(key), s3Name(error), error);
        throw s3Error(error, s3, `remove "${nameOf(key)}"`);
      }
    },

    async sweep(prefix: string) {
      const removed: string[] = [];
      try {
        for await (const { key, id } of uploadsIn(s3, inBucket + prefix)) {
          await abortUpload(s3, key, id);
          removed.push(`${nameOf(key.slice(inBucket.length))} (an unfinished upload)`);
        }
      } catch (error) {
        throw s3Error(error, s3, `clear away unfinished uploads in "${place}"`);
      }
      return removed;
    },

    async close() {
      s3.client.destroy();
    },
  });
}

/** To HEAD, an object that is missing and a bucket that is missing are the same. */
async function requireBucket(s3: S3Connection): Promise<undefined> {
  try {
    await s3.client.send(new s3.sdk.HeadBucketCommand({ Bucket: s3.bucket }));
  } catch (error) {
    // Who may not ask for the bucket may still ask for what is in it.
    if (s3Status(error) === 403) return;
    if (s3Status(error) === 404 && error instanceof Error) error.name = "NoSuchBucket";
    throw error;
  }
}

interface KeyedObject extends StoredObject {
  /** As in the bucket. */
  readonly key: string;
}

async function* objectsIn(
  s3: S3Connection,
  prefix: string,
  place: string,
): AsyncGenerator<KeyedObject> {
  let token: string | undefined;
  do {
    const page = await s3.client
      .send(
        new s3.sdk.ListObjectsV2Command({
          Bucket: s3.bucket,
          Prefix: prefix,
          EncodingType: "url",
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
      )
      .catch((error: unknown) => {
        throw s3Error(error, s3, `list "${place}"`);
      });
    for (const { Key, Size, LastModified } of page.Contents ?? []) {
      if (Key === undefined || LastModified === undefined) continue;
      yield { key: decodedKey(Key, page.EncodingType), bytes: Size ?? 0, modifiedAt: LastModified };
    }
    if (page.IsTruncated === true && page.NextContinuationToken === undefined) {
      throw new AppError(
        "s3-failed",
        ExitCode.storage,
        `could not list "${place}": ${s3.server} tells a part of it only`,
        {
          hint: "The server does not page its lists as S3 does; nothing can be concluded from one.",
        },
      );
    }
    token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
  } while (token !== undefined);
}

/** Object lock and retention say AccessDenied, as missing rights do; MinIO says InvalidRequest. */
function isRefusal(error: unknown): boolean {
  const name = s3Name(error);
  return (
    name === "AccessDenied" ||
    name === "Forbidden" ||
    name === "InvalidRequest" ||
    name === "ObjectLocked" ||
    s3Status(error) === 405
  );
}
