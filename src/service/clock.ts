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

/** Waits for a moment of the clock, in pieces: a timer alone does not notice a clock that is set. */
export async function sleepUntil(clock: Clock, time: Date, signal: AbortSignal): Promise<void> {
  for (;;) {
    const left = +time - +clock.now();
    if (left <= 0 || signal.aborted) return;
    await clock.sleep(Math.min(left, lookEveryMs), signal);
  }
}
