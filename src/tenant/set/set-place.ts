import { realpath } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";
import { openLocalStore } from "../../storage/local-store.ts";
import { isS3Url, parseS3Url, type S3Server } from "../../storage/s3-url.ts";
import type { Store } from "../../storage/store.ts";
import type { Destination } from "../bundle-path.ts";

/** Where a set's bundles, its manifest and its progress lie. */
export interface SetPlace {
  readonly store: Store;
  /** The store of the whole bucket, for what is named by its URL; undefined for a folder. */
  readonly bucket: Store | undefined;
  /** The same for each run that writes there, however it is written. */
  readonly identity: string;
  /** A bundle's path from the set's folder, with slashes. */
  keyOf(output: string): string;
  outputOf(key: string): string;
  close(): Promise<void>;
}

export async function openSetPlace(
  destination: Destination,
  server: S3Server = {},
): Promise<SetPlace> {
  if (destination.kind === "stdout") throw new Error("a set cannot be written to a stream");
  const { path } = destination;
  if (!isS3Url(path)) {
    const store = openLocalStore(path);
    return {
      store,
      bucket: undefined,
      identity: await realpath(path).catch(() => resolve(path)),
      keyOf: (output) => relative(path, output).split(sep).join("/"),
      outputOf: (key) => join(path, key),
      close: () => store.close(),
    };
  }
  const { openS3Store } = await import("../../storage/s3-store.ts");
  const { bucket, key } = parseS3Url(path);
  const { s3Endpoint: endpoint, s3Region: region } = server;
  const store = await openS3Store({ bucket, prefix: key, endpoint, region });
  const whole = await openS3Store({ bucket, endpoint, region });
  const before = `${path.replace(/\/$/, "")}/`;
  return {
    store,
    bucket: whole,
    identity: store.place,
    keyOf: (output) => output.slice(before.length),
    outputOf: (key) => `${before}${key}`,
    async close() {
      await store.close();
      await whole.close();
    },
  };
}
