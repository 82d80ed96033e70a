import { join } from "node:path";
import type { DecryptionKeys } from "../../bundle/encryption.ts";
import type { BundleHeader } from "../../bundle/format.ts";
import { defaultMaxRowBytes } from "../../bundle/format.ts";
import { openInput } from "../../storage/input.ts";
import type { S3Server } from "../../storage/s3-url.ts";
import type { Store } from "../../storage/store.ts";
import { openBundle } from "../../tenant/staging.ts";

export interface FoundBundle {
  /** As messages name it. */
  readonly name: string;
  readonly header: BundleHeader;
  open(): Promise<AsyncIterable<Uint8Array>>;
}

/** `tenants/acme/tenant_acme_20260101_020000.jsonl.zst.age` */
const pattern = /^tenants\/(?:.*\/)?tenant_.+_(\d{8}_\d{6})\.jsonl?(\.zst|\.gz)?(\.age)?$/;

/** So many that are parts of a tenant, or redacted, are passed over. */
const mostLooked = 50;

/**
 * The newest bundle of a whole tenant below `tenants/`, of the first store that has it. What was
 * made of a part of a tenant, or with values replaced, cannot bring a tenant back, and is passed over.
 *
 * @throws {AppError} exit 3 when the newest is not whole, 6 when no key fits
 */
export async function newestBundle(
  stores: readonly Store[],
  keys: DecryptionKeys,
  signal: AbortSignal,
): Promise<FoundBundle | undefined> {
  const found: { readonly store: Store; readonly key: string; readonly time: string }[] = [];
  for (const store of stores) {
    for await (const { key } of store.list("tenants/")) {
      const [, time] = pattern.exec(key) ?? [];
      if (time !== undefined) found.push({ store, key, time });
    }
  }
  found.sort((a, b) => (a.time === b.time ? 0 : a.time < b.time ? 1 : -1));
  for (const { store, key } of found.slice(0, mostLooked)) {
    const name = store.kind === "local" ? join(store.place, key) : store.nameOf(key);
    const open = () => store.read(key, { signal });
    const header = await headerOf(`"${name}"`, await open(), keys);
    if (header.selection !== null || header.redacted !== undefined) continue;
    return { name: `"${name}"`, header, open };
  }
  return undefined;
}

/**
 * The bundle of a path or an `s3://` URL, whatever it is of.
 *
 * @throws {AppError} exit 2 when there is none, 3 when it is not whole, 6 when no key fits
 */
export async function namedBundle(
  path: string,
  keys: DecryptionKeys,
  server: S3Server,
  signal: AbortSignal,
): Promise<FoundBundle> {
  const open = async () => (await openInput(path, signal, server)).bytes;
  return { name: `"${path}"`, header: await headerOf(`"${path}"`, await open(), keys), open };
}

/** Reads no more than the header. */
async function headerOf(
  name: string,
  source: AsyncIterable<Uint8Array>,
  keys: DecryptionKeys,
): Promise<BundleHeader> {
  const { header, parts } = await openBundle(source, {
    name,
    maxRowBytes: defaultMaxRowBytes,
    keys,
  });
  await parts.return(undefined);
  return header;
}
