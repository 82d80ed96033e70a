import { AppError, ExitCode } from "../errors.ts";

/** Pauses after failures within a slot; the longer ones are for a server that is being repaired. */
export const retryPausesMs: readonly number[] = [30_000, 120_000, 480_000, 1_800_000, 3_600_000];

/** What does not mend itself: configuration, damaged input, refusals, keys, defects. */
const lasting: ReadonlySet<ExitCode> = new Set([
  ExitCode.internal,
  ExitCode.usage,
  ExitCode.invalidInput,
  ExitCode.refused,
  ExitCode.key,
]);

/**
 * How long to wait before the next attempt; undefined when there is none: the failure lasts,
 * there were enough, or the next slot comes first.
 *
 * @param random 0 to 1, so that replicas do not come all at once
 */
export function pauseBefore(
  failure: AppError,
  attempt: number,
  now: Date,
  nextSlot: Date | undefined,
  pauses: readonly number[] = retryPausesMs,
  random: number = Math.random(),
): number | undefined {
  const pause = pauses[attempt - 1];
  if (pause === undefined || lasting.has(failure.exitCode)) return undefined;
  const jittered = Math.round(pause * (0.5 + random));
  return nextSlot !== undefined && +now + jittered >= +nextSlot ? undefined : jittered;
}

/** An error of any kind as one that an operator can read. */
export function failureOf(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new AppError("internal", ExitCode.internal, `internal error: ${message}`, {
    cause: error,
    hint: "This is a defect of pgtenant. Please report it with the lines of this log.",
  });
}
