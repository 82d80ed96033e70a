import { mkdir } from "node:fs/promises";
import { AppError, ExitCode } from "../../errors.ts";
import { type Journal, withJournal } from "../../journal/journal.ts";
import { drill } from "./drill.ts";
import type { DrillReport } from "./drill-report.ts";
import type { DrillRequest } from "./drill-request.ts";
import { type WrittenReport, writeReport } from "./report-file.ts";

export interface RunDrillOptions extends DrillRequest {
  /** Of the backups; the reports go into a folder of their own below it. */
  readonly folder: string;
  readonly journal: Journal;
  /** Masked in the report. */
  readonly secrets: readonly string[];
}

export interface RunDrillResult {
  readonly report: DrillReport;
  readonly files: WrittenReport;
}

/**
 * A drill from beginning to end: done, reported, and written down in the journal.
 *
 * @throws {AppError} exit 5 when another drill is at work, 8 when the report cannot be written
 */
export async function runDrill(options: RunDrillOptions): Promise<RunDrillResult> {
  const { folder, journal, secrets, warn, database } = options;
  await makeFolder(folder);
  let failed: RunDrillResult | undefined;
  const work = async () => {
    const report = await drill(options);
    const result = { report, files: await writeReport(folder, report, secrets) };
    const failure = drillFailureOf(report);
    if (failure === undefined) return result;
    failed = result;
    throw failure;
  };
  try {
    return await withJournal(journal, "drill", { database }, warn, work, outcomeOf);
  } catch (error) {
    if (failed === undefined) throw error;
    return failed;
  }
}

function outcomeOf({ report, files }: RunDrillResult) {
  const { backup, rto } = report;
  const details = { rtoSeconds: rto.seconds, report: files.json };
  return { ...(backup === null ? {} : { subject: backup.id }), details };
}

/** What journal and notices say of a drill that has found something; undefined when it has passed. */
export function drillFailureOf(report: DrillReport): AppError | undefined {
  const { passed, checks, problem, hint, exitCode } = report;
  if (passed) return undefined;
  const code = checks.find(({ state }) => state === "failed")?.error?.code ?? "drill-failed";
  return new AppError(code, exitCode, problem ?? "it failed", hint === null ? {} : { hint });
}

/** Before the work of an hour, not behind it. */
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new AppError(
      "no-folder",
      ExitCode.storage,
      `the folder "${folder}" for the report cannot be made`,
      { hint: "Name another one with -d or BACKUP_DIR.", cause },
    );
  }
}
