import { type OpenBackup, type OpenBackupOptions, openBackup } from "../backup/open-backup.ts";
import { AppError } from "../errors.ts";
import { databaseOfUrl } from "../postgres/maintenance-url.ts";
import { openStores, type StorageSettings, type Stores } from "../storage/open-stores.ts";
import type { Context } from "./command.ts";
import { placesOf } from "./place-options.ts";

interface Places {
  readonly places: StorageSettings;
  readonly stores: Stores;
}

/** Finds the backup that a command line names, in the places that it and the environment name. */
export async function openNamedBackup(
  wanted: string,
  args: Parameters<typeof placesOf>[0],
  context: Context,
): Promise<Places & { readonly backup: OpenBackup }> {
  const { options, ...places } = await openPlaces(args, context);
  return { ...places, backup: await openBackup(wanted, { ...options, loneDumps: true }) };
}

/** A copy that cannot be looked at. */
export interface LostCopy {
  readonly place: string;
  readonly error: AppError;
}

/**
 * The same backup from every place that has it; more than one only for `latest` and ids. A place
 * that never had it is a warning, one whose copy lacks something or that does not answer is a lost copy.
 */
export async function openNamedBackups(
  wanted: string,
  args: Parameters<typeof placesOf>[0],
  context: Context,
): Promise<
  Places & { readonly backups: readonly OpenBackup[]; readonly lost: readonly LostCopy[] }
> {
  const { options, ...places } = await openPlaces(args, context);
  const first = await openBackup(wanted, options);
  const backups = [first];
  const lost: LostCopy[] = [];
  if (first.id !== undefined && options.stores.includes(first.store)) {
    for (const store of options.stores) {
      if (store === first.store) continue;
      try {
        backups.push(await openBackup(first.id, { ...options, stores: [store] }));
      } catch (error) {
        if (!(error instanceof AppError) || context.signal.aborted) throw error;
        if (error.code !== "no-such-backup") lost.push({ place: store.place, error });
        else context.output.warn(`in ${store.place}: ${error.message}`);
      }
    }
  }
  // Told with its copy.
  const unsearched = lost.map(({ place }) => `${place} was not searched: `);
  const warnings = first.warnings.filter(
    (warning) => !unsearched.some((start) => warning.startsWith(start)),
  );
  backups[0] = { ...first, warnings };
  return { ...places, backups, lost };
}

/** The places that a command line and the environment name, and how a backup is opened in them. */
export async function openPlaces(
  args: Parameters<typeof placesOf>[0],
  { config, signal }: Context,
): Promise<Places & { readonly options: OpenBackupOptions }> {
  const places = placesOf(args, config);
  const stores = await openStores(places);
  const { s3Endpoint: endpoint, s3Region: region } = places;
  const options: OpenBackupOptions = {
    stores: stores.all,
    openS3: async (bucket, prefix) => {
      const { openS3Store } = await import("../storage/s3-store.ts");
      return await openS3Store({ bucket, prefix, endpoint, region });
    },
    database: databaseOfUrl(config.databaseUrl),
    signal,
  };
  return { places, stores, options };
}
