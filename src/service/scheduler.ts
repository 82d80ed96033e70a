import { AppError, ExitCode } from "../errors.ts";
import type { ProgressListener } from "../progress.ts";
import { type Clock, sleepUntil } from "./clock.ts";
import type { JobOutcome, JobWork } from "./job.ts";
import { failureOf, pauseBefore, retryPausesMs } from "./retries.ts";
import type { EndedJob, JobView, RunningJob, ScheduleView } from "./schedule-view.ts";
import type { SlotClaim, SlotClaims } from "./slot-claim.ts";
import { missedSlot, type SlotHistory } from "./slot-history.ts";

/** What the scheduler says of itself, a line an event. */
export type ScheduleLog = (
  level: "info" | "warn" | "error",
  event: string,
  fields: Readonly<Record<string, unknown>>,
) => void;

export interface JobEnd {
  readonly job: JobWork["kind"];
  readonly slot: Date;
  readonly seconds: number;
  readonly outcome: JobOutcome | undefined;
  readonly failure: AppError | undefined;
}

export interface SchedulerOptions {
  readonly jobs: readonly JobWork[];
  readonly clock: Clock;
  readonly claims: SlotClaims;
  readonly history: SlotHistory;
  readonly log: ScheduleLog;
  readonly timeoutMinutes: number;
  readonly retryPausesMs?: readonly number[];
  /** Told of each run's end; its own failures are its own affair. */
  readonly onEnd: (end: JobEnd) => Promise<void>;
}

interface JobState {
  readonly work: JobWork;
  next: Date | undefined;
  due: { readonly slot: Date; readonly why: string } | undefined;
  running: RunningJob | undefined;
  last: EndedJob | undefined;
}

