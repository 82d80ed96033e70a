import { type ListedBackup, mergeCatalogues } from "../backup/list-backups.ts";
import type { BackupManifest } from "../backup/manifest.ts";
import { toolVersion } from "../version.ts";
import { calendarOf } from "./calendar.ts";
import { type Measure, rpoCheck, rtoCheck, verifiedCheck } from "./checks.ts";
import type { JournalSummary } from "./journal-summary.ts";
import type { PlaceReading } from "./place-reader.ts";
import { promiseOf } from "./promise.ts";
import { failuresOf, runningOf, runOf } from "./runs.ts";
import type { ScheduleView } from "./schedule-view.ts";
import type {
  BackupStatus,
  DiskStatus,
  DrillStatus,
  OtherStatus,
  PlaceStatus,
  Proof,
  ScheduleStatus,
  ServiceStatus,
} from "./service-status.ts";

/** Everything that a status is made of, as it was read. */
export interface StatusSources {
  readonly now: Date;
  readonly database: string;
  readonly timezone: string;
  readonly rpoHours: number;
  readonly rtoHours: number;
  readonly places: readonly PlaceReading[];
  readonly journal: JournalSummary;
  /** The newest first. */
  readonly drills: readonly DrillStatus[];
  readonly disk: DiskStatus | null;
  readonly schedule: ScheduleView | undefined;
}

const shownRuns = 50;

/** How things stand; reads nothing. */
export function statusOf(sources: StatusSources): ServiceStatus {
  const { now, database, timezone, journal, drills, disk } = sources;
  const catalogues = sources.places.flatMap(({ catalogue }) => catalogue ?? []);
  const manifests = new Map(
    catalogues.flatMap(({ entries }) =>
      entries.flatMap(({ id, manifest }) => (manifest === undefined ? [] : [[id, manifest]])),
    ) as [string, BackupManifest][],
  );
  const listed = mergeCatalogues(catalogues, now);
  const backups = listed
    .filter(({ state }) => state === "good")
    .map((backup) => backupOf(backup, manifests.get(backup.id), drills));
  const others = listed.flatMap(otherOf);
  const places = sources.places.map((reading) => placeOf(reading, now));
  const newest = backups.find(({ createdAt }) => Date.parse(createdAt) <= +now);
  const failures = failuresOf(journal, sources.schedule, now);
  const rpo = rpoCheck(newest, sources.rpoHours * 3600, now);
  const rto = rtoCheck(lastMeasure(journal, drills), drills[0], sources.rtoHours * 3600, now);
  const verified = verifiedCheck(backups, now);
  const damaged = others.filter(({ state }) => state === "corrupt" || state === "missing-parts");
  const { records, intact = null, problem = null } = journal;
  const told = { intact, records, problem };
  const failedBackups = failures.filter(({ operation }) => operation === "backup");
  return {
    at: now.toISOString(),
    tool: `pgtenant ${toolVersion}`,
    database,
    timezone,
    promise: promiseOf({
      rpo,
      rto,
      verified,
      places,
      failures,
      tried: damaged.length > 0 || journal.firstDay !== undefined || failedBackups.length > 0,
      newestIn: newest?.places ?? [],
      journal: told,
    }),
    rpo,
    rto,
    verified,
    backups,
    others,
    calendar: calendarOf({
      now,
      timezone,
      good: backups.map(({ createdAt }) => createdAt),
      damaged: damaged.map(({ createdAt }) => createdAt),
      failed: failedBackups.map(({ at }) => at),
      runs: journal.days,
      firstRunDay: journal.firstDay,
    }),
    schedule: sources.schedule === undefined ? null : scheduleOf(sources.schedule),
    running: runningOf(journal, sources.schedule, now),
    failures,
    runs: journal.runs.slice(0, shownRuns).map(runOf),
    drills,
    places,
    disk,
    journal: told,
    totals: {
      operations: journal.counts,
      lastSuccess: Object.fromEntries([...journal.lastSuccess].map(([name, { at }]) => [name, at])),
      s3Failures: journal.s3Failures,
    },
  };
}

