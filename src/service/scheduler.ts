import type { AppError } from "../errors.ts";
import { type Clock, setBackMs, sleepUntil } from "./clock.ts";
import type { JobOutcome, JobWork } from "./job.ts";
import { failureOf, pauseBefore, retryPausesMs } from "./retries.ts";
import type { EndedJob, JobView, ScheduleView } from "./schedule-view.ts";
import type { PassedSlot } from "./slot-history.ts";
import { missedSlot } from "./slot-history.ts";
import {
  aboutOf,
  claimSlot,
  type DueSlot,
  eachSlot,
  type JobState,
  type NoRun,
  runSlot,
  type SlotRunOptions,
} from "./slot-run.ts";
import { countSlots } from "./slots.ts";

export interface JobEnd {
  readonly job: JobWork["kind"];
  readonly slot: Date;
  readonly seconds: number;
  readonly outcome: JobOutcome | undefined;
  readonly failure: AppError | undefined;
}

export interface SchedulerOptions extends SlotRunOptions {
  readonly jobs: readonly JobWork[];
  readonly retryPausesMs?: readonly number[];
  /** Replicas that have nothing to do come first by this; 3,000 by default. */
  readonly reserveAfterMs?: number;
  /**
   * Told of each run's end; its own failures are its own affair. The signal fires when there is no
   * more time for it.
   */
  readonly onEnd: (end: JobEnd, signal: AbortSignal) => Promise<void>;
}

/** When the service is ended, a notice that is under way gets this long. */
const lastWordsMs = 2_000;

/** How soon a slot that is taken, perhaps by a session of ours that has died, is claimed again. */
const takenPauseMs = 30_000;

/** Years of minutes are not counted. */
const mostCounted = 1_000;

