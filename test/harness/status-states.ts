import { backupIdAt } from "../../src/backup/backup-name.ts";
import type { CatalogueEntry } from "../../src/backup/catalogue.ts";
import { AppError, ExitCode } from "../../src/errors.ts";
import type { JournalRecord } from "../../src/journal/journal-record.ts";
import { emptySummary, type JournalRun } from "../../src/service/journal-summary.ts";
import type { PlaceReading } from "../../src/service/place-reader.ts";
import type { JobView, ScheduleView } from "../../src/service/schedule-view.ts";
import type { ServiceStatus } from "../../src/service/service-status.ts";
import { type StatusSources, statusOf } from "../../src/service/status.ts";
import { entryOf, manifestOf, verificationOf } from "./backup-entries.ts";
import { memoryStore } from "./memory-store.ts";

export const now = new Date("2026-03-20T09:30:00Z");
export const hoursAgo = (hours: number) => new Date(+now - hours * 3_600_000);

/** A good backup as a catalogue has it. */
export function goodBackup(
  at: Date,
  {
    bytes = 1.2e9,
    seconds = 340,
    verified,
  }: { bytes?: number; seconds?: number; verified?: Date } = {},
): CatalogueEntry {
  const id = backupIdAt(at);
  const manifest = manifestOf(id, { createdAt: at.toISOString(), durationSeconds: seconds });
  const parts = manifest.parts.map((part, index) => ({
    ...part,
    encryption: "age" as const,
    bytes: index === 0 ? bytes - 2000 : 2000,
    rawBytes: 6 * bytes,
  }));
  return entryOf(id, {
    createdAt: at,
    bytes,
    manifest: { ...manifest, parts },
    ...(verified === undefined
      ? {}
      : { verified: verificationOf(id, { at: verified.toISOString() }) }),
  });
}

export function placeWith(
  entries: readonly CatalogueEntry[],
  place = "/var/backups/n-kudo",
  changes: Partial<PlaceReading> = {},
): PlaceReading {
  const store = memoryStore(place, place.startsWith("s3://") ? "s3" : "local");
  return {
    store,
    state: "read",
    catalogue: { store, entries },
    readAt: now,
    error: undefined,
    ...changes,
  };
}

let sequence = 0;

/** A line of a journal. */
export function recordAt(at: Date, changes: Partial<JournalRecord>): JournalRecord {
  sequence += 1;
  return {
    seq: sequence,
    at: at.toISOString(),
    run: `run-${sequence}`,
    event: "done",
    operation: "backup",
    who: "root@db1",
    pid: 1,
    host: "db1",
    database: "nkudo",
    prev: "0".repeat(64),
    hash: "0".repeat(64),
    ...changes,
  };
}

export function failedRun(at: Date, message: string, hint: string): JournalRun {
  const error = { code: "connection", message, hint };
  const ended = recordAt(at, { event: "failed", exitCode: 7, details: { error } });
  return { started: recordAt(at, { event: "started" }), ended, result: "failed" };
}

/** Thirty nights, the newest first. */
function nights(newest: Date, count = 30): readonly CatalogueEntry[] {
  return Array.from({ length: count }, (_, night) =>
    goodBackup(new Date(+newest - night * 86_400_000), {
      bytes: 1.31e9 - night * 7.3e6 + (night % 3) * 21e6,
      seconds: 350 - night * 2 + (night % 4) * 25,
      ...(night % 7 === 0 ? { verified: new Date(+newest - night * 86_400_000 + 3.6e6) } : {}),
    }),
  );
}

function job(
  kind: JobView["kind"],
  schedule: string,
  next: string,
  changes: Partial<JobView> = {},
) {
  const view: JobView = {
    kind,
    schedule,
    timezone: "UTC",
    next: new Date(next),
    running: undefined,
    last: undefined,
    ...changes,
  };
  return view;
}

function schedule(backup: Partial<JobView> = {}): ScheduleView {
  return {
    startedAt: new Date("2026-03-01T00:00:00Z"),
    jobs: [
      job("backup", "0 2 * * *", "2026-03-21T02:00:00Z", {
        last: {
          slot: hoursAgo(7.5),
          startedAt: hoursAgo(7.5),
          endedAt: hoursAgo(7.4),
          result: "done",
          message: "",
          hint: undefined,
        },
        ...backup,
      }),
      job("verify", "0 4 * * 0", "2026-03-22T04:00:00Z"),
      job("drill", "0 5 * * 0", "2026-03-22T05:00:00Z"),
    ],
  };
}

