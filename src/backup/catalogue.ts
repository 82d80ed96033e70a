import { AppError, ExitCode } from "../errors.ts";
import type { Store, StoredObject } from "../storage/store.ts";
import { type BackupId, idOfKey, type SidecarKind, sidecarName, timeOfId } from "./backup-name.ts";
import type { BackupManifest } from "./manifest.ts";
import {
  largestManifest,
  type PendingBackup,
  type Pin,
  readManifest,
  readSidecar,
  readText,
  type Sidecars,
  type Verification,
} from "./sidecars.ts";

/**
 * - `good`: the manifest is whole, its parts are there with their sizes, and no verification has
 *   failed;
 * - `corrupt`: the manifest is not whole, or the latest verification failed;
 * - `missing-parts`: the manifest is whole, and parts are missing or of another size;
 * - `pending`: begun less than a day ago, without a manifest: it may be running;
 * - `incomplete`: begun earlier, without a manifest: a run that was killed has left it;
 * - `foreign`: named like a backup of ours, without manifest and pending file: the guide's own
 *   script makes such files;
 * - `other-database`: a backup of ours of another database.
 */
export type BackupState =
  | "good"
  | "corrupt"
  | "incomplete"
  | "missing-parts"
  | "pending"
  | "foreign"
  | "other-database";

/** What a store has of one backup. */
export interface CatalogueEntry {
  readonly id: BackupId;
  readonly state: BackupState;
  /** The manifest's time, else the id's; backups stand in the order of ids, never of this. */
  readonly createdAt: Date;
  /** Undefined where nobody knows whose it is. */
  readonly database: string | undefined;
  readonly manifest?: BackupManifest;
  readonly pending?: PendingBackup;
  readonly verified?: Verification;
  readonly pinned?: Pin;
  /** Of everything in `keys`. */
  readonly bytes: number;
  /** Every object of it that the store has: manifest, parts, sidecars. Nothing else goes with it. */
  readonly keys: readonly string[];
  /** One sentence part about what is wrong or unusual: `the file "…" is missing`. */
  readonly problem?: string;
}

export interface Catalogue {
  readonly store: Store;
  /** The newest first, in the order of ids; an id with foreign files beside it stands twice. */
  readonly entries: readonly CatalogueEntry[];
}

export interface CatalogueOptions {
  /** Whose backups are ours; without it those of every database are. */
  readonly database?: string | undefined;
  readonly now: Date;
  readonly signal?: AbortSignal | undefined;
}

/** After this time a backup without a manifest does not run any more. */
export const pendingGraceMs = 24 * 3_600_000;

const readsAtOnce = 8;

/**
 * Everything in a store that is named like a backup. That one of them is damaged or cannot be
 * read is told in its entry and never thrown.
 *
 * @throws {AppError} exit 8 when the store cannot be listed
 */
export async function readCatalogue(store: Store, options: CatalogueOptions): Promise<Catalogue> {
  const groups = new Map<BackupId, Map<string, StoredObject>>();
  for await (const object of store.list("backup_")) {
    const id = idOfKey(object.key);
    if (id === undefined) continue;
    const group = groups.get(id) ?? new Map<string, StoredObject>();
    groups.set(id, group.set(object.key, object));
  }
  const waiting = [...groups].sort(([a], [b]) => (a < b ? 1 : -1));
  const results = new Map<BackupId, readonly CatalogueEntry[]>();
  const pending = waiting[Symbol.iterator]();
  const reader = async () => {
    for (const [id, objects] of pending) {
      options.signal?.throwIfAborted();
      results.set(id, await readEntries(store, id, objects, options));
    }
  };
  await Promise.all(Array.from({ length: readsAtOnce }, reader));
  return { store, entries: waiting.flatMap(([id]) => results.get(id) ?? []) };
}

/**
 * What a store has of one id; what is ours if there is something foreign beside it.
 *
 * @throws {AppError} exit 8 when the store cannot be listed
 */
export async function backupEntry(
  store: Store,
  id: BackupId,
  options: CatalogueOptions,
): Promise<CatalogueEntry | undefined> {
  const objects = new Map<string, StoredObject>();
  for await (const object of store.list(`${id}.`)) objects.set(object.key, object);
  if (objects.size === 0) return undefined;
  const [entry] = await readEntries(store, id, objects, options);
  return entry;
}

