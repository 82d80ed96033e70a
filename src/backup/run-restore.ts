import { AppError, retold } from "../errors.ts";
import { type Journal, type Outcome, withJournal } from "../journal/journal.ts";
import { databaseOfUrl } from "../postgres/maintenance-url.ts";
import { sweepTempFolders } from "../postgres/temp-folder.ts";
import { restoreDatabase } from "./restore.ts";
import { checkFiles, restoreFiles } from "./restore-files.ts";
import type { RestorePlan, RestoreRequest, RestoreResult } from "./restore-types.ts";
import { withTargetLock } from "./target-lock.ts";
import type { UnpackedFiles } from "./unpack-files.ts";

export interface RunRestoreOptions extends RestoreRequest {
  /** Where the files of the set go; undefined to leave them where they are. */
  readonly filesTo: string | undefined;
  /** Leaves the database alone. */
  readonly onlyFiles: boolean;
  /** Hears how many files are going to be put back, without the database; what it throws ends the restore. */
  readonly onFiles?: (files: number) => Promise<void>;
  /** Undefined for a dry run, which does nothing that is worth a line. */
  readonly journal: Journal | undefined;
  readonly warn: (text: string) => void;
}

export interface RunRestoreResult {
  readonly database: RestoreResult | undefined;
  readonly files: UnpackedFiles | undefined;
}

/**
 * A restore from beginning to end: alone on its database, and written down in the journal. Files
 * are looked at before the database is touched, and put back after it.
 *
 * @throws {AppError} exit 5 when another run is at work on the database; else what
 *   `restoreDatabase` and `restoreFiles` throw
 */
export async function runRestore(options: RunRestoreOptions): Promise<RunRestoreResult> {
  const { backup, connection, journal, warn, keys, signal, filesTo, mode, into } = options;
  const named = databaseOfUrl(connection.databaseUrl);
  const database = into ?? named;
  const files = filesTo === undefined ? undefined : { keys, folder: filesTo, signal };
  const beside = into === undefined ? {} : { into, beside: named };
  const only = options.onlyFiles ? { onlyFiles: true } : {};
  const details = { mode, ...beside, ...only };
  const what = { database, subject: backup.id ?? backup.name, details };
  const recorded = <T>(work: () => Promise<T>, outcomeOf?: () => Outcome) =>
    journal === undefined ? work() : withJournal(journal, "restore", what, warn, work, outcomeOf);
  const listing = files === undefined ? undefined : await checkFiles(backup, files);
  if (options.onlyFiles) {
    if (listing !== undefined) await options.onFiles?.(listing.files);
    if (files === undefined) return { database: undefined, files: undefined };
    const work = () => restoreFiles(backup, files);
    return { database: undefined, files: await recorded(work, () => ({ details })) };
  }
  return await withTargetLock(connection, database, "restore", (held) => {
    let began = 0;
    let askedMs = 0;
    const onPlan = async (plan: RestorePlan) => {
      const asked = performance.now();
      await options.onPlan(plan);
      askedMs = performance.now() - asked;
    };
    const work = async () => {
      began = performance.now();
      await sweepTempFolders(options.tempFolder);
      const restored = await restoreDatabase({
        ...options,
        onPlan,
        signal: AbortSignal.any([signal, held.lost]),
      });
      if (files === undefined) return { database: restored, files: undefined };
      options.onStep("files", `putting the files below ${files.folder}`);
      const unpacked = await restoreFiles(backup, files).catch((error: unknown) => {
        throw behindDatabase(error, restored);
      });
      return { database: restored, files: unpacked };
    };
    return recorded(work, () => {
      // Without the time that somebody has thought about the plan.
      const restoreSeconds = Math.round(performance.now() - began - askedMs) / 1000;
      return { details: { ...details, restoreSeconds } };
    });
  });
}

/** Where the database is restored already, and something behind it has failed. */
function behindDatabase(error: unknown, { plan }: RestoreResult): unknown {
  if (!(error instanceof AppError)) return error;
  const kept = plan.kept === null ? "" : `, what was there before is in "${plan.kept}"`;
  const restored = `the database "${plan.target}" is restored${kept}: only the files are left to be put back, with --only-files`;
  return retold(error, {
    hint: error.hint ?? "Put the files back by themselves, with --only-files.",
    details: [restored, ...error.details],
  });
}