export const emptySources: StatusSources = {
  now,
  database: "nkudo",
  timezone: "UTC",
  rpoHours: 24,
  rtoHours: 4,
  places: [placeWith([])],
  journal: emptySummary,
  drills: [],
  disk: null,
  schedule: undefined,
};

/** Every promise holds. */
export function goodSources(newest = new Date("2026-03-20T02:00:00Z")): StatusSources {
  const entries = nights(newest);
  const s3 = entries.slice(0, 14);
  return {
    ...emptySources,
    places: [placeWith(entries), placeWith(s3, "s3://n-kudo-backups/production")],
    journal: {
      ...emptySummary,
      records: 64,
      intact: true,
      firstDay: "2026-02-18",
      lastSuccess: new Map([["backup", recordAt(newest, {})]]),
      counts: [
        { operation: "backup", result: "done", count: 30 },
        { operation: "backup", result: "failed", count: 2 },
      ],
    },
    drills: [
      {
        at: "2026-03-15T05:10:00.000Z",
        passed: true,
        rtoSeconds: 2520,
        backup: "backup_20260315_020000",
        problem: null,
      },
    ],
    disk: { path: "/var/backups/n-kudo", freeBytes: 212e9, totalBytes: 500e9 },
    schedule: schedule(),
  };
}

const refused = failedRun(
  hoursAgo(7.5),
  'could not connect to "db.internal:5432": connection refused',
  "Is the server running, and does the address in DATABASE_URL reach it? pgtenant doctor says more.",
);

export const states: Readonly<Record<string, () => StatusSources>> = {
  good: () => goodSources(),
  late: () => {
    const sources = goodSources(new Date("2026-03-17T02:00:00Z"));
    const broken = new AppError(
      "s3-unreachable",
      ExitCode.storage,
      'could not list "s3://n-kudo-backups/production": the connection timed out',
      { hint: "Is the endpoint reachable from here? pgtenant doctor tries it." },
    );
    const [local, s3] = sources.places;
    return {
      ...sources,
      places: [
        ...(local === undefined ? [] : [local]),
        ...(s3 === undefined
          ? []
          : [{ ...s3, state: "unreachable" as const, error: broken, readAt: hoursAgo(3) }]),
      ],
      journal: { ...sources.journal, runs: [] },
      disk: { path: "/var/backups/n-kudo", freeBytes: 2e9, totalBytes: 500e9 },
    };
  },
  failed: () => {
    const sources = goodSources(new Date("2026-03-19T09:00:00Z"));
    const corrupt = entryOf("backup_20260318_120000", {
      state: "corrupt",
      bytes: 1.2e9,
      problem: "the verification of 2026-03-19T04:00:00.000Z failed: byte 7 of its dump is wrong",
    });
    const older = failedRun(
      hoursAgo(80),
      "there is no space left on the disk",
      "Free some, or prune.",
    );
    return {
      ...sources,
      schedule: schedule({
        last: {
          slot: hoursAgo(7.5),
          startedAt: hoursAgo(7.5),
          endedAt: hoursAgo(7.5),
          result: "failed",
          message: 'could not connect to "db.internal:5432": connection refused',
          hint: "Is the server running?",
        },
      }),
      places: sources.places.map((place, index) =>
        index === 0 && place.catalogue !== undefined
          ? {
              ...place,
              catalogue: {
                ...place.catalogue,
                entries: [...place.catalogue.entries, corrupt],
              },
            }
          : place,
      ),
      journal: {
        ...sources.journal,
        runs: [
          refused,
          { started: undefined, ended: recordAt(hoursAgo(48), {}), result: "done" },
          older,
        ],
        days: new Map([["2026-03-20", { done: 0, failed: 1 }]]),
      },
    };
  },
  running: () => ({
    ...goodSources(),
    schedule: schedule({
      running: {
        slot: hoursAgo(0.05),
        startedAt: hoursAgo(0.05),
        attempt: 2,
        step: "dump",
        done: 3.4e9,
        total: 8.1e9,
      },
    }),
  }),
  empty: () => emptySources,
};

export function stateOf(name: string): ServiceStatus {
  const make = states[name];
  if (make === undefined) throw new Error(`there is no state ${name}`);
  return statusOf(make());
}
