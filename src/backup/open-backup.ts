import { realpath, stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { AppError, ExitCode } from "../errors.ts";
import { openLocalStore } from "../storage/local-store.ts";
import { isS3Url, parseS3Url } from "../storage/s3-url.ts";
import type { Store } from "../storage/store.ts";
import { type BackupId, idOfKey, type PartKind, timeOfId } from "./backup-name.ts";
import { findBackup } from "./find-backup.ts";
import { type BackupManifest, partOf } from "./manifest.ts";
import type { PartSource } from "./read-part.ts";
import { readManifest } from "./sidecars.ts";

/** A backup that can be read: a set with its manifest, or a dump alone. */
export interface OpenBackup {
  /** As messages name it. */
  readonly name: string;
  readonly store: Store;
  /** Undefined for a file whose name is none of ours. */
  readonly id: BackupId | undefined;
  readonly manifest: BackupManifest | undefined;
  readonly createdAt: Date | undefined;
  readonly warnings: readonly string[];
  /** Undefined where the backup has no such part. */
  part(kind: PartKind): PartSource | undefined;
}

export interface OpenBackupOptions {
  /** Where an id or `latest` is looked for, in this order. */
  readonly stores: readonly Store[];
  /** The bucket and folder of an `s3://` URL. */
  readonly openS3: (bucket: string, prefix: string) => Promise<Store>;
  /** Whose backups `latest` chooses from. */
  readonly database: string | undefined;
  /** The dump of a set that has lost a part, or its manifest's word, is taken alone when its path is given. */
  readonly loneDumps?: boolean;
  readonly signal: AbortSignal;
}

/**
 * Finds a backup by the path of one of its files, by its `s3://` URL, by its id, or as `latest`.
 * A path without a manifest beside it is a dump that something else has made.
 *
 * @throws {AppError} exit 2 when there is none, 3 when it is not whole, 8 as the stores have it
 */
export async function openBackup(wanted: string, options: OpenBackupOptions): Promise<OpenBackup> {
  if (isS3Url(wanted)) {
    const { bucket, key } = parseS3Url(wanted);
    const folderEnd = key.lastIndexOf("/") + 1;
    const name = key.slice(folderEnd);
    if (name === "") throw noSuchFile(wanted);
    const store = await options.openS3(bucket, key.slice(0, folderEnd));
    return await openObject(store, name, options);
  }
  const named = wanted === "latest" || timeOfId(wanted) !== undefined;
  const path = resolve(wanted);
  if (!named || (await isFile(path))) {
    if (!(await isFile(path))) throw noSuchFile(wanted);
    // A link such as latest-backup.sql.gz leads to a file that may have a manifest beside it.
    const file = await realpath(path);
    return await openObject(openLocalStore(dirname(file)), basename(file), options);
  }
  const { signal, database } = options;
  return await openSet(options.stores, wanted, { signal, database });
}

async function openObject(
  store: Store,
  key: string,
  options: OpenBackupOptions,
): Promise<OpenBackup> {
  const id = idOfKey(key);
  if (id !== undefined) {
    const search = { signal: options.signal, database: undefined };
    const found = await openSet([store], key, search).catch(async (error: unknown) => {
      const alone = options.loneDumps === true && isDump(key);
      if (!alone || !(error instanceof AppError) || !partial.has(error.code)) throw error;
      return await dumpOfSet(store, id, key, error);
    });
    if (found.manifest !== undefined || found.warnings.length > 0) return found;
  }
  if ((await store.stat(key)) === undefined) throw noSuchFile(store.nameOf(key));
  return loneDump(store, key);
}

/** Of a set that cannot be used as a whole. */
const partial = new Set(["missing-parts", "unusable-backup"]);

/** Not the roles or the files beside it, whose names end alike. */
function isDump(key: string): boolean {
  return /^[^.]+\.(sql|dump|tar)(\.|$)/.test(key);
}

/** The dump alone was asked for by its name: what the manifest says of it holds, if it has one. */
async function dumpOfSet(
  store: Store,
  id: BackupId,
  key: string,
  why: AppError,
): Promise<OpenBackup> {
  const manifest = await readManifest(store, id).catch(() => undefined);
  const expected = manifest === undefined ? undefined : partOf(manifest, "database");
  const lone = loneDump(store, key);
  const warnings = [`only this dump is taken: ${why.message}`];
  if (manifest === undefined || expected?.name !== key) return { ...lone, warnings };
  return {
    ...lone,
    manifest,
    createdAt: new Date(manifest.createdAt),
    warnings,
    part: (kind) => (kind === "database" ? partSource(store, key, expected) : undefined),
  };
}

async function openSet(
  stores: readonly Store[],
  wanted: string,
  options: { readonly signal: AbortSignal; readonly database: string | undefined },
): Promise<OpenBackup> {
  const { store, entry, key, warnings } = await findBackup(stores, wanted, {
    ...options,
    now: new Date(),
  });
  const { manifest } = entry;
  if (manifest === undefined) {
    const file = key ?? entry.keys.find(isDump);
    if (file === undefined) throw noSuchFile(store.nameOf(wanted));
    return { ...loneDump(store, file), warnings };
  }
  return {
    name: `"${store.nameOf(manifest.id)}"`,
    store,
    id: manifest.id,
    manifest,
    createdAt: new Date(manifest.createdAt),
    warnings,
    part(kind) {
      const expected = partOf(manifest, kind);
      return expected && partSource(store, expected.name, expected);
    },
  };
}

function loneDump(store: Store, key: string): OpenBackup {
  const id = idOfKey(key);
  return {
    name: `"${store.nameOf(key)}"`,
    store,
    id,
    manifest: undefined,
    createdAt: id === undefined ? undefined : timeOfId(id),
    warnings: [],
    part: (kind) => (kind === "database" ? partSource(store, key, undefined) : undefined),
  };
}

function partSource(store: Store, key: string, expected: PartSource["expected"]): PartSource {
  return {
    name: `"${store.nameOf(key)}"`,
    key,
    expected,
    open: (signal) => store.read(key, { signal }),
  };
}

async function isFile(path: string): Promise<boolean> {
  return await stat(path).then(
    (info) => info.isFile(),
    () => false,
  );
}

function noSuchFile(wanted: string): AppError {
  return new AppError("no-such-backup", ExitCode.usage, `there is no backup "${wanted}"`, {
    hint: "Name a file, an s3:// URL, an id such as backup_20260101_020000, or latest; pgtenant list shows what there is.",
  });
}
