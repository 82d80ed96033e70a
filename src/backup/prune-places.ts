import { stat } from "node:fs/promises";
import { AppError, ExitCode } from "../errors.ts";
import { type Journal, withJournal } from "../journal/journal.ts";
import { databaseOfUrl } from "../postgres/maintenance-url.ts";
import type { ConnectionOptions } from "../postgres/session.ts";
import type { Stores } from "../storage/open-stores.ts";
import type { Store } from "../storage/store.ts";
import { withFolderLock } from "./folder-lock.ts";
import { type PruneResult, prune } from "./prune.ts";
import type { RetentionPolicy } from "./retention.ts";
import { checkPolicy } from "./retention.ts";
import { withTargetLockIfReachable } from "./target-lock.ts";

export interface PrunePlacesOptions {
  /** Its URL says whose backups are ours; the server itself need not answer. */
  readonly connection: ConnectionOptions;
  readonly stores: Stores;
  readonly policy: RetentionPolicy;
  readonly now: Date;
  readonly dryRun: boolean;
  readonly journal: Journal;
  readonly signal: AbortSignal;
  readonly warn: (text: string) => void;
}

export interface PlaceFailure {
  readonly place: string;
  readonly error: AppError;
}

export interface PrunedPlaces {
  readonly database: string;
  readonly results: readonly PruneResult[];
  /** Places that could not be reached; the others were pruned all the same. */
  readonly failed: readonly PlaceFailure[];
}

/**
 * Prunes every place under the folder's lock and, where the server answers, the database's. A dry
 * run takes no lock and leaves no line in the journal.
 *
 * @throws {AppError} exit 2 for an empty policy, or when the folder is the only place and there
 *   is none; exit 5 when another run is at work
 */
export async function prunePlaces(options: PrunePlacesOptions): Promise<PrunedPlaces> {
  const { connection, stores, journal, warn } = options;
  checkPolicy(options.policy);
  const database = databaseOfUrl(connection.databaseUrl);
  const folder = stores.local.place;
  const hasFolder = await isFolder(folder);
  if (!hasFolder) {
    if (stores.s3 === undefined) throw noSuchFolder(folder);
    warn(`there is no folder "${folder}"; only ${stores.s3.place} is pruned`);
  }
  const places = stores.all.filter((store) => store !== stores.local || hasFolder);
  const run = (lost: AbortSignal) => pruneEach(places, database, options, lost);
  if (options.dryRun) return await run(options.signal);
  const onTarget = () =>
    withTargetLockIfReachable(connection, database, "prune", warn, async (held) => {
      if (!hasFolder) return await run(held.lost);
      const what = { database, details: { policy: options.policy } };
      return await withJournal(journal, "prune", what, warn, () => run(held.lost), outcomeOf);
    });
  return hasFolder
    ? await withFolderLock(folder, { operation: "prune", warn }, onTarget)
    : await onTarget();
}

async function pruneEach(
  places: readonly Store[],
  database: string,
  { policy, now, dryRun, signal }: PrunePlacesOptions,
  lost: AbortSignal,
): Promise<PrunedPlaces> {
  const results: PruneResult[] = [];
  const failed: PlaceFailure[] = [];
  const stop = AbortSignal.any([signal, lost]);
  for (const store of places) {
    try {
      results.push(await prune(store, { database, policy, now, dryRun, signal: stop }));
    } catch (error) {
      if (!(error instanceof AppError) || stop.aborted) throw error;
      failed.push({ place: store.place, error });
    }
  }
  return { database, results, failed };
}

function outcomeOf({ results, failed }: PrunedPlaces) {
  const [first] = failed;
  const refused = results.flatMap((result) => result.refused);
  const exitCode = first?.error.exitCode ?? (refused.length > 0 ? ExitCode.storage : ExitCode.done);
  const details = {
    places: results.map(({ place, removed, ...result }) => ({
      place,
      removed: removed.map(({ id }) => id),
      refused: result.refused.map(({ key }) => key),
    })),
    failed: failed.map(({ place, error }) => ({ place, error: error.message })),
  };
  return { exitCode, details };
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

function noSuchFolder(folder: string): AppError {
  return new AppError("no-such-folder", ExitCode.usage, `there is no folder "${folder}"`, {
    hint: "Name the folder of the backups with -d or BACKUP_DIR, or a bucket with --s3-bucket.",
  });
}