/**
 * Runs jobs at their times, one after the other. A slot that comes while its own job is at work is
 * passed over; slots that nobody ran while the service was down are caught up with once. A job that
 * fails is tried again until its next slot, others go on meanwhile; it never ends the service.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #states: readonly JobState[];
  readonly #startedAt: Date;
  readonly #noMoreWords = new AbortController();
  /** When the clock was last looked at. */
  #seenAt: Date;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
    this.#seenAt = this.#startedAt;
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
      jobs: this.#states.map(({ work, next, due, running, last }): JobView => {
        const { expression: schedule, timezone } = work.slots;
        const at = running === undefined ? due?.at : undefined;
        return { kind: work.kind, schedule, timezone, next: at ?? next, running, last };
      }),
    };
  }

  /** Until the signal fires; what is at work then is ended first. */
  async run(stop: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const stopped = () => setTimeout(() => this.#noMoreWords.abort(), lastWordsMs).unref();
    stop.addEventListener("abort", stopped, { once: true });
    await this.#findMissed();
    for (const { work, next } of this.#states) {
      log("info", "scheduled", {
        job: work.kind,
        schedule: work.slots.expression,
        timezone: work.slots.timezone,
        next: next?.toISOString() ?? null,
      });
    }
    while (!stop.aborted) {
      const now = this.#look();
      for (const state of this.#states) await this.#collect(state, now);
      const ready = this.#states
        .filter(({ due }) => due !== undefined && due.at <= now)
        .sort((a, b) => Number(a.due?.at) - Number(b.due?.at))[0];
      if (ready?.due !== undefined) {
        await this.#work(ready, ready.due, stop);
        continue;
      }
      const times = this.#states.flatMap(({ next, due }) => [next ?? [], due?.at ?? []].flat());
      if (times.length === 0) return;
      await sleepUntil(clock, new Date(Math.min(...times.map(Number))), stop);
    }
  }

  async #findMissed(): Promise<void> {
    const { clock, history, log } = this.#options;
    const recorded = await history.newest(clock.now()).catch((error: unknown) => {
      // Without it nobody knows what was missed; the next slots come all the same.
      log("error", "warning", { message: failureOf(error).message });
      return undefined;
    });
    const now = clock.now();
    for (const state of this.#states) {
      const known = recorded?.get(state.work.kind);
      const missed = known && missedSlot(state.work.slots, known, now);
      if (missed === undefined) continue;
      state.due = dueSlot(missed.slot, missed.why, now, missed.begun);
      // It may have come since the start, and is not to come again.
      state.next = state.work.slots.nextAfter(now);
      log("warn", "catching up", { ...aboutOf(state, missed), why: missed.why });
    }
  }

  /** Times that were reckoned by a clock that was ahead may be years away. */
  #look(): Date {
    const now = this.#options.clock.now();
    if (+now < +this.#seenAt - setBackMs) {
      this.#options.log("warn", "clock was set back", { from: this.#seenAt.toISOString() });
      for (const state of this.#states) {
        state.next = state.work.slots.nextAfter(now);
        if (state.due !== undefined) state.due.at = now;
      }
    }
    this.#seenAt = now;
    return now;
  }

  /** Of several slots that have passed the latest counts: a machine may have slept. */
  async #collect(state: JobState, now: Date): Promise<void> {
    const taken = this.#takeSlot(state, now);
    if (taken === undefined) return;
    const before = state.due;
    state.due = dueSlot(taken, "its time has come", now);
    if (before === undefined) return;
    if (before.failure !== undefined) return await this.#end(state, before, undefined);
    const why = "a later slot came before its turn";
    await this.#pass(state, before, { why, behindRun: false });
  }

  /** The latest slot up to now, if one has come; says how many were before it. */
  #takeSlot(state: JobState, now: Date): Date | undefined {
    const { next, work } = state;
    if (next === undefined || next > now) return undefined;
    const last = work.slots.lastBy(now);
    const slot = last === undefined || last < next ? next : last;
    state.next = work.slots.nextAfter(now);
    const more = countSlots(work.slots, next, slot, mostCounted);
    if (more > 0) {
      const count =
        more === 1 ? "one more came" : `${more}${more < mostCounted ? " more" : " or more"} came`;
      const why = `${count} before anybody looked: the machine slept, or its clock was set`;
      this.#options.log("warn", "skipped", { ...aboutOf(state, { slot: next }), why });
    }
    return slot;
  }

  async #work(state: JobState, due: DueSlot, stop: AbortSignal): Promise<void> {
    const { log, claims, history, clock } = this.#options;
    const { work } = state;
    due.begunAt ??= clock.now();
    if (due.attempt === 1 && !due.waits) {
      log("info", "due", { ...aboutOf(state, due), why: due.why });
    }
    const ended = new AbortController();
    const watching = this.#watch(state, AbortSignal.any([stop, ended.signal]));
    let outcome: JobOutcome | undefined;
    let failure: AppError | undefined;
    let passed: NoRun | undefined;
    let claimed = due.claim?.held === true;
    try {
      if (!claimed) passed = await claimSlot(state, due, claims, stop);
      claimed = true;
      if (passed === undefined && due.waits) passed = await this.#doneMeanwhile(state, due);
      if (passed === undefined) outcome = await runSlot(state, due, this.#options, stop);
    } catch (thrown) {
      failure = failureOf(thrown);
    }
    ended.abort();
    await watching;
    if (passed !== undefined) {
      if (passed.taken && this.#waits(state, due, passed)) return;
      return await this.#pass(state, due, { why: passed.why, behindRun: false });
    }
    if (outcome !== undefined) return await this.#end(state, due, outcome);
    if (stop.aborted) {
      due.claim?.release();
      state.due = undefined;
      return log("warn", "stopped", { ...aboutOf(state, due), why: "the service is ending" });
    }
    if (failure === undefined) return;
    if (!claimed) await history.fail(work.kind, due.slot, work.slots, failure);
    await this.#fail(state, due, failure);
  }

  /**
   * Whether a slot that is taken has its turn again later. Who has it may be what has died in the
   * middle of it, with its machine: the server notices that only after a while.
   */
  #waits(state: JobState, due: DueSlot, { why }: NoRun): boolean {
    const { clock, log } = this.#options;
    const at = new Date(+clock.now() + takenPauseMs);
    if (!due.begunBefore || (state.next !== undefined && at >= state.next)) return false;
    if (!due.waits) log("info", "waiting", { ...aboutOf(state, due), why });
    due.waits = true;
    due.begunAt = undefined;
    due.at = at;
    return true;
  }

  /** Whoever had the slot may have done it, and have written that into the journal of this folder. */
  async #doneMeanwhile({ work }: JobState, { slot }: DueSlot): Promise<NoRun | undefined> {
    const { clock, history } = this.#options;
    const recorded = await history.newest(clock.now()).catch(() => undefined);
    const known = recorded?.get(work.kind);
    const done = known !== undefined && known.slot >= slot && !known.open;
    return done ? { why: "it was done meanwhile", taken: false } : undefined;
  }

  /** What has failed is tried again later, or has failed for good. */
  async #fail(state: JobState, due: DueSlot, failure: AppError): Promise<void> {
    const { clock, log } = this.#options;
    const pauses = this.#options.retryPausesMs ?? retryPausesMs;
    const now = clock.now();
    const pause = pauseBefore(failure, due.attempt, now, state.next, pauses);
    log("error", "failed", {
      ...aboutOf(state, due),
      attempt: due.attempt,
      ...errorFields(failure),
      ...(pause === undefined ? {} : { retryInSeconds: Math.round(pause / 1000) }),
    });
    due.failure = failure;
    if (pause === undefined) return await this.#end(state, due, undefined);
    state.last = endedJob(due, now, "failed", failure);
    // It goes on, but somebody should know by now.
    if (due.attempt > pauses.length && !due.told) await this.#tell(state, due, undefined, failure);
    due.attempt += 1;
    due.at = new Date(+clock.now() + pause);
  }

  async #end(state: JobState, due: DueSlot, outcome: JobOutcome | undefined): Promise<void> {
    const { clock, log } = this.#options;
    const about = aboutOf(state, due);
    if (state.due === due) state.due = undefined;
    due.claim?.finish();
    const failure = outcome === undefined ? due.failure : outcome.failure;
    const seconds = secondsOf(due, clock);
    const { message = "", id, bytes } = outcome ?? {};
    if (failure === undefined) log("info", "done", { ...about, seconds, message, id, bytes });
    else if (outcome !== undefined) {
      log("error", "failed in part", { ...about, seconds, id, ...errorFields(failure) });
    }
    state.last = endedJob(due, clock.now(), failure === undefined ? "done" : "failed", failure);
    if (failure === undefined || !due.told) await this.#tell(state, due, outcome, failure);
  }

  async #tell(
    state: JobState,
    due: DueSlot,
    outcome: JobOutcome | undefined,
    failure: AppError | undefined,
  ): Promise<void> {
    const { clock, log, onEnd } = this.#options;
    due.told = failure !== undefined;
    const seconds = secondsOf(due, clock);
    const end = { job: state.work.kind, slot: due.slot, seconds, outcome, failure };
    await onEnd(end, this.#noMoreWords.signal).catch((error: unknown) =>
      log("warn", "notice failed", { ...aboutOf(state, due), message: failureOf(error).message }),
    );
  }

  async #pass(state: JobState, due: DueSlot, passed: PassedSlot): Promise<void> {
    const { clock, history, log } = this.#options;
    if (state.due === due) state.due = undefined;
    due.claim?.finish();
    log("info", "skipped", { ...aboutOf(state, due), why: passed.why });
    state.last = { ...endedJob(due, clock.now(), "skipped", undefined), message: passed.why };
    await history.pass(state.work.kind, due.slot, state.work.slots, passed);
  }

  /** While a job is at work its own slots are passed over, and those of others are claimed in time. */
  async #watch(active: JobState, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const others = this.#states.filter((state) => state !== active);
    const watching = [
      ...others.map((other) => this.#reserve(other, signal)),
      eachSlot(this.#states, clock, signal, async (state, now) => {
        if (state === active) return await this.#passOver(state, now);
        await this.#collect(state, now);
        await this.#reserve(state, signal);
      }),
    ];
    for (const result of await Promise.allSettled(watching)) {
      if (result.status === "fulfilled") continue;
      log("error", "warning", { message: failureOf(result.reason).message });
    }
  }

  /** Says at once that a slot comes while its own job is at work. */
  async #passOver(state: JobState, now: Date): Promise<void> {
    const slot = this.#takeSlot(state, now);
    if (slot === undefined) return;
    const why = "the run before it is still at work";
    this.#options.log("warn", "skipped", { ...aboutOf(state, { slot }), why });
    const passed = { why, behindRun: true };
    await this.#options.history.pass(state.work.kind, slot, state.work.slots, passed);
  }

  /**
   * Claims a slot that has to wait here for another job. Otherwise a replica that has done it
   * meanwhile would have given its claim back by then.
   */
  async #reserve(state: JobState, signal: AbortSignal): Promise<void> {
    const { clock, claims, reserveAfterMs = 3_000 } = this.#options;
    const { due } = state;
    if (due === undefined || due.claim?.held === true) return;
    await clock.sleep(reserveAfterMs, signal);
    if (signal.aborted || state.due !== due) return;
    try {
      const passed = await claimSlot(state, due, claims, signal);
      // It is seen again when its turn comes.
      if (passed?.taken === true && due.begunBefore) {
        due.waits = true;
        return;
      }
      if (passed !== undefined) {
        await this.#pass(state, due, { why: passed.why, behindRun: false });
      } else if (state.due !== due) due.claim?.finish();
    } catch {
      // When its turn comes it is claimed again, and what is wrong is told then.
    }
  }
}

function dueSlot(slot: Date, why: string, at: Date, begunBefore = false): DueSlot {
  return {
    slot,
    why,
    begunBefore,
    at,
    begunAt: undefined,
    attempt: 1,
    claim: undefined,
    failure: undefined,
    told: false,
    waits: false,
  };
}

function secondsOf({ begunAt }: DueSlot, clock: Clock): number {
  const now = +clock.now();
  return Math.max(0, Math.round(now - +(begunAt ?? now))) / 1000;
}

function endedJob(
  { slot, at, begunAt = at }: DueSlot,
  endedAt: Date,
  result: EndedJob["result"],
  failure: AppError | undefined,
): EndedJob {
  const { message = "", hint } = failure ?? {};
  return { slot, startedAt: begunAt, endedAt, result, message, hint };
}

function errorFields({ code, message, hint, exitCode }: AppError) {
  return { code, message, exitCode, ...(hint === undefined ? {} : { hint }) };
}
