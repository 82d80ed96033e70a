import { ExitCode } from "../errors.ts";
import type { JournalRecord } from "../journal/journal-record.ts";
import { everyTenant } from "../journal/subjects.ts";
import {
  errorOf,
  failedPlacesOf,
  isWhole,
  type JournalRun,
  type JournalSummary,
} from "./journal-summary.ts";
import type { ScheduleView } from "./schedule-view.ts";
import type { FailureStatus, RunningStatus, RunStatus } from "./service-status.ts";

const shownFailures = 10;
const failureDays = 30;
/** A command takes so long to start, and to write down that it did. */
const aMomentMs = 30_000;

/** For lines of the journal that have no hint of their own. */
const hints: ReadonlyMap<number, string> = new Map([
  [ExitCode.invalidInput, "Take another copy; pgtenant list says where there are some."],
  [ExitCode.locked, "Another run was at work; wait for it, or look for it with pgtenant history."],
  [ExitCode.key, "Give the key that it was made with."],
  [ExitCode.database, "Run pgtenant doctor; it says what the database lacks."],
  [
    ExitCode.storage,
    "Look at the disk's free space, and at S3's rights; pgtenant doctor checks both.",
  ],
  [ExitCode.interrupted, "Somebody ended it; run it again."],
]);

const otherwise = "Run pgtenant doctor, then the command again.";

/** What went wrong in the last thirty days, the latest first, as many as a page can show. */
export function failuresOf(
  journal: JournalSummary,
  schedule: ScheduleView | undefined,
  now: Date,
): readonly FailureStatus[] {
  const since = +now - failureDays * 86_400_000;
  const succeeded = new Set<string>();
  const failures: FailureStatus[] = [];
  // The newest first, so that what has succeeded since is known already.
  for (const run of journal.runs) {
    const record = run.ended ?? run.started;
    if (record === undefined || run.result === "running") continue;
    if (Date.parse(record.at) < since) break;
    const resolved = resolutionsOf(record).some((success) => succeeded.has(success));
    if (!isToldByCommand(run, journal)) failures.push(...failuresOfRun(run, record, resolved));
    if (isSuccess(record)) succeeded.add(successOf(record));
    if (failures.length >= shownFailures) break;
  }
  return [...jobFailuresOf(journal, schedule), ...failures]
    .sort((a, b) => Date.parse(b.at) - Date.parse(a.at))
    .slice(0, shownFailures);
}

const ofService = "schedule";

/** What a line is about: those of the service are about what its job does. */
function operationOf({
  operation,
  subject = "",
}: Pick<JournalRecord, "operation" | "subject">): string {
  return operation === ofService ? (operations[subject] ?? subject) : operation;
}

function isSuccess(record: JournalRecord): boolean {
  const everywhere = failedPlacesOf(record).length === 0;
  return isWhole(record) && everywhere && record.details?.skipped === undefined;
}

/**
 * What has gone well when this run has. A bundle of one tenant says nothing of another one's, and the
 * job of the service may be about a few of them.
 */
function successOf(record: Pick<JournalRecord, "operation" | "subject">): string {
  const operation = operationOf(record);
  if (operation !== ofExports) return operation;
  return record.operation === ofService ? ofService : exportOf(record.subject);
}

/** Whatever of these goes well later, a failure of this run is no matter any more. */
function resolutionsOf(record: Pick<JournalRecord, "operation" | "subject">): readonly string[] {
  const own = successOf(record);
  return operationOf(record) === ofExports ? [own, exportOf(everyTenant)] : [own];
}

const ofExports = "export";

function exportOf(subject = ""): string {
  return JSON.stringify([ofExports, subject]);
}

/** Whether a line of the service says what its command has written down itself. */
function isToldByCommand({ started, ended }: JournalRun, journal: JournalSummary): boolean {
  const record = ended ?? started;
  if (record === undefined || record.operation !== ofService) return false;
  const last = Date.parse(record.at);
  const from = started === undefined ? last - (ended?.seconds ?? 0) * 1000 : Date.parse(started.at);
  // The service waits for its command; where it was killed, nobody knows how long that went on.
  const to = ended === undefined ? last + aMomentMs : last;
  return journal.runs.some((run) => {
    const own = run.ended ?? run.started;
    if (own === undefined || run.result === "done" || own.operation !== operationOf(record)) {
      return false;
    }
    const begun = Date.parse(run.started?.at ?? own.at);
    return begun >= from && begun <= to;
  });
}

