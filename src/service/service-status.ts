import type { BackupState } from "../backup/catalogue.ts";
import type { EndedJob, JobKind } from "./schedule-view.ts";

/**
 * How things stand at a moment, for the page, `/api/status`, the metrics and `pgtenant status`. All
 * of it is JSON: times are RFC 3339 in UTC, what is not known is null. It holds no secret.
 */
export interface ServiceStatus {
  readonly at: string;
  readonly tool: string;
  readonly database: string;
  /** What days and the schedules' times are in. */
  readonly timezone: string;
  readonly promise: PromiseStatus;
  readonly rpo: Check;
  readonly rto: Check;
  readonly verified: Check;
  /** The good ones, the newest first. */
  readonly backups: readonly BackupStatus[];
  /** What is named like a backup and is no good one. */
  readonly others: readonly OtherStatus[];
  /** Thirty days up to today, the oldest first. */
  readonly calendar: readonly DayStatus[];
  /** Null where this process is not the scheduler. */
  readonly schedule: ScheduleStatus | null;
  /** What runs now, here, in another process of this machine, or on another host. */
  readonly running: readonly RunningStatus[];
  /** The latest first. */
  readonly failures: readonly FailureStatus[];
  /** The latest runs, the newest first. */
  readonly runs: readonly RunStatus[];
  /** The newest first. */
  readonly drills: readonly DrillStatus[];
  readonly places: readonly PlaceStatus[];
  readonly disk: DiskStatus | null;
  readonly journal: JournalStatus;
  readonly totals: TotalsStatus;
}

/**
 * - `kept`: the newest backup is young enough, and both its restore and its bytes are proved;
 * - `unproven`: it is young enough, the rest is not proved, or too long ago;
 * - `broken`: it is too old, a restore takes too long, or the latest drill failed;
 * - `empty`: there is no backup, and none was tried;
 * - `unknown`: a place that may have one has not answered.
 */
export type PromiseState = "kept" | "unproven" | "broken" | "empty" | "unknown";

export interface PromiseStatus {
  readonly state: PromiseState;
  /** One sentence, without the advice. */
  readonly sentence: string;
  /** What else has to be looked at; empty when nothing has. */
  readonly remarks: readonly string[];
  /** What to do next; null when nothing is to be done. */
  readonly advice: string | null;
}

export interface Check {
  readonly state: "ok" | "late" | "unknown";
  /** The backup's age, the restore's time, the age of the verification. */
  readonly seconds: number | null;
  readonly targetSeconds: number;
  /** When the backup was made, the restore measured, the bytes verified. */
  readonly at: string | null;
  readonly sentence: string;
}

export interface BackupStatus {
  readonly id: string;
  readonly createdAt: string;
  /** Of one copy, as stored. */
  readonly bytes: number;
  readonly rawBytes: number | null;
  readonly durationSeconds: number | null;
  /** `plain`, `gzip`, `age`, `with files` */
  readonly layers: readonly string[];
  readonly encrypted: boolean;
  readonly places: readonly string[];
  /** Why retention leaves it alone; null when it does not. */
  readonly pinned: string | null;
  /** The strongest of the latest proofs; null when nobody has looked. */
  readonly proof: Proof | null;
}

export interface Proof {
  readonly at: string;
  /** `drill`: restored and compared; `all`: every row was read; `stored`: the stored bytes. */
  readonly kind: "drill" | "all" | "stored";
}

export interface OtherStatus {
  readonly id: string;
  readonly state: Exclude<BackupState, "good">;
  readonly createdAt: string;
  readonly bytes: number;
  readonly places: readonly string[];
  readonly problem: string | null;
}

/** `before`: nothing is known of that day or any earlier one. */
export interface DayStatus {
  /** `2026-03-14` */
  readonly day: string;
  readonly state: "good" | "failed" | "none" | "before";
  readonly good: number;
  readonly failed: number;
}

export interface ScheduleStatus {
  readonly startedAt: string;
  readonly jobs: readonly JobStatus[];
}

export interface JobStatus {
  readonly job: JobKind;
  readonly schedule: string;
  readonly timezone: string;
  readonly next: string | null;
  readonly last: {
    readonly result: EndedJob["result"];
    readonly endedAt: string;
    readonly message: string;
    readonly hint: string | null;
  } | null;
}

export interface RunningStatus {
  readonly operation: string;
  readonly startedAt: string;
  readonly seconds: number;
  readonly subject: string | null;
  /** The other host or container that has begun it and has not written down its end; null for here. */
  readonly host: string | null;
  /** Null where only the journal tells of it. */
  readonly step: string | null;
  readonly attempt: number | null;
  readonly done: number | null;
  readonly total: number | null;
}

export interface FailureStatus {
  readonly at: string;
  readonly operation: string;
  readonly subject: string | null;
  readonly message: string;
  readonly hint: string;
  /** The backup is good, and one of its places does not have it. */
  readonly partial: boolean;
  /** A later run of the same kind went well. */
  readonly resolved: boolean;
}

export interface RunStatus {
  readonly operation: string;
  readonly result: "done" | "failed" | "interrupted" | "running" | "unfinished";
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly seconds: number | null;
  readonly subject: string | null;
  readonly bytes: number | null;
  readonly message: string | null;
}

export interface DrillStatus {
  readonly at: string;
  readonly passed: boolean;
  readonly rtoSeconds: number | null;
  /** The id of the backup that was restored. */
  readonly backup: string | null;
  readonly problem: string | null;
}

/**
 * `stale`: it is slow, and what is shown was read earlier; `unreachable`: it cannot be read, the
 * same; `waiting`: it has not answered since the start.
 */
export interface PlaceStatus {
  readonly place: string;
  readonly kind: "local" | "s3";
  readonly state: "read" | "stale" | "unreachable" | "waiting";
  readonly readAt: string | null;
  /** The newest good backup there. */
  readonly newest: string | null;
  readonly backups: number;
  readonly bytes: number;
  readonly problem: string | null;
  readonly hint: string | null;
}

export interface DiskStatus {
  readonly path: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

export interface JournalStatus {
  /** Null when there is none, or it cannot be read: then `problem` says why. */
  readonly intact: boolean | null;
  readonly records: number;
  readonly problem: string | null;
}

export interface TotalsStatus {
  readonly operations: readonly {
    readonly operation: string;
    readonly result: string;
    readonly count: number;
  }[];
  /** By operation. */
  readonly lastSuccess: Readonly<Record<string, string>>;
  readonly s3Failures: number;
}

/** What is known of it then is what was read before, if anything was. */
export function isUnread({ intact, problem }: JournalStatus): boolean {
  return intact === null && problem !== null;
}
