/** The time, so that a test can have its own. */
export interface Clock {
  now(): Date;
  /** Ends early, without an error, when the signal fires. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => new Date(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal.addEventListener("abort", end, { once: true });
    }),
};

/** A machine that slept, or whose clock was set, is noticed after this time. */
const lookEveryMs = 20_000;

/** A clock that goes back by more than this was set; less is how clocks are kept. */
export const setBackMs = 60_000;

/**
 * Waits for a moment of the clock, in pieces: a timer alone does not notice a clock that is set.
 * Ends early when it was set back, for the moment may now be years away.
 */
export async function sleepUntil(clock: Clock, time: Date, signal: AbortSignal): Promise<void> {
  for (let before = +clock.now(); ; before = +clock.now()) {
    const left = +time - before;
    if (left <= 0 || signal.aborted) return;
    await clock.sleep(Math.min(left, lookEveryMs), signal);
    if (+clock.now() < before - setBackMs) return;
  }
}
