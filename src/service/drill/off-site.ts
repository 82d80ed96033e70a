import { type OpenBackup, openBackup } from "../../backup/open-backup.ts";
import { checkStored } from "../../backup/read-part.ts";
import type { Store } from "../../storage/store.ts";

/**
 * Downloads every file of a backup from each of these stores, and compares it with the manifest.
 *
 * @returns how many bytes that were
 * @throws {AppError} exit 2 where a store does not have the backup, 3 for bytes that are not the
 *   manifest's, 8 as the store has it
 */
export async function downloadCopies(
  stores: readonly Store[],
  id: string,
  signal: AbortSignal,
): Promise<number> {
  let bytes = 0;
  for (const store of stores) {
    const copy = await copyIn(store, id, signal);
    for (const { kind } of copy.manifest?.parts ?? []) {
      const part = copy.part(kind);
      if (part !== undefined) bytes += (await checkStored(part, signal)).bytes;
    }
  }
  return bytes;
}

async function copyIn(store: Store, id: string, signal: AbortSignal): Promise<OpenBackup> {
  return await openBackup(id, {
    stores: [store],
    openS3: () => Promise.reject(new Error("an id is no URL")),
    database: undefined,
    signal,
  });
}
