import type { JobProgress } from "./job.ts";

/** What the service does at its times. */
export type JobKind = "backup" | "tenants" | "verify" | "drill";

/** What the scheduler tells about itself at a moment; the status page and the metrics read it. */
export interface ScheduleView {
  readonly startedAt: Date;
  readonly jobs: readonly JobView[];
}

export interface JobView {
  readonly kind: JobKind;
  /** The cron expression. */
  readonly schedule: string;
  readonly timezone: string;
  /** Undefined when the expression has no further time. */
  readonly next: Date | undefined;
  readonly running: RunningJob | undefined;
  /** The last run that ended since the service started. */
  readonly last: EndedJob | undefined;
}

export interface RunningJob extends JobProgress {
  /** The time of the schedule that it runs for. */
  readonly slot: Date;
  readonly startedAt: Date;
  /** From 1; higher after a failure within the slot. */
  readonly attempt: number;
}

export interface EndedJob {
  readonly slot: Date;
  readonly startedAt: Date;
  readonly endedAt: Date;
  /** `skipped`: another run, here or elsewhere, had the slot. */
  readonly result: "done" | "failed" | "skipped";
  /** For people, without secrets; empty when it is done. */
  readonly message: string;
  readonly hint: string | undefined;
}
