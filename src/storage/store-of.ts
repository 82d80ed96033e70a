import { basename, dirname } from "node:path";
import { openLocalStore } from "./local-store.ts";
import { isS3Url, parseS3Url, type S3Server } from "./s3-url.ts";
import type { Store } from "./store.ts";

/**
 * The place that a file or an object lies in, as a store, and its key there.
 *
 * @param path a path, or `s3://bucket/key`
 * @throws {AppError} exit 2 for a URL that cannot be read
 */
export async function openStoreOf(
  path: string,
  server: S3Server,
): Promise<{ readonly store: Store; readonly key: string }> {
  if (!isS3Url(path)) return { store: openLocalStore(dirname(path)), key: basename(path) };
  const { bucket, key } = parseS3Url(path);
  const slash = key.lastIndexOf("/");
  const { openS3Store } = await import("./s3-store.ts");
  const { s3Endpoint: endpoint, s3Region: region } = server;
  const prefix = slash < 0 ? undefined : key.slice(0, slash);
  return {
    store: await openS3Store({ bucket, prefix, endpoint, region }),
    key: key.slice(slash + 1),
  };
}
