import { AppError, ExitCode } from "../errors.ts";
import type { Store } from "../storage/store.ts";
import { idOfKey, sidecarName } from "./backup-name.ts";
import { type Catalogue, type CatalogueEntry, readCatalogue, timeOf } from "./catalogue.ts";

export interface FoundBackup {
  readonly store: Store;
  readonly entry: CatalogueEntry;
  /** The object that was asked for, when it was asked for by its key. */
  readonly key: string | undefined;
  /** What was skipped, and why; what is wrong with the one that was found. */
  readonly warnings: readonly string[];
}

export interface FindOptions {
  /** Whose backups `latest` chooses from; without it every database's. */
  readonly database?: string | undefined;
  readonly now: Date;
  readonly signal?: AbortSignal | undefined;
}

/** More than this ahead of the clock, a backup's date is wrong. */
const farAheadMs = 24 * 3_600_000;

/**
 * Searches stores in their order. `latest` is the newest good backup of all of them, of the first
 * store that has it; an id, or the key of one of its objects, is taken from the first store where
 * it is good, else from the first that has it. A store that cannot be reached is passed over with
 * a warning, as long as another one has the backup.
 *
 * @throws {AppError} exit 2 when there is no such backup; exit 3 when parts of it are missing or
 *   its manifest is not whole, and for `latest` when all are damaged; exit 8 when no store can be reached
 */
export async function findBackup(
  stores: readonly Store[],
  wanted: string,
  options: FindOptions,
): Promise<FoundBackup> {
  const warnings: string[] = [];
  const catalogues: Catalogue[] = [];
  let failure: unknown;
  // Whose backup it is matters where one is chosen, not where one is named.
  const reading = wanted === "latest" ? options : { ...options, database: undefined };
  for (const store of stores) {
    try {
      catalogues.push(await readCatalogue(store, reading));
    } catch (error) {
      if (!(error instanceof AppError) || options.signal?.aborted === true) throw error;
      failure ??= error;
      warnings.push(`${store.place} was not searched: ${error.message}`);
    }
  }
  const found =
    wanted === "latest"
      ? latest(catalogues, options.now, warnings)
      : byName(catalogues, wanted, warnings);
  if (found !== undefined) return { ...found, warnings };
  if (failure !== undefined) throw failure;
  throw noSuchBackup(wanted, catalogues, options, warnings);
}

type Place = Pick<FoundBackup, "store" | "entry" | "key">;

function latest(
  catalogues: readonly Catalogue[],
  now: Date,
  warnings: string[],
): Place | undefined {
  const all = catalogues.flatMap(({ store, entries }) =>
    entries.map((entry) => ({ store, entry, key: undefined })),
  );
  // Stable: of the same backup in two stores, the one of the first store stays in front.
  const newestFirst = all.sort((a, b) => timeOf(b.entry) - timeOf(a.entry));
  for (const [at, place] of newestFirst.entries()) {
    const { store, entry } = place;
    const skipped = (why: string) =>
      warnings.push(`"${store.nameOf(entry.id)}" was skipped: ${why}`);
    if (entry.state === "foreign" || entry.state === "other-database") continue;
    if (timeOf(entry) > +now + farAheadMs) {
      skipped(`it is dated more than a day in the future, ${entry.createdAt.toISOString()}`);
    } else if (entry.state === "good") return place;
    else {
      const next = newestFirst[at + 1]?.entry;
      const good = next?.id === entry.id && next.state === "good";
      skipped(`${entry.problem ?? entry.state}${good ? "; its other copy is taken" : ""}`);
    }
  }
  return undefined;
}

function byName(
  catalogues: readonly Catalogue[],
  wanted: string,
  warnings: string[],
): Place | undefined {
  const id = idOfKey(wanted);
  const key = id === wanted ? undefined : wanted;
  const matches = catalogues.flatMap(({ store, entries }) =>
    entries
      .filter((entry) => entry.id === id && (key === undefined || entry.keys.includes(key)))
      .map((entry) => ({ store, entry, key })),
  );
  const usable = (entry: CatalogueEntry) =>
    entry.manifest !== undefined && entry.state !== "missing-parts";
  const place =
    matches.find(({ entry }) => entry.state === "good") ??
    matches.find(({ entry }) => usable(entry)) ??
    matches[0];
  if (place === undefined) return undefined;
  const { store, entry } = place;
  const name = `"${store.nameOf(entry.id)}"`;
  // Of a version that is not ours, by a manifest that says so or by one that was altered.
  const newer = entry.state === "foreign" && entry.keys.includes(sidecarName(entry.id, "manifest"));
  if (newer || (!usable(entry) && entry.state !== "foreign")) throw unusable(name, entry);
  if (entry.state !== "foreign" && entry.problem !== undefined) {
    warnings.push(`${name}: ${entry.problem}`);
  }
  return place;
}

function unusable(name: string, entry: CatalogueEntry): AppError {
  const code = entry.state === "missing-parts" ? "missing-parts" : "unusable-backup";
  return new AppError(
    code,
    ExitCode.invalidInput,
    `the backup ${name} cannot be used: ${entry.problem ?? entry.state}`,
    {
      hint: "Take another one, pgtenant list names them, or a copy of it from another place; a dump file alone can be restored by its path.",
      data: { id: entry.id, state: entry.state },
    },
  );
}

function noSuchBackup(
  wanted: string,
  catalogues: readonly Catalogue[],
  { database }: FindOptions,
  warnings: readonly string[],
): AppError {
  const places = catalogues.map(({ store }) => `"${store.place}"`).join(" and ") || "no place";
  const good = [
    ...new Set(catalogues.flatMap(({ entries }) => entries.filter((e) => e.state === "good"))),
  ].slice(0, 3);
  const whose = database === undefined ? "" : ` of database "${database}"`;
  const message =
    wanted === "latest"
      ? `there is no good backup${whose} in ${places}`
      : `there is no backup "${wanted}" in ${places}`;
  // Backups that are there and damaged are another matter than none.
  const damaged = catalogues.some(({ entries }) =>
    entries.some(({ state }) => state === "corrupt" || state === "missing-parts"),
  );
  const exitCode = wanted === "latest" && damaged ? ExitCode.invalidInput : ExitCode.usage;
  return new AppError("no-such-backup", exitCode, message, {
    hint:
      good.length === 0
        ? "Check BACKUP_DIR and BACKUP_S3_BUCKET; pgtenant list shows everything that is there."
        : `pgtenant list shows them all; the newest: ${good.map((entry) => entry.id).join(", ")}.`,
    details: warnings,
    data: { wanted },
  });
}
