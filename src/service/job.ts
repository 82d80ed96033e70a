import type { AppError } from "../errors.ts";
import type { JobKind } from "./schedule-view.ts";
import type { Slots } from "./slots.ts";

/** How far a job has come. */
export interface JobProgress {
  /** What it is doing, such as `dump`. */
  readonly step: string;
  /** Bytes or rows that are done, and of how many, where that is known. */
  readonly done: number;
  readonly total: number | undefined;
}

/** One attempt at a job. */
export interface JobRun {
  readonly slot: Date;
  /** From 1. */
  readonly attempt: number;
  /** Fires when the service stops or the time is over; the job clears up and throws. */
  readonly signal: AbortSignal;
  readonly progress: (told: JobProgress) => void;
  readonly warn: (text: string) => void;
}

export interface JobOutcome {
  /** For people: what was done. */
  readonly message: string;
  /** Of a backup. */
  readonly id?: string | undefined;
  readonly bytes?: number | undefined;
  /** What did not work although the rest is done; the job has failed then and is not tried again. */
  readonly failure?: AppError | undefined;
}

/** What the service does at the times of a schedule. */
export interface JobWork {
  readonly kind: JobKind;
  readonly slots: Slots;
  /** Where it may take longer than other jobs. */
  readonly timeoutMinutes?: number | undefined;
  /** @throws {AppError} when it could not be done; the scheduler may try again */
  run(run: JobRun): Promise<JobOutcome>;
  /**
   * When it was last done well, here or on another host, as far as the places themselves tell;
   * absent where they do not tell. Undefined when it never was.
   */
  lastDone?(signal: AbortSignal): Promise<Date | undefined>;
}
