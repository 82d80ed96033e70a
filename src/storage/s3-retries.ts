import type { S3ClientConfig } from "@aws-sdk/client-s3";

type Strategy = Extract<
  NonNullable<S3ClientConfig["retryStrategy"]>,
  { refreshRetryTokenForRetry: unknown }
>;
type Token = Awaited<ReturnType<Strategy["acquireInitialRetryToken"]>>;

export interface Retries {
  /** How often a request is made, in all. */
  readonly attempts: number;
  /**
   * How often after it was silent for the whole of its time-out: each of these costs that long,
   * and a server that stalls must not hold a schedule up.
   */
  readonly attemptsInSilence: number;
  /** The longest pause before the second attempt; it doubles with each further one. */
  readonly pauseMs: number;
}

const longestPauseMs = 10_000;

/**
 * How the SDK tries again. Its own standard mode counts silence like any other failure, which
 * would add up to minutes.
 */
export function retryStrategy(retries: Retries): Strategy {
  return {
    acquireInitialRetryToken: () => Promise.resolve(token(0, 0)),
    async refreshRetryTokenForRetry(last, { error, errorType }) {
      const attempt = last.getRetryCount() + 1;
      const silent = isSilence(error) ? silenceOf(last) + 1 : silenceOf(last);
      const passing = errorType === "TRANSIENT" || errorType === "THROTTLING";
      if (!passing || attempt >= retries.attempts || silent >= retries.attemptsInSilence) {
        throw new Error("no further attempt");
      }
      return token(attempt, jitteredPause(attempt, retries.pauseMs), silent);
    },
    recordSuccess: () => undefined,
  };
}

/** Half of it is by chance, so that many who failed together don't come back together. */
export function jitteredPause(attempt: number, pauseMs: number): number {
  const longest = Math.min(pauseMs * 2 ** (attempt - 1), longestPauseMs);
  return Math.round(longest * (0.5 + Math.random() / 2));
}

interface CountingToken extends Token {
  readonly silent: number;
}

function token(count: number, pauseMs: number, silent = 0): CountingToken {
  return { getRetryCount: () => count, getRetryDelay: () => pauseMs, silent };
}

function silenceOf(last: Token): number {
  return "silent" in last && typeof last.silent === "number" ? last.silent : 0;
}

/** The SDK calls a connection that was refused or cut by the same name, but with its code. */
export function isSilence(error: unknown): boolean {
  if (!(error instanceof Error) || error.name !== "TimeoutError") return false;
  return !("code" in error) || error.code === undefined || error.code === "ETIMEDOUT";
}
