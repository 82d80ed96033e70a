import type { Config } from "../config/config.ts";
import { openLocalStore } from "./local-store.ts";
import type { Store } from "./store.ts";

/** Where backups are kept: a folder always, S3 if a bucket is set. */
export interface Stores {
  readonly local: Store;
  readonly s3: Store | undefined;
  /** Both, the local one first. */
  readonly all: readonly Store[];
  close(): Promise<void>;
}

export type StorageSettings = Pick<
  Config["backup"],
  "directory" | "s3Bucket" | "s3Prefix" | "s3Endpoint" | "s3Region"
>;

/** The stores of the settings; nothing is read or sent yet. The SDK of S3 is loaded if needed. */
export async function openStores(settings: StorageSettings): Promise<Stores> {
  const local = openLocalStore(settings.directory);
  const s3 = await openS3(settings);
  const all = s3 === undefined ? [local] : [local, s3];
  return Object.freeze({
    local,
    s3,
    all,
    async close() {
      for (const store of all) await store.close();
    },
  });
}

async function openS3(settings: StorageSettings): Promise<Store | undefined> {
  const { s3Bucket, s3Prefix, s3Endpoint, s3Region } = settings;
  if (s3Bucket === undefined) return undefined;
  const { openS3Store } = await import("./s3-store.ts");
  return await openS3Store({
    bucket: s3Bucket,
    prefix: s3Prefix,
    endpoint: s3Endpoint,
    region: s3Region,
  });
}