/** What could not be written down, as where the folder of the journal is read-only. */
function jobFailuresOf(
  journal: JournalSummary,
  schedule: ScheduleView | undefined,
): readonly FailureStatus[] {
  return (schedule?.jobs ?? []).flatMap(({ kind, last }) => {
    if (last?.result !== "failed") return [];
    const operation = operations[kind] ?? kind;
    const recorded = journal.runs.some(({ ended, result }) => {
      const at = Date.parse(ended?.at ?? "");
      const during = at >= +last.startedAt && at <= +last.endedAt + 1000;
      return during && ended && operationOf(ended) === operation && result === "failed";
    });
    if (recorded) return [];
    const resolutions = resolutionsOf({ operation: ofService, subject: kind });
    const resolved = journal.runs.some(
      ({ ended }) =>
        ended !== undefined &&
        Date.parse(ended.at) > +last.endedAt &&
        isSuccess(ended) &&
        resolutions.includes(successOf(ended)),
    );
    return [
      {
        at: last.endedAt.toISOString(),
        operation: kind,
        subject: null,
        message: last.message,
        hint: last.hint ?? otherwise,
        partial: false,
        resolved,
      },
    ];
  });
}

function failuresOfRun(
  { result }: JournalRun,
  record: JournalRecord,
  resolved: boolean,
): readonly FailureStatus[] {
  const { at, exitCode } = record;
  const { operation, subject } = shownAs(record);
  const common = { at, operation, subject, partial: false, resolved };
  switch (result) {
    case "done":
      return failedPlacesOf(record).map(({ place, error }) => ({
        ...common,
        partial: true,
        message: `the backup is not in ${place}: ${error}`,
        hint: "The other copy is good; look at the place, and the next run writes there again.",
      }));
    case "failed": {
      const error = errorOf(record);
      // Somebody who has looked at a plan and left it there has failed at nothing.
      if (error?.message === "" || error?.code === "not-confirmed") return [];
      const hint = error?.hint ?? hints.get(exitCode ?? -1) ?? otherwise;
      return [{ ...common, message: error?.message ?? "it failed", hint }];
    }
    case "interrupted":
    case "unfinished":
      // Somebody has ended it in order; the service catches up with it.
      if (exitCode === ExitCode.interrupted) return [];
      return [
        {
          ...common,
          message: "it was cut short, as by a crash or a kill",
          hint: "The next run clears up what it left; look why the process ended.",
        },
      ];
    case "running":
      return [];
  }
}

/** A job of the service by its name, everything else as the journal has it. */
function shownAs({ operation, subject }: JournalRecord) {
  return operation === ofService && subject !== undefined
    ? { operation: subject, subject: null }
    : { operation, subject: subject ?? null };
}

export function runOf({ started, ended, result }: JournalRun): RunStatus {
  const record = ended ?? started;
  const { bytes } = ended?.details ?? {};
  return {
    operation: record?.operation ?? "",
    result,
    startedAt: started?.at ?? null,
    endedAt: ended?.at ?? null,
    seconds: ended?.seconds ?? null,
    subject: record?.subject ?? null,
    bytes: typeof bytes === "number" ? bytes : null,
    message: ended === undefined ? null : (errorOf(ended)?.message ?? null),
  };
}

/** The operation that a job of the service writes into the journal. */
const operations: Readonly<Record<string, string>> = { tenants: "export" };

/** What runs now: first what the scheduler tells of, then what only the journal has. */
export function runningOf(
  journal: JournalSummary,
  schedule: ScheduleView | undefined,
  now: Date,
): readonly RunningStatus[] {
  const secondsSince = (time: Date) => Math.max(0, Math.round((+now - +time) / 1000));
  const jobs = (schedule?.jobs ?? []).flatMap(({ kind, running }) =>
    running === undefined
      ? []
      : [
          {
            operation: kind,
            startedAt: running.startedAt.toISOString(),
            seconds: secondsSince(running.startedAt),
            subject: null,
            host: null,
            step: running.step,
            attempt: running.attempt,
            done: running.done,
            total: running.total ?? null,
          },
        ],
  );
  const toldByScheduler = new Set(jobs.map(({ operation }) => operations[operation] ?? operation));
  const running = journal.runs.flatMap(({ started, result, elsewhere: host = null }) =>
    result === "running" && started !== undefined ? [{ started, host }] : [],
  );
  const told = new Set([...toldByScheduler].map((operation) => nameAt(operation, null)));
  for (const { started, host } of running) {
    if (started.operation !== ofService) told.add(nameAt(started.operation, host));
  }
  const others = running.flatMap(({ started, host }) => {
    const operation = operationOf(started);
    const known =
      started.operation === ofService
        ? told.has(nameAt(operation, host))
        : host === null && toldByScheduler.has(operation);
    if (known) return [];
    return [
      {
        ...shownAs(started),
        startedAt: started.at,
        seconds: secondsSince(new Date(started.at)),
        host,
        step: null,
        attempt: null,
        done: null,
        total: null,
      },
    ];
  });
  return [...jobs, ...others];
}

function nameAt(operation: string, host: string | null): string {
  return JSON.stringify([operation, host]);
}
