import { newestGood, readCatalogue } from "../backup/catalogue.ts";
import type { Store } from "../storage/store.ts";

/** When the newest good backup of a database began, over all places; undefined without one. */
export async function newestBackup(
  stores: readonly Store[],
  database: string,
  signal: AbortSignal,
): Promise<Date | undefined> {
  const now = new Date();
  const found = await Promise.all(
    stores.map(async (store) => {
      const entry = newestGood(await readCatalogue(store, { database, now, signal }), now);
      return entry?.manifest === undefined ? [] : [new Date(entry.manifest.createdAt)];
    }),
  );
  return found.flat().sort((a, b) => +b - +a)[0];
}
