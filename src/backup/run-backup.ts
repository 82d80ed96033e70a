import type { AppError } from "../errors.ts";
import { type Journal, withJournal } from "../journal/journal.ts";
import { databaseOfUrl } from "../postgres/maintenance-url.ts";
import { sweepTempFolders } from "../postgres/temp-folder.ts";
import { type BackupRequest, type BackupResult, backUp } from "./backup.ts";
import { withFolderLock } from "./folder-lock.ts";
import { totalsOf } from "./manifest.ts";
import { sweepInterrupted } from "./sweep-interrupted.ts";
import { withTargetLock } from "./target-lock.ts";

export interface RunBackupOptions extends BackupRequest {
  /** Where the lock file and the journal lie: the local store's folder. */
  readonly folder: string;
  readonly journal: Journal;
  readonly warn: (text: string) => void;
}

/**
 * A backup from beginning to end: alone in its folder and on its database, after clearing up what
 * runs that were killed have left, and written down in the journal.
 *
 * @param afterwards what is done with the locks still held, once the backup exists
 * @throws {AppError} exit 5 when another run is at work; else what `backUp` throws
 */
export async function runBackup<T>(
  options: RunBackupOptions,
  afterwards: (result: BackupResult, database: string) => Promise<T>,
): Promise<{ readonly result: BackupResult; readonly after: T }> {
  const { connection, folder, journal, stores, warn } = options;
  const database = databaseOfUrl(connection.databaseUrl);
  let unlocked = false;
  const lock = { operation: "backup", warn, ...(stores.length > 1 ? { onUnwritable } : {}) };
  return await withFolderLock(folder, lock, (inFolder) =>
    withTargetLock(connection, database, "backup", async (onTarget) => {
      const signal = AbortSignal.any([options.signal, inFolder.lost, onTarget.lost]);
      await sweepTempFolders(options.tempFolder);
      const swept = unlocked ? stores.filter(({ kind }) => kind !== "local") : stores;
      await sweepInterrupted(swept, { database, journal, warn });
      const result = await withJournal(
        journal,
        "backup",
        { database },
        warn,
        () => backUp({ ...options, signal }),
        (done) => ({ subject: done.id, details: outcomeOf(done) }),
      );
      return { result, after: await afterwards(result, database) };
    }),
  );

  /** A disk that fails is what the copy elsewhere is for. */
  function onUnwritable(error: AppError): void {
    unlocked = true;
    warn(`${error.message}; the backup goes on, to the other place`);
  }
}

function outcomeOf({ manifest, stored, failed, warnings }: BackupResult) {
  const { storedBytes, rawBytes } = totalsOf(manifest);
  return {
    bytes: storedBytes,
    rawBytes,
    stored,
    failed: failed.map(({ place, error }) => ({ place, error: error.message })),
    warnings: warnings.length,
  };
}
