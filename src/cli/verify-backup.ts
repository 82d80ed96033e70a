import { totalsOf } from "../backup/manifest.ts";
import type { OpenBackup } from "../backup/open-backup.ts";
import type { VerifiedBackup } from "../backup/verify-backup.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Context } from "./command.ts";
import { type KeyArguments, keysOf } from "./key-options.ts";
import { openNamedBackups } from "./named-backup.ts";
import type { placesOf } from "./place-options.ts";
import { programsOf } from "./program-options.ts";
import { errorDocument, tellError } from "./report-error.ts";

type Arguments = KeyArguments &
  Parameters<typeof placesOf>[0] & {
    readonly file: string;
    readonly verbose: boolean;
    readonly storedOnly: boolean;
  };

/** Verifies a backup in every place that has it; one bad copy does not hide another. */
export async function verifyNamed(args: Arguments, context: Context): Promise<ExitCode> {
  const { verifyBackup } = await import("../backup/verify-backup.ts");
  const { withJournal, openJournalOf } = await import("../journal/journal.ts");
  const { verifiedDocument, verifiedText } = await import("./render/verify-backup.ts");
  const { config, output, signal, outcome } = context;
  outcome.job = "verify";
  const warn = (text: string) => output.warn(text);
  const keys = await keysOf(args, context);
  const { backups, lost, places, stores } = await openNamedBackups(args.file, args, context);
  const id = backups[0]?.id;
  if (id !== undefined) outcome.id = id;
  const journal = await openJournalOf(places.directory, { secrets: config.secrets, warn, signal });
  const progress = await context.progress("verifying", "bytes");
  const verify = async (backup: OpenBackup): Promise<VerifiedBackup> => {
    for (const warning of backup.warnings) output.warn(warning);
    progress.start(backup.manifest === undefined ? 0 : totalsOf(backup.manifest).rawBytes);
    const work = () =>
      verifyBackup(backup, {
        keys,
        programs: programsOf(config),
        storedOnly: args.storedOnly,
        signal,
        onBytes: (bytes) => progress.advance(backup.name, bytes),
        warn,
      });
    try {
      // What has no manifest is not ours to keep a record of.
      return await (backup.manifest === undefined || journal === undefined
        ? work()
        : withJournal(
            journal,
            "verify",
            { database: backup.manifest.database, subject: backup.manifest.id },
            warn,
            work,
            ({ place, checked }) => ({ details: { place, checked } }),
          ));
    } finally {
      progress.stop();
    }
  };
  try {
    const results: object[] = [];
    const failures: AppError[] = [];
    const failed = (place: string, error: AppError) => {
      tellError(output, error);
      failures.push(error);
      results.push({ valid: false, place, error: errorDocument(error) });
    };
    for (const backup of backups) {
      const started = performance.now();
      try {
        const verified = await verify(backup);
        const seconds = (performance.now() - started) / 1000;
        output.text(verifiedText(verified, seconds, args.verbose));
        results.push({ ...verifiedDocument(verified), seconds });
      } catch (error) {
        const alone = backups.length + lost.length === 1;
        if (!(error instanceof AppError) || signal.aborted || alone) throw error;
        failed(backup.store.place, error);
      }
    }
    for (const { place, error } of lost) failed(place, error);
    outcome.failure = failures[0];
    const exitCode = failures[0]?.exitCode ?? ExitCode.done;
    output.result({ valid: failures.length === 0, copies: results, exitCode });
    return exitCode;
  } finally {
    await stores.close();
  }
}