/**
 * Runs jobs at their times, one after the other. A slot that comes while its own job is at work is
 * passed over; slots that nobody ran while the service was down are caught up with once. A job that
 * fails is tried again until its next slot; it never ends the service.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #states: readonly JobState[];
  readonly #startedAt: Date;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
    this.#states = options.jobs.map((work) => ({
      work,
      next: work.slots.nextAfter(this.#startedAt),
      due: undefined,
      running: undefined,
      last: undefined,
    }));
  }

  view(): ScheduleView {
    return {
      startedAt: this.#startedAt,
      jobs: this.#states.map(({ work, next, running, last }): JobView => {
        const { expression: schedule, timezone } = work.slots;
        return { kind: work.kind, schedule, timezone, next, running, last };
      }),
    };
  }

  /** Until the signal fires; what is at work then is ended first. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    await this.#findMissed();
    for (const { work, next } of this.#states) {
      log("info", "scheduled", {
        job: work.kind,
        schedule: work.slots.expression,
        timezone: work.slots.timezone,
        next: next?.toISOString() ?? null,
      });
    }
    while (!signal.aborted) {
      const state = this.#states.find(({ due }) => due !== undefined);
      if (state?.due !== undefined) {
        const { slot, why } = state.due;
        state.due = undefined;
        await this.#runSlot(state, slot, why, signal);
        continue;
      }
      const times = this.#states.flatMap(({ next }) => (next === undefined ? [] : [+next]));
      if (times.length === 0) return;
      await sleepUntil(clock, new Date(Math.min(...times)), signal);
      if (!signal.aborted) this.#collectDue();
    }
  }

  async #findMissed(): Promise<void> {
    const { clock, history, log } = this.#options;
    const recorded = await history.newest(clock.now());
    for (const state of this.#states) {
      const known = recorded.get(state.work.kind);
      const missed = known && missedSlot(state.work.slots, known, clock.now());
      if (missed === undefined) continue;
      state.due = missed;
      log("warn", "catching up", {
        job: state.work.kind,
        slot: missed.slot.toISOString(),
        why: missed.why,
      });
    }
  }

  /** Of several slots that have passed the latest counts: a machine may have slept. */
  #collectDue(): void {
    const now = this.#options.clock.now();
    for (const state of this.#states) {
      if (state.next === undefined || state.next > now) continue;
      const slot = state.work.slots.lastBy(now) ?? state.next;
      state.due = { slot, why: "its time has come" };
      state.next = state.work.slots.nextAfter(now);
    }
  }

  async #runSlot(state: JobState, slot: Date, why: string, stop: AbortSignal): Promise<void> {
    const { log, history, onEnd, clock } = this.#options;
    const { work } = state;
    const startedAt = clock.now();
    const about = { job: work.kind, slot: slot.toISOString() };
    const ended = new AbortController();
    const watching = this.#passOverSlots(state, AbortSignal.any([stop, ended.signal]));
    let claim: SlotClaim | undefined;
    let outcome: JobOutcome | undefined;
    let failure: AppError | undefined;
    try {
      log("info", "due", { ...about, why });
      for (let attempt = 1; ; attempt += 1) {
        failure = undefined;
        try {
          if (claim === undefined) {
            const taken = await this.#claim(work, slot, stop);
            if ("takenBy" in taken) {
              log("info", "skipped", { ...about, why: taken.takenBy });
              await history.pass(work.kind, slot, work.slots, taken.takenBy);
              state.last = endedJob(slot, startedAt, clock.now(), "skipped", taken.takenBy);
              return;
            }
            claim = taken;
          }
          outcome = await this.#attempt(state, slot, attempt, stop);
          failure = outcome.failure;
          break;
        } catch (error) {
          failure = failureOf(error);
          if (stop.aborted) return;
          const pause = pauseBefore(
            failure,
            attempt,
            clock.now(),
            state.next,
            this.#options.retryPausesMs ?? retryPausesMs,
          );
          log("error", "failed", {
            ...about,
            attempt,
            ...errorFields(failure),
            ...(pause === undefined ? {} : { retryInSeconds: Math.round(pause / 1000) }),
          });
          if (pause === undefined) break;
          await clock.sleep(pause, stop);
          if (stop.aborted) return;
        }
      }
    } finally {
      state.running = undefined;
      ended.abort();
      await watching;
      if (stop.aborted) {
        claim?.release();
        log("warn", "stopped", { ...about, why: "the service is ending" });
      } else claim?.finish();
    }
    const now = clock.now();
    const seconds = Math.round(+now - +startedAt) / 1000;
    if (failure === undefined) {
      const { message = "", id, bytes } = outcome ?? {};
      log("info", "done", { ...about, seconds, message, id, bytes });
    } else if (outcome !== undefined) {
      log("error", "failed in part", {
        ...about,
        seconds,
        id: outcome.id,
        ...errorFields(failure),
      });
    }
    state.last = endedJob(
      slot,
      startedAt,
      now,
      failure === undefined ? "done" : "failed",
      failure?.message ?? "",
      failure?.hint,
    );
    await onEnd({ job: work.kind, slot, seconds, outcome, failure }).catch((error: unknown) =>
      log("warn", "notice failed", { ...about, message: failureOf(error).message }),
    );
  }

  /** The claim of a slot, or why it needs no run. */
  async #claim(work: JobWork, slot: Date, stop: AbortSignal) {
    const claimed = await this.#options.claims.claim(work.kind, slot);
    if ("takenBy" in claimed) return { takenBy: `it is ${claimed.takenBy}'s` };
    // Whoever had it may have given it back already.
    const done = await work.lastDone?.(stop).catch(() => undefined);
    if (done === undefined || done < slot) return claimed;
    claimed.finish();
    return { takenBy: `it was done at ${done.toISOString()}` };
  }

  async #attempt(
    state: JobState,
    slot: Date,
    attempt: number,
    stop: AbortSignal,
  ): Promise<JobOutcome> {
    const { clock, history, log } = this.#options;
    const { work } = state;
    const { timeoutMinutes = this.#options.timeoutMinutes } = work;
    const limit = AbortSignal.timeout(timeoutMinutes * 60_000);
    const signal = AbortSignal.any([stop, limit]);
    const about = { job: work.kind, slot: slot.toISOString() };
    const entry = await history.begin(work.kind, slot, work.slots);
    state.running = {
      slot,
      startedAt: clock.now(),
      attempt,
      step: "starting",
      done: 0,
      total: undefined,
    };
    log("info", "started", { ...about, attempt });
    try {
      const outcome = await work.run({
        slot,
        attempt,
        signal,
        progress: progressOf(state),
        warn: (message) => log("warn", "warning", { ...about, message }),
      });
      if (outcome.failure === undefined) await entry.done({ id: outcome.id });
      else await entry.failed(outcome.failure);
      return outcome;
    } catch (thrown) {
      const error = stop.aborted
        ? stopped()
        : limit.aborted
          ? timedOut(timeoutMinutes)
          : failureOf(thrown);
      await entry.failed(error);
      throw error;
    }
  }

  /** Says at once which slots of a job come while it is at work. */
  async #passOverSlots(state: JobState, signal: AbortSignal): Promise<void> {
    const { clock, history, log } = this.#options;
    while (state.next !== undefined && !signal.aborted) {
      const slot = state.next;
      await sleepUntil(clock, slot, signal);
      if (signal.aborted) return;
      state.next = state.work.slots.nextAfter(slot);
      const why = "the run before it is still at work";
      log("warn", "skipped", { job: state.work.kind, slot: slot.toISOString(), why });
      await history.pass(state.work.kind, slot, state.work.slots, why);
    }
  }
}

function progressOf(state: JobState): ProgressListener {
  const update = (more: Partial<RunningJob>) => {
    if (state.running !== undefined) state.running = { ...state.running, ...more };
  };
  return {
    wantsTotal: false,
    start: (total) => update({ total, done: 0 }),
    follow: () => undefined,
    advance: (step, amount) => update({ step, done: (state.running?.done ?? 0) + amount }),
    stop: () => undefined,
  };
}

function endedJob(
  slot: Date,
  startedAt: Date,
  endedAt: Date,
  result: EndedJob["result"],
  message: string,
  hint?: string,
): EndedJob {
  return { slot, startedAt, endedAt, result, message, hint };
}

function errorFields({ code, message, hint, exitCode }: AppError) {
  return { code, message, exitCode, ...(hint === undefined ? {} : { hint }) };
}

function stopped(): AppError {
  return new AppError("interrupted", ExitCode.interrupted, "the service was ended", {
    hint: "The next start catches up with it.",
  });
}

function timedOut(minutes: number): AppError {
  return new AppError(
    "timed-out",
    ExitCode.database,
    `it was not done after ${minutes} minute${minutes === 1 ? "" : "s"} and was ended`,
    {
      hint: "Set BACKUP_TIMEOUT_MINUTES higher; pgtenant history tells how long earlier ones took.",
    },
  );
}
