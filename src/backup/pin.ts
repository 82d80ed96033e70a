import { AppError, ExitCode } from "../errors.ts";
import { operatorName } from "../postgres/process-identity.ts";
import type { Store } from "../storage/store.ts";
import { type BackupId, idOfKey } from "./backup-name.ts";
import { backupEntry } from "./catalogue.ts";
import { removeSidecar, writeSidecar } from "./sidecars.ts";

export interface PinChange {
  readonly id: BackupId;
  /** Where it was pinned, or is no longer. */
  readonly places: readonly string[];
}

/**
 * Keeps a backup from retention, in every store that has it.
 *
 * @throws {AppError} exit 2 when no store has such a backup of ours; exit 8 when a store cannot be
 *   written to
 */
export async function pinBackup(
  stores: readonly Store[],
  id: BackupId,
  { reason, now }: { readonly reason: string; readonly now: Date },
): Promise<PinChange> {
  const holders = await storesWith(stores, id);
  const pin = { pinned: 1, id, at: now.toISOString(), by: operatorName(), reason } as const;
  for (const store of holders) await writeSidecar(store, "pinned", pin);
  return { id, places: holders.map((store) => store.place) };
}

/**
 * Gives a backup back to retention, in every store that has it; that it was not pinned is no error.
 *
 * @throws {AppError} exit 2 when no store has such a backup of ours; exit 8 when a store cannot be
 *   written to
 */
export async function unpinBackup(stores: readonly Store[], id: BackupId): Promise<PinChange> {
  const holders = await storesWith(stores, id);
  for (const store of holders) await removeSidecar(store, id, "pinned");
  return { id, places: holders.map((store) => store.place) };
}

async function storesWith(stores: readonly Store[], id: BackupId): Promise<readonly Store[]> {
  if (idOfKey(id) !== id) {
    throw new AppError("invalid-backup-id", ExitCode.usage, `"${id}" is not the id of a backup`, {
      hint: "An id looks like backup_20260101_020000; pgtenant list shows them.",
    });
  }
  const holders: Store[] = [];
  let foreign = false;
  for (const store of stores) {
    const state = (await backupEntry(store, id, { now: new Date() }))?.state;
    if (state === "foreign") foreign = true;
    else if (state !== undefined) holders.push(store);
  }
  if (holders.length > 0) return holders;
  const places = stores.map((store) => `"${store.place}"`).join(" and ");
  throw new AppError(
    "no-such-backup",
    ExitCode.usage,
    foreign
      ? `"${id}" was not written by pgtenant, so retention leaves it alone anyway`
      : `there is no backup "${id}" in ${places}`,
    { hint: "pgtenant list shows the backups of every place." },
  );
}
