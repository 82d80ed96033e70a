import { timeLimit } from "../backup/time-limit.ts";
import { AppError, ExitCode } from "../errors.ts";
import { type Clock, sleepUntil } from "./clock.ts";
import type { JobOutcome, JobProgress, JobWork } from "./job.ts";
import { failureOf, timedOutCode } from "./retries.ts";
import type { EndedJob, RunningJob } from "./schedule-view.ts";
import type { SlotClaim, SlotClaims } from "./slot-claim.ts";
import type { SlotHistory } from "./slot-history.ts";

/** What the scheduler says of itself, a line an event. */
export type ScheduleLog = (
  level: "info" | "warn" | "error",
  event: string,
  fields: Readonly<Record<string, unknown>>,
) => void;

/** A slot that has come, until it is done, given up or passed over. */
export interface DueSlot {
  readonly slot: Date;
  readonly why: string;
  /** A run of it was begun before the service was started, and has not ended well. */
  readonly begunBefore: boolean;
  /** When it may run: later than it came, after a failure. */
  at: Date;
  begunAt: Date | undefined;
  /** Of the next run, from 1. */
  attempt: number;
  claim: SlotClaim | undefined;
  /** Of the run before. */
  failure: AppError | undefined;
  /** Whether somebody has been told of its failure. */
  told: boolean;
  /** It was found taken, perhaps by what has died with it here. */
  waits: boolean;
}

export interface JobState {
  readonly work: JobWork;
  next: Date | undefined;
  due: DueSlot | undefined;
  running: RunningJob | undefined;
  last: EndedJob | undefined;
}

export interface SlotRunOptions {
  readonly clock: Clock;
  readonly claims: SlotClaims;
  readonly history: SlotHistory;
  readonly log: ScheduleLog;
  readonly timeoutMinutes: number;
}

/** A long run says in the log how far it is. */
const progressEveryMs = 5 * 60_000;
/** How soon a claim that was lost is taken again. */
const reclaimEveryMs = 5_000;

/** Thrown when the service is ended; nothing has failed. */
export class Stopped extends Error {}

/** Why a slot needs no run here, for people. */
export interface NoRun {
  readonly why: string;
  /** Another one has it now; it may be a dead one whose session the server has not given up yet. */
  readonly taken: boolean;
}

/**
 * Claims a slot, and sees whether somebody has done it before.
 *
 * @returns why it needs no run; undefined when it is ours
 * @throws {AppError} exit 7 when the server cannot be reached
 */
export async function claimSlot(
  { work }: JobState,
  due: DueSlot,
  claims: SlotClaims,
  stop: AbortSignal,
): Promise<NoRun | undefined> {
  due.claim?.release(); // what is left of one that was lost
  due.claim = undefined;
  const claimed = await claims.claim(work.kind, due.slot, stop);
  if ("takenBy" in claimed) return { why: `${claimed.takenBy} has it`, taken: true };
  due.claim = claimed;
  // Whoever had it may have given it back already.
  const done = await work.lastDone?.(stop).catch(() => undefined);
  if (done === undefined || done < due.slot) return undefined;
  return { why: `it was done at ${done.toISOString()}`, taken: false };
}

/**
 * One run of a job, written down in the journal.
 *
 * @throws {Stopped} when the service was ended meanwhile
 * @throws {AppError} when it could not be done, or took too long
 */
export async function runSlot(
  state: JobState,
  due: DueSlot,
  options: SlotRunOptions,
  stop: AbortSignal,
): Promise<JobOutcome> {
  const { clock, history, log } = options;
  const { work } = state;
  const { timeoutMinutes = options.timeoutMinutes } = work;
  const about = aboutOf(state, due);
  const entry = await history.begin(work.kind, due.slot, work.slots);
  const limit = timeLimit(timeoutMinutes);
  const lost = new AbortController();
  const ended = new AbortController();
  const keeping = keepClaim(state, due, options, lost, AbortSignal.any([stop, ended.signal]));
  state.running = {
    slot: due.slot,
    startedAt: clock.now(),
    attempt: due.attempt,
    step: "starting",
    done: 0,
    total: undefined,
  };
  log("info", "started", { ...about, attempt: due.attempt });
  try {
    const outcome = await work.run({
      slot: due.slot,
      attempt: due.attempt,
      signal: AbortSignal.any([stop, limit, lost.signal]),
      progress: progressInto(state, due, options),
      warn: (message) => log("warn", "warning", { ...about, message }),
    });
    if (outcome.failure === undefined) await entry.done({ id: outcome.id });
    else await entry.failed(outcome.failure);
    return outcome;
  } catch (thrown) {
    if (stop.aborted) {
      await entry.stopped();
      throw new Stopped();
    }
    const error = limit.aborted
      ? timedOut(timeoutMinutes)
      : failureOf(lost.signal.aborted ? lost.signal.reason : thrown);
    await entry.failed(error);
    throw error;
  } finally {
    state.running = undefined;
    ended.abort();
    await keeping;
  }
}

/**
 * Takes a claim again that went with its connection, as when the server was restarted. When another
 * replica was faster, the run here has to end.
 */
async function keepClaim(
  state: JobState,
  due: DueSlot,
  { clock, claims, log }: SlotRunOptions,
  lost: AbortController,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(reclaimEveryMs, signal);
    if (signal.aborted || due.claim?.held !== false) continue;
    try {
      const claimed = await claims.claim(state.work.kind, due.slot, signal);
      if ("takenBy" in claimed) {
        // The session that was lost, whose end the server has not noticed yet.
        if (claimed.pid !== undefined && claimed.pid === due.claim.pid) continue;
        return lost.abort(takenOver(claimed.takenBy));
      }
      due.claim = claimed;
      log("warn", "claimed again", { ...aboutOf(state, due), why: "its connection was lost" });
    } catch {
      // The server is away. So it is for the others.
    }
  }
}

function progressInto(state: JobState, due: DueSlot, { clock, log }: SlotRunOptions) {
  let saidAt = +clock.now();
  return (told: JobProgress) => {
    if (state.running === undefined) return;
    state.running = { ...state.running, ...told };
    const now = +clock.now();
    if (now - saidAt < progressEveryMs) return;
    saidAt = now;
    log("info", "at work", { ...aboutOf(state, due), ...told });
  };
}

/** Waits for one slot after the other while a job is at work. */
export async function eachSlot(
  states: readonly JobState[],
  clock: Clock,
  signal: AbortSignal,
  come: (state: JobState, now: Date) => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    const times = states.flatMap(({ next }) => (next === undefined ? [] : [+next]));
    if (times.length === 0) return;
    await sleepUntil(clock, new Date(Math.min(...times)), signal);
    for (const state of states) {
      const now = clock.now();
      if (signal.aborted || state.next === undefined || state.next > now) continue;
      await come(state, now);
    }
  }
}

/** What lines of the log have of a slot. */
export function aboutOf({ work }: JobState, { slot }: Pick<DueSlot, "slot">) {
  return { job: work.kind, slot: slot.toISOString() };
}

function takenOver(by: string): AppError {
  return new AppError("claim-lost", ExitCode.locked, `the slot was taken over: ${by} has it`, {
    hint: "The connection that held it was lost, see the server's log for the reason; the other replica does it now.",
  });
}

function timedOut(minutes: number): AppError {
  return new AppError(
    timedOutCode,
    ExitCode.database,
    `it was not done after ${minutes} minute${minutes === 1 ? "" : "s"} and was ended`,
    {
      hint: "Set BACKUP_TIMEOUT_MINUTES higher; pgtenant history tells how long earlier ones took.",
    },
  );
}