function backupOf(
  listed: ListedBackup,
  manifest: BackupManifest | undefined,
  drills: readonly DrillStatus[],
): BackupStatus {
  const { id, createdAt, parts, copies } = listed;
  const dump = parts.find(({ kind }) => kind === "database") ?? parts[0];
  const layers = [
    listed.format ?? "",
    dump === undefined || dump.compression === "none" ? "" : dump.compression,
    dump === undefined || dump.encryption === "none" ? "" : dump.encryption,
    parts.some(({ kind }) => kind === "files") ? "with files" : "",
  ];
  return {
    id,
    createdAt,
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    rawBytes: parts.reduce((sum, { rawBytes }) => sum + rawBytes, 0),
    durationSeconds: manifest?.durationSeconds ?? null,
    layers: layers.filter((word) => word !== ""),
    encrypted: parts.length > 0 && parts.every(({ encryption }) => encryption !== "none"),
    places: copies.map(({ place }) => place),
    pinned: copies.find(({ pinned }) => pinned !== undefined)?.pinned?.reason ?? null,
    proof: proofOf(listed, drills),
  };
}

const strength: Readonly<Record<Proof["kind"], number>> = { drill: 2, all: 1, stored: 0 };

/** The strongest, and of equal ones the latest. */
function proofOf({ id, copies }: ListedBackup, drills: readonly DrillStatus[]): Proof | null {
  const proofs: Proof[] = [
    ...drills
      .filter(({ backup, passed }) => passed && backup === id)
      .map(({ at }) => ({ at, kind: "drill" as const })),
    ...copies.flatMap(({ verified }) =>
      verified?.result === "good" ? [{ at: verified.at, kind: verified.checked }] : [],
    ),
  ];
  const [best] = proofs.sort(
    (a, b) => strength[b.kind] - strength[a.kind] || Date.parse(b.at) - Date.parse(a.at),
  );
  return best ?? null;
}

function otherOf({ id, state, createdAt, bytes, copies, problem }: ListedBackup): OtherStatus[] {
  if (state === "good") return [];
  const places = copies.map(({ place }) => place);
  return [{ id, state, createdAt, bytes, places, problem: problem ?? null }];
}

function placeOf({ store, state, catalogue, readAt, error }: PlaceReading, now: Date): PlaceStatus {
  const good = (catalogue?.entries ?? []).filter((entry) => entry.state === "good");
  return {
    place: store.place,
    kind: store.kind,
    state,
    readAt: readAt?.toISOString() ?? null,
    newest: good.find(({ createdAt }) => +createdAt <= +now)?.id ?? null,
    backups: good.length,
    bytes: good.reduce((sum, { bytes }) => sum + bytes, 0),
    problem: error?.message ?? null,
    hint: error?.hint ?? null,
  };
}

/** The latest restore that was measured: of a drill that passed, or one in earnest. */
function lastMeasure(journal: JournalSummary, drills: readonly DrillStatus[]): Measure | undefined {
  const drill = drills.find(({ passed, rtoSeconds }) => passed && rtoSeconds !== null);
  const restore = journal.lastRestore;
  const measures: Measure[] = [];
  if (drill?.rtoSeconds != null) {
    measures.push({ at: drill.at, seconds: drill.rtoSeconds, by: "drill" });
  }
  if (restore !== undefined) measures.push({ ...restore, by: "restore" });
  return measures.sort((a, b) => Date.parse(b.at) - Date.parse(a.at))[0];
}

function scheduleOf({ startedAt, jobs }: ScheduleView): ScheduleStatus {
  return {
    startedAt: startedAt.toISOString(),
    jobs: jobs.map(({ kind, schedule, timezone, next, last }) => ({
      job: kind,
      schedule,
      timezone,
      next: next?.toISOString() ?? null,
      last:
        last === undefined
          ? null
          : {
              result: last.result,
              endedAt: last.endedAt.toISOString(),
              message: last.message,
              hint: last.hint ?? null,
            },
    })),
  };
}
