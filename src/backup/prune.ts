import { AppError, ExitCode } from "../errors.ts";
import { thisProcess } from "../postgres/process-identity.ts";
import type { Store } from "../storage/store.ts";
import { type BackupId, sidecarName } from "./backup-name.ts";
import { type CatalogueEntry, readCatalogue } from "./catalogue.ts";
import { planRetention, type RetentionDecision, type RetentionPolicy } from "./retention.ts";
import { type PendingBackup, writeSidecar } from "./sidecars.ts";

export interface PruneOptions {
  /** Only its backups are ours. */
  readonly database: string;
  readonly policy: RetentionPolicy;
  readonly now: Date;
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
}

export interface RemovedBackup {
  readonly id: BackupId;
  readonly bytes: number;
  readonly reasons: readonly string[];
}

/** What the store did not let go; the entry's other objects were kept with it, where possible. */
export interface RefusedRemoval {
  readonly id: BackupId;
  readonly key: string;
  /** The error's: `object-locked` where the store may not let it go. */
  readonly code: string;
  readonly message: string;
}

export interface PruneResult {
  readonly place: string;
  readonly dryRun: boolean;
  /** For everything in the store that is named like a backup, the newest first. */
  readonly decisions: readonly RetentionDecision[];
  /** What went, or would go in a dry run. */
  readonly removed: readonly RemovedBackup[];
  readonly refused: readonly RefusedRemoval[];
  /** Pending files that their backups had left behind and that are gone now. */
  readonly leftovers: readonly string[];
  /** Why nothing was decided at all. */
  readonly failure?: AppError;
}

/**
 * Removes from one store what its retention policy does not keep. The caller holds the locks, so
 * that no backup is being written, or read by a restore, meanwhile.
 *
 * Of each backup the manifest goes first, and with it the backup; then its parts and what lies
 * beside them. Where the manifest may not go, everything stays, is reported, and the others are
 * gone on with. A run that is killed in between leaves a pending file, by which the next one
 * knows the rest. Removing needs no free space.
 *
 * @throws {AppError} exit 2 for an empty or invalid policy; exit 8 when the store cannot be listed
 */
export async function prune(store: Store, options: PruneOptions): Promise<PruneResult> {
  const { database, policy, now, signal, dryRun = false } = options;
  const { entries } = await readCatalogue(store, { database, now, signal });
  const decisions = planRetention(entries, policy, now);
  const removed: RemovedBackup[] = [];
  const refused: RefusedRemoval[] = [];
  const leftovers: string[] = [];
  const attempt = async (id: BackupId, key: string): Promise<boolean> => {
    signal?.throwIfAborted();
    try {
      await store.remove(key);
      return true;
    } catch (error) {
      if (!(error instanceof AppError) || signal?.aborted === true) throw error;
      refused.push({ id, key, code: error.code, message: error.message });
      return false;
    }
  };
  // The oldest first: an interruption leaves what is worth most.
  for (const { backup, keep, reasons } of decisions.toReversed()) {
    // A lock concerns one object; whatever else fails would fail for the next one too.
    if (refused.some(({ code }) => code !== "object-locked")) break;
    const pendingKey = sidecarName(backup.id, "pending");
    if (keep) {
      if (!isLeftover(backup, pendingKey)) continue;
      if (dryRun || (await attempt(backup.id, pendingKey))) leftovers.push(pendingKey);
    } else if (dryRun || (await removeBackup(store, backup, options, attempt))) {
      removed.push({ id: backup.id, bytes: backup.bytes, reasons });
    }
  }
  return { place: store.place, dryRun, decisions, removed, refused, leftovers };
}

/**
 * Prunes, after a backup, the stores that it was written to. Whatever goes wrong there, the backup
 * is good: it is told and not thrown.
 *
 * @throws {AppError} exit 2 for an empty or invalid policy
 */
export async function pruneAfterBackup(
  stores: readonly Store[],
  backup: { readonly stored: readonly string[] },
  options: PruneOptions,
): Promise<readonly PruneResult[]> {
  const outcomes: PruneResult[] = [];
  for (const store of stores) {
    if (!backup.stored.includes(store.place)) continue;
    try {
      outcomes.push(await prune(store, options));
    } catch (failure) {
      if (!(failure instanceof AppError) || failure.exitCode === ExitCode.usage) throw failure;
      const nothing = { decisions: [], removed: [], refused: [], leftovers: [] };
      outcomes.push({ place: store.place, dryRun: false, ...nothing, failure });
    }
  }
  return outcomes;
}

/** A line for each thing that retention could not do. */
export function retentionWarnings({ place, refused, failure }: PruneResult): readonly string[] {
  return [
    ...(failure === undefined ? [] : [`retention did not run in ${place}: ${failure.message}`]),
    ...refused.map(({ id, message }) => `${id} was not removed: ${message}`),
  ];
}

/** Left by a backup that was killed between its manifest and its end. */
function isLeftover(backup: CatalogueEntry, pendingKey: string): boolean {
  return (
    backup.manifest !== undefined &&
    backup.state !== "other-database" &&
    backup.keys.includes(pendingKey)
  );
}

async function removeBackup(
  store: Store,
  backup: CatalogueEntry,
  options: PruneOptions,
  attempt: (id: BackupId, key: string) => Promise<boolean>,
): Promise<boolean> {
  const { id, keys } = backup;
  const manifest = sidecarName(id, "manifest");
  const pending = sidecarName(id, "pending");
  const beside = [sidecarName(id, "verified"), sidecarName(id, "pinned")];
  const parts = keys.filter((key) => ![manifest, pending, ...beside].includes(key));
  if (keys.includes(manifest)) {
    if (!(await attempt(id, manifest))) return false;
    await markUnfinished(store, backup, parts, options);
  }
  let whole = true;
  for (const key of [...parts, ...beside.filter((key) => keys.includes(key))]) {
    whole = (await attempt(id, key)) && whole;
  }
  // What has stayed is known by it as ours, and tried again.
  return whole && (await attempt(id, pending));
}

/**
 * Parts without a manifest would pass for foreign ones, and stay for ever, if this run were killed
 * now. Written after the manifest is gone, which has freed the space for it.
 */
async function markUnfinished(
  store: Store,
  { id, createdAt }: CatalogueEntry,
  parts: readonly string[],
  { database, signal }: PruneOptions,
): Promise<void> {
  const startedAt = createdAt.toISOString();
  const { host, pid } = await thisProcess();
  const pending: PendingBackup = { pending: 1, id, database, startedAt, host, pid, parts };
  try {
    await writeSidecar(store, "pending", pending, { signal });
  } catch (error) {
    if (!(error instanceof AppError) || signal?.aborted === true) throw error;
  }
}
