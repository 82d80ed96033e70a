import type { Clock } from "../../src/service/clock.ts";

interface Sleeper {
  readonly until: number;
  readonly wake: () => void;
}

/** What follows from a wake-up, files included, is done after this time. */
const settleMs = 8;

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
      const next = Math.min(...this.#sleepers.map(({ until }) => until));
      if (next > end) break;
      this.#now = Math.min(end, Math.max(this.#now + stepMs, next));
      for (const sleeper of this.#sleepers) if (sleeper.until <= this.#now) sleeper.wake();
    }
    this.#now = end;
    await settled();
  }

  /** Somebody sets the clock, or the machine has slept: then all timers are late. */
  async set(to: string): Promise<void> {
    this.#now = Date.parse(to);
    for (const sleeper of this.#sleepers) sleeper.wake();
    await settled();
  }
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, settleMs));
}
