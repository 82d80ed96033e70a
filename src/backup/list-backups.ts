import { AppError } from "../errors.ts";
import type { Store } from "../storage/store.ts";
import {
  type BackupState,
  type Catalogue,
  type CatalogueEntry,
  type CatalogueOptions,
  readCatalogue,
} from "./catalogue.ts";
import type { BackupManifest } from "./manifest.ts";

/** A copy of a backup in one place. */
export interface BackupCopy {
  readonly place: string;
  /** Every object of it. */
  readonly keys: readonly string[];
  readonly verified?: CatalogueEntry["verified"];
  readonly pinned?: CatalogueEntry["pinned"];
}

/** A backup with its copies, as far as they agree; one that differs is listed by itself. */
export interface ListedBackup {
  readonly id: string;
  readonly state: BackupState;
  /** RFC 3339, UTC. */
  readonly createdAt: string;
  /** Negative for one that is dated in the future. */
  readonly ageSeconds: number;
  readonly database: string | undefined;
  /** Of one copy. */
  readonly bytes: number;
  readonly format: BackupManifest["format"] | undefined;
  readonly parts: BackupManifest["parts"];
  readonly keyIds: readonly string[];
  readonly problem: string | undefined;
  readonly copies: readonly BackupCopy[];
}

export interface BackupList {
  readonly database: string;
  /** The good ones, the newest first. */
  readonly backups: readonly ListedBackup[];
  /** Everything else that is named like a backup: damaged, unfinished, foreign, of others. */
  readonly others: readonly ListedBackup[];
  readonly places: readonly string[];
  readonly unreachable: readonly { readonly place: string; readonly error: AppError }[];
}

/** What all stores have. A store that cannot be listed is named, and the others are shown. */
export async function listBackups(
  stores: readonly Store[],
  options: CatalogueOptions & { readonly database: string },
): Promise<BackupList> {
  const catalogues: Catalogue[] = [];
  const unreachable: { place: string; error: AppError }[] = [];
  const places: string[] = [];
  for (const store of stores) {
    try {
      catalogues.push(await readCatalogue(store, options));
      places.push(store.place);
    } catch (error) {
      if (!(error instanceof AppError) || options.signal?.aborted === true) throw error;
      unreachable.push({ place: store.place, error });
    }
  }
  const all = mergeCatalogues(catalogues, options.now);
  return {
    database: options.database,
    backups: all.filter(({ state }) => state === "good"),
    others: all.filter(({ state }) => state !== "good"),
    places,
    unreachable,
  };
}

/** Every backup once, with its copies, the newest first. */
export function mergeCatalogues(
  catalogues: readonly Catalogue[],
  now: Date,
): readonly ListedBackup[] {
  const listed = new Map<string, ListedBackup>();
  for (const { store, entries } of catalogues) {
    for (const entry of entries) {
      const key = JSON.stringify([entry.id, entry.state, entry.manifest, entry.problem]);
      const known = listed.get(key) ?? describe(entry, now);
      listed.set(key, { ...known, copies: [...known.copies, copyOf(entry, store)] });
    }
  }
  // Ids sort as their times do.
  return [...listed.values()].sort((a, b) => (a.id < b.id ? 1 : a.id > b.id ? -1 : 0));
}

function describe(entry: CatalogueEntry, now: Date): ListedBackup {
  return {
    id: entry.id,
    state: entry.state,
    createdAt: entry.createdAt.toISOString(),
    ageSeconds: Math.round((+now - +entry.createdAt) / 1000),
    database: entry.database,
    bytes: entry.bytes,
    format: entry.manifest?.format,
    parts: entry.manifest?.parts ?? [],
    keyIds: entry.manifest?.keyIds ?? [],
    problem: entry.problem,
    copies: [],
  };
}

function copyOf({ keys, verified, pinned }: CatalogueEntry, { place }: Store): BackupCopy {
  return {
    place,
    keys,
    ...(verified === undefined ? {} : { verified }),
    ...(pinned === undefined ? {} : { pinned }),
  };
}
