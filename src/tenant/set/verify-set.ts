import { largestManifest, readText } from "../../backup/sidecars.ts";
import type { DecryptionKeys } from "../../bundle/encryption.ts";
import { findingsText } from "../../bundle/findings.ts";
import { HashedStream } from "../../bundle/hashed-stream.ts";
import { verifyBundle } from "../../bundle/verify.ts";
import { AppError, ExitCode } from "../../errors.ts";
import type { Store } from "../../storage/store.ts";
import { parseSet, type SetTenant, type TenantSet } from "./tenant-set.ts";

export interface VerifySetOptions {
  readonly keys: DecryptionKeys;
  readonly maxRowBytes: number;
  /** Only compares the stored bytes with the manifest, which needs no key. */
  readonly storedOnly: boolean;
  readonly signal: AbortSignal;
  /** Told how many bundles there are, before the first. */
  readonly onSet: (set: TenantSet) => void;
  /** Told of each bundle that has been looked at. */
  readonly onBundle: (tenant: SetTenant, bad: BadBundle | undefined) => void;
}

/** A bundle of a set that is not what its manifest says. */
export interface BadBundle {
  readonly tenant: Pick<SetTenant, "id" | "slug" | "path">;
  readonly reason: string;
}

export interface VerifiedSet {
  /** As messages name the manifest. */
  readonly name: string;
  readonly set: TenantSet;
  readonly bytes: number;
  readonly rows: number;
  readonly bad: readonly BadBundle[];
  /** Noteworthy of the bundles, each once; no reason to distrust them. */
  readonly notes: readonly string[];
}

/**
 * Checks a set: that each of its bundles is there, has the bytes that the manifest says, and holds as
 * a bundle. One bundle is read at a time, each byte once.
 *
 * @param key of the manifest; the bundles' paths begin where it lies
 * @throws {AppError} exit 2 when there is no such manifest, 3 when it is not whole, 6 when bundles
 *   are encrypted and no key fits, 8 when the storage fails
 */
export async function verifySet(
  store: Store,
  key: string,
  options: VerifySetOptions,
): Promise<VerifiedSet> {
  const { signal, onSet, onBundle } = options;
  const name = store.nameOf(key);
  if ((await store.stat(key)) === undefined) {
    throw new AppError("no-such-file", ExitCode.usage, `there is no file "${name}"`, {
      hint: "Check the path; an export that goes on still has no finished set.",
    });
  }
  const set = parseSet(await readText(store, key, largestManifest, signal), `"${name}"`);
  onSet(set);
  const bad: BadBundle[] = [];
  const notes = new Set<string>();
  for (const tenant of set.tenants) {
    signal.throwIfAborted();
    const { reason, noted } = await check(store, set, tenant, options);
    for (const note of noted) notes.add(note);
    const { id, slug, path } = tenant;
    const found = reason === undefined ? undefined : { tenant: { id, slug, path }, reason };
    if (found !== undefined) bad.push(found);
    onBundle(tenant, found);
  }
  const sum = (of: (tenant: SetTenant) => number) =>
    set.tenants.reduce((total, tenant) => total + of(tenant), 0);
  return {
    name,
    set,
    bytes: sum((t) => t.bytes),
    rows: sum((t) => t.rows),
    bad,
    notes: [...notes],
  };
}

interface Checked {
  readonly reason?: string;
  readonly noted: readonly string[];
}

async function check(
  store: Store,
  set: TenantSet,
  tenant: SetTenant,
  options: VerifySetOptions,
): Promise<Checked> {
  const found = await store.stat(tenant.path);
  if (found === undefined) return { reason: "it is missing", noted: [] };
  if (found.bytes !== tenant.bytes) {
    const reason = `it has ${found.bytes} bytes, and the manifest says ${tenant.bytes}`;
    return { reason, noted: [] };
  }
  const stored = new HashedStream(await store.read(tenant.path, { signal: options.signal }));
  let outcome: Checked | { readonly error: AppError };
  try {
    outcome = options.storedOnly
      ? { noted: [] }
      : await checkContent(store, set, tenant, stored.bytes(), options);
  } catch (error) {
    if (!(error instanceof AppError) || error.exitCode === ExitCode.storage) throw error;
    outcome = { error };
  }
  if ((await stored.facts()).sha256 !== tenant.sha256) {
    return {
      reason: "its bytes are not those that were written: their SHA-256 differs",
      noted: [],
    };
  }
  if (!("error" in outcome)) return outcome;
  // The bytes are right, so that it is the key which is not.
  if (outcome.error.exitCode === ExitCode.key) throw outcome.error;
  return { reason: outcome.error.message, noted: [] };
}

async function checkContent(
  store: Store,
  set: TenantSet,
  tenant: SetTenant,
  stored: AsyncIterable<Uint8Array>,
  { keys, maxRowBytes }: VerifySetOptions,
): Promise<Checked> {
  const name = `"${store.nameOf(tenant.path)}"`;
  const { header, rows, found, findings, notes } = await verifyBundle(stored, {
    name,
    keys,
    maxRowBytes,
  });
  const [first] = findings;
  if (first !== undefined) {
    return { reason: `${findingsText(found)}: ${first.message}`, noted: notes };
  }
  const snapshot = set.snapshots[tenant.snapshot];
  const differs = [
    [header.tenant.id === tenant.id, "tenant"],
    [rows === tenant.rows, "number of rows"],
    [header.source.snapshotLsn === snapshot?.lsn, "snapshot"],
    [header.createdAt === snapshot?.createdAt, "time"],
  ].flatMap(([same, what]) => (same === true ? [] : [what]));
  return differs.length === 0
    ? { noted: notes }
    : { reason: `it has another ${differs.join(" and ")} than the manifest says`, noted: notes };
}
