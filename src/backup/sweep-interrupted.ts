import { AppError } from "../errors.ts";
import type { Journal } from "../journal/journal.ts";
import type { Store } from "../storage/store.ts";
import { type BackupId, idOfKey, sidecarName } from "./backup-name.ts";
import { readSidecar } from "./sidecars.ts";

export interface SweepOptions {
  readonly database: string;
  readonly journal: Journal;
  readonly warn: (text: string) => void;
}

/**
 * Clears up what backups of this database that were killed have left: temporary files and pending
 * uploads go at once; parts that have their names stay until retention collects them. The caller
 * holds the locks, so that none of it is in use. A store that fails here is told, no more: the
 * backup itself shows whether it can be written to.
 */
export async function sweepInterrupted(
  stores: readonly Store[],
  { database, journal, warn }: SweepOptions,
): Promise<void> {
  for (const store of stores) {
    await toldOnly(warn, `what earlier runs may have left in ${store.place}`, async () => {
      // The folder is locked as a whole; a bucket may be shared with runs on other databases.
      const removed = store.kind === "local" ? [...(await store.sweep("backup_"))] : [];
      for (const id of await pendingOf(store, database)) {
        if (store.kind === "s3") removed.push(...(await store.sweep(`${id}.`)));
        warn(
          `the backup "${store.nameOf(id)}" was interrupted and is worth nothing; what is left of it is removed a day after it began`,
        );
      }
      for (const name of removed) warn(`removed what an interrupted backup has left: ${name}`);
    });
  }
  await toldOnly(warn, "interrupted runs in the journal", () =>
    journal.markInterrupted(
      (record) => record.operation === "backup" && record.database === database,
    ),
  );
}

async function pendingOf(store: Store, database: string): Promise<readonly BackupId[]> {
  const found: BackupId[] = [];
  for await (const { key } of store.list("backup_")) {
    const id = idOfKey(key);
    if (id === undefined || key !== sidecarName(id, "pending")) continue;
    const pending = await readSidecar(store, id, "pending").catch(() => undefined);
    if (pending?.database !== database) continue;
    const complete = await store.stat(sidecarName(id, "manifest"));
    if (complete === undefined) found.push(id);
  }
  return found;
}

async function toldOnly(
  warn: (text: string) => void,
  what: string,
  work: () => Promise<unknown>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    warn(`${what} could not be looked at: ${error.message}`);
  }
}