/** The ids of everything in a store, for the next one to be unlike them. */
export async function backupIds(store: Store): Promise<ReadonlySet<BackupId>> {
  const ids = new Set<BackupId>();
  for await (const { key } of store.list("backup_")) {
    const id = idOfKey(key);
    if (id !== undefined) ids.add(id);
  }
  return ids;
}

/** The newest good backup that is not dated in the future. */
export function newestGood(catalogue: Catalogue, now: Date): CatalogueEntry | undefined {
  return catalogue.entries.find((entry) => entry.state === "good" && timeOf(entry) <= +now);
}

/** By which backups are ordered, in milliseconds. */
export function timeOf(entry: Pick<CatalogueEntry, "id">): number {
  return timeOfId(entry.id)?.getTime() ?? Number.NaN;
}

type Objects = ReadonlyMap<string, StoredObject>;

/** The backup of an id, and as a second, foreign entry whatever else begins with the id. */
async function readEntries(
  store: Store,
  id: BackupId,
  objects: Objects,
  options: CatalogueOptions,
): Promise<readonly CatalogueEntry[]> {
  const has = (kind: SidecarKind) => objects.has(sidecarName(id, kind));
  const own = has("manifest")
    ? await readWithManifest(store, id, objects, options)
    : has("pending")
      ? await readPending(store, id, objects, options)
      : undefined;
  const rest = [...objects.keys()].filter((key) => own?.keys.includes(key) !== true);
  const foreign = rest.length === 0 ? [] : [foreignEntry(id, rest, objects)];
  return own === undefined ? foreign : [own, ...foreign];
}

async function readWithManifest(
  store: Store,
  id: BackupId,
  objects: Objects,
  options: CatalogueOptions,
): Promise<CatalogueEntry | undefined> {
  const sidecars = await readSidecars(store, id, objects, options);
  const common = { id, ...sidecars.read };
  let manifest: BackupManifest;
  try {
    manifest = await readManifest(store, id, options.signal);
  } catch (error) {
    // Somebody has removed it since it was listed.
    if (codeOf(error) === "no-such-object") return undefined;
    const problem = messageOf(error, options.signal);
    const entry = { ...common, createdAt: dateOf(id), problem };
    if (codeOf(error) === "newer-manifest") {
      const keys = [...objects.keys()];
      return { ...entry, state: "foreign", database: undefined, ...held(keys, objects) };
    }
    const rest = error instanceof AppError && error.exitCode === ExitCode.invalidInput;
    const { database, parts } = rest ? await remains(store, id, options.signal) : unknownRemains;
    const state = isOther(database, options) ? "other-database" : "corrupt";
    const keys = ownKeys(id, parts, objects);
    return { ...entry, state, database, ...held(keys, objects) };
  }
  const created = new Date(manifest.createdAt);
  const missing = manifest.parts.flatMap((part) => {
    const object = objects.get(part.name);
    if (object === undefined) return [`the file "${part.name}" is missing`];
    return object.bytes === part.bytes
      ? []
      : [`the file "${part.name}" has ${object.bytes} bytes instead of ${part.bytes}`];
  });
  const { verified } = sidecars.read;
  const failed =
    verified?.result === "failed"
      ? [`the verification of ${verified.at} failed: ${verified.problem ?? "no reason is noted"}`]
      : [];
  const problem = [...missing, ...failed, ...sidecars.problems].join("; ");
  return {
    ...common,
    state: isOther(manifest.database, options)
      ? "other-database"
      : missing.length > 0
        ? "missing-parts"
        : failed.length > 0
          ? "corrupt"
          : "good",
    createdAt: Number.isNaN(+created) ? dateOf(id) : created,
    database: manifest.database,
    manifest,
    ...held(
      ownKeys(
        id,
        manifest.parts.map((part) => part.name),
        objects,
      ),
      objects,
    ),
    ...(problem === "" ? {} : { problem }),
  };
}

async function readPending(
  store: Store,
  id: BackupId,
  objects: Objects,
  options: CatalogueOptions,
): Promise<CatalogueEntry | undefined> {
  const sidecars = await readSidecars(store, id, objects, options);
  const common = { id, createdAt: dateOf(id), ...sidecars.read };
  const { pending } = sidecars.read;
  if (pending === undefined) {
    const [problem = "its pending file is gone"] = sidecars.problems;
    const keys = ownKeys(id, [], objects);
    return {
      ...common,
      state: "incomplete",
      database: undefined,
      problem,
      ...held(keys, objects),
    };
  }
  const age = +options.now - Date.parse(pending.startedAt);
  const state = age > pendingGraceMs ? "incomplete" : "pending";
  const who = `by process ${pending.pid} on ${pending.host}`;
  return {
    ...common,
    state: isOther(pending.database, options) ? "other-database" : state,
    database: pending.database,
    problem: `begun ${pending.startedAt} ${who} and not completed`,
    ...held(ownKeys(id, pending.parts, objects), objects),
  };
}

