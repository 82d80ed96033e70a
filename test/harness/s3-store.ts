import { randomBytes } from "node:crypto";
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import type { Patience } from "../../src/storage/s3-client.ts";
import { openS3Store } from "../../src/storage/s3-store.ts";
import type { Store } from "../../src/storage/store.ts";
import { type S3Access, s3Access, s3Missing } from "./s3-server.ts";
import type { StoreKind } from "./stores.ts";

/** A bucket of a test's own on the S3 server of the test run. */
export interface TestBucket {
  readonly access: S3Access;
  readonly name: string;
  /** For what a store cannot do. */
  readonly client: S3Client;
  /** A store in it; through a proxy, if an endpoint is given. */
  open(options?: OpenOptions): Promise<Store>;
  /** `key#id` of each upload that was begun and not ended. */
  pendingUploads(): Promise<readonly string[]>;
  close(): Promise<void>;
}

export interface OpenOptions {
  readonly prefix?: string;
  readonly endpoint?: string;
  readonly patience?: Partial<Patience>;
}

export async function makeBucket(): Promise<TestBucket> {
  const access = await s3Access();
  const { endpoint, region, accessKeyId, secretAccessKey } = access;
  const credentials = { accessKeyId, secretAccessKey };
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  const name = `test-${randomBytes(8).toString("hex")}`;
  await client.send(new CreateBucketCommand({ Bucket: name }));
  const stores: Store[] = [];
  return {
    access,
    name,
    client,
    async open(options = {}) {
      const store = await openS3Store({ bucket: name, endpoint, region, credentials, ...options });
      stores.push(store);
      return store;
    },
    async pendingUploads() {
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: name }));
      return Uploads.map(({ Key, UploadId }) => `${Key}#${UploadId}`).sort();
    },
    async close() {
      for (const store of stores) await store.close();
      client.destroy();
    },
  };
}

export const s3Bucket: StoreKind = {
  name: "a bucket in S3",
  skip: s3Missing(),
  async make() {
    const bucket = await makeBucket();
    const prefix = "n-kudo/backups";
    return {
      store: await bucket.open({ prefix: `/${prefix}/` }),
      unfinished: () => bucket.pendingUploads(),
      async leaveUnfinished(key) {
        await bucket.client.send(
          new CreateMultipartUploadCommand({ Bucket: bucket.name, Key: `${prefix}/${key}` }),
        );
      },
      dispose: () => bucket.close(),
    };
  },
};
