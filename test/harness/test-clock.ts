import type { Clock } from "../../src/service/clock.ts";

interface Sleeper {
  readonly until: number;
  readonly wake: () => void;
}

/** So many turns of the event loop without a file at work are taken for the end of what a wake-up led to. */
const quietTurns = 6;
/** The journal's lock is waited for by a real timer, of at most 25 ms. */
const lockMs = 40;

/** A clock that a test turns: whoever sleeps wakes when it gets there, in order. */
export class TestClock implements Clock {
  #now: number;
  #sleepers: readonly Sleeper[] = [];

  constructor(now: string) {
    this.#now = Date.parse(now);
  }

  now(): Date {
    return new Date(this.#now);
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const sleeper: Sleeper = {
        until: this.#now + ms,
        wake: () => {
          this.#sleepers = this.#sleepers.filter((one) => one !== sleeper);
          signal.removeEventListener("abort", sleeper.wake);
          resolve();
        },
      };
      this.#sleepers = [...this.#sleepers, sleeper];
      signal.addEventListener("abort", sleeper.wake, { once: true });
    });
  }

  /** Lets time pass. Nobody wakes more often than each `stepMs`, so that a day takes a moment. */
  async pass(ms: number, stepMs = 1): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settled();
      if (this.#next() > end) await settledWithLocks();
      const next = this.#next();
      if (next > end) break;
      this.#now = Math.min(end, Math.max(this.#now + stepMs, next));
      for (const sleeper of this.#sleepers) if (sleeper.until <= this.#now) sleeper.wake();
    }
    this.#now = end;
    await settledWithLocks();
  }

  #next(): number {
    return Math.min(...this.#sleepers.map(({ until }) => until));
  }

  /** Somebody sets the clock, or the machine has slept: then all timers are late. */
  async set(to: string): Promise<void> {
    this.#now = Date.parse(to);
    for (const sleeper of this.#sleepers) sleeper.wake();
    await settledWithLocks();
  }
}

async function settled(): Promise<void> {
  for (let quiet = 0; quiet < quietTurns; quiet += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    const atWork = process.getActiveResourcesInfo().some((name) => /^(FS|File|Close)/.test(name));
    if (atWork) quiet = -1;
  }
}

async function settledWithLocks(): Promise<void> {
  await settled();
  await new Promise((resolve) => setTimeout(resolve, lockMs));
  await settled();
}