function foreignEntry(id: BackupId, keys: readonly string[], objects: Objects): CatalogueEntry {
  return {
    id,
    state: "foreign",
    createdAt: dateOf(id),
    database: undefined,
    problem: `no manifest names ${keys.length === 1 ? "it" : "them"}`,
    ...held(keys, objects),
  };
}

/** The small files beside a backup; one that is damaged is a problem to name. */
async function readSidecars(
  store: Store,
  id: BackupId,
  objects: Objects,
  options: CatalogueOptions,
) {
  const read: { pending?: PendingBackup; verified?: Verification; pinned?: Pin } = {};
  const problems: string[] = [];
  const attempt = async <Kind extends keyof Sidecars>(kind: Kind) => {
    if (!objects.has(sidecarName(id, kind))) return undefined;
    try {
      return await readSidecar(store, id, kind, options.signal);
    } catch (error) {
      if (codeOf(error) !== "no-such-object") problems.push(messageOf(error, options.signal));
      return undefined;
    }
  };
  const pending = await attempt("pending");
  if (pending !== undefined) read.pending = pending;
  const verified = await attempt("verified");
  if (verified !== undefined) read.verified = verified;
  const pinned = await attempt("pinned");
  if (pinned !== undefined) read.pinned = pinned;
  else if (objects.has(sidecarName(id, "pinned"))) {
    // Somebody wanted it kept; that the reason cannot be read does not undo that.
    const reason = "(the file that says why cannot be read)";
    read.pinned = { pinned: 1, id, at: dateOf(id).toISOString(), by: "", reason };
  }
  return { read, problems };
}

const unknownRemains = { database: undefined, parts: [] } as const;

/** Whose a damaged manifest is and what it names, as far as that can still be read. */
async function remains(
  store: Store,
  id: BackupId,
  signal: AbortSignal | undefined,
): Promise<{ readonly database: string | undefined; readonly parts: readonly string[] }> {
  try {
    const text = await readText(store, sidecarName(id, "manifest"), largestManifest, signal);
    const document: unknown = JSON.parse(text);
    if (typeof document !== "object" || document === null) return unknownRemains;
    const { database, parts, id: named } = document as Readonly<Record<string, unknown>>;
    if (typeof database !== "string" || named !== id) return unknownRemains;
    const names = Array.isArray(parts) ? parts.map((part) => (part as BackupPartName)?.name) : [];
    return { database, parts: names.filter((name) => typeof name === "string") };
  } catch {
    return unknownRemains;
  }
}

interface BackupPartName {
  readonly name?: unknown;
}

/** Sidecars and named parts that are there; a name that is not of this id names nothing. */
function ownKeys(id: BackupId, parts: readonly string[], objects: Objects): readonly string[] {
  const kinds: readonly SidecarKind[] = ["manifest", "pending", "verified", "pinned"];
  const keys = [...parts.filter((key) => idOfKey(key) === id), ...kinds.map(sidecarOf(id))];
  return [...new Set(keys)].filter((key) => objects.has(key));
}

const sidecarOf = (id: BackupId) => (kind: SidecarKind) => sidecarName(id, kind);

function held(keys: readonly string[], objects: Objects) {
  const bytes = keys.reduce((sum, key) => sum + (objects.get(key)?.bytes ?? 0), 0);
  return { keys, bytes };
}

function isOther(database: string | undefined, options: CatalogueOptions): boolean {
  return database !== undefined && options.database !== undefined && database !== options.database;
}

function dateOf(id: BackupId): Date {
  return timeOfId(id) ?? new Date(Number.NaN);
}

function codeOf(error: unknown): string | undefined {
  return error instanceof AppError ? error.code : undefined;
}

/** What an operator can do nothing about, and an interruption, is no property of one backup. */
function messageOf(error: unknown, signal: AbortSignal | undefined): string {
  if (!(error instanceof AppError) || signal?.aborted === true) throw error;
  return error.message;
}
