import assert from "node:assert/strict";
import { openJournal } from "../../src/journal/journal.ts";
import type { Clock } from "../../src/service/clock.ts";
import type { JobWork } from "../../src/service/job.ts";
import type { JobKind } from "../../src/service/schedule-view.ts";
import { type JobEnd, Scheduler, type SchedulerOptions } from "../../src/service/scheduler.ts";
import type { SlotClaim, SlotClaims, TakenSlot } from "../../src/service/slot-claim.ts";
import { SlotHistory } from "../../src/service/slot-history.ts";

export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly [field: string]: unknown;
}

export interface RunningScheduler {
  readonly scheduler: Scheduler;
  readonly lines: readonly LogLine[];
  readonly ends: readonly JobEnd[];
  events(event: string): readonly LogLine[];
  stop(): Promise<void>;
}

export interface SchedulerOfTest extends Partial<SchedulerOptions> {
  readonly jobs: readonly JobWork[];
  readonly clock: Clock;
  readonly claims: SlotClaims;
  /** Of the journal. */
  readonly folder: string;
  readonly database?: string;
}

/** A scheduler at work, with a real journal, and what it says. */
export function startScheduler(options: SchedulerOfTest): RunningScheduler {
  const { folder, database = "db", claims } = options;
  const lines: LogLine[] = [];
  const ends: JobEnd[] = [];
  const journal = openJournal(folder, { secrets: [], warn: assert.fail });
  const scheduler = new Scheduler({
    history: new SlotHistory(journal, database, assert.fail),
    log: (level, event, fields) => lines.push({ level, event, ...fields }),
    timeoutMinutes: 1,
    onEnd: async (end) => {
      ends.push(end);
    },
    ...options,
  });
  const stop = new AbortController();
  const running = scheduler.run(stop.signal);
  return {
    scheduler,
    lines,
    ends,
    events: (event) => lines.filter((line) => line.event === event),
    async stop() {
      stop.abort();
      await running;
      await claims.close();
    },
  };
}

/** Claims among the schedulers of one process, where no database is the matter. */
export class LocalClaims implements SlotClaims {
  /** Who has a slot that nobody here has. */
  readonly taken = new Map<string, string>();
  readonly claimed: string[] = [];
  /** Lost as if their connection was. */
  readonly #held: { held: boolean }[] = [];
  failure: Error | undefined;
  /** Of the session that a slot is taken by. */
  takenPid: number | undefined;

  async claim(job: JobKind, slot: Date): Promise<SlotClaim | TakenSlot> {
    if (this.failure !== undefined) throw this.failure;
    const key = `${job} ${slot.toISOString()}`;
    const takenBy = this.taken.get(key);
    if (takenBy !== undefined) {
      return { takenBy, ...(this.takenPid === undefined ? {} : { pid: this.takenPid }) };
    }
    this.claimed.push(key);
    const state = { held: true };
    this.#held.push(state);
    const giveBack = () => {
      state.held = false;
    };
    return {
      pid: 7,
      get held() {
        return state.held;
      },
      finish: giveBack,
      release: giveBack,
    };
  }

  loseAll(): void {
    for (const state of this.#held) state.held = false;
  }

  async close(): Promise<void> {}
}
