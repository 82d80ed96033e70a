/** A timer that is to be longer would fire at once: 24 days. */
const longestMs = 2 ** 31 - 1;

/** Fires after so many minutes. */
export function timeLimit(minutes: number): AbortSignal {
  return AbortSignal.timeout(Math.min(longestMs, Math.round(minutes * 60_000)));
}
