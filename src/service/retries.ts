import { AppError, ExitCode } from "../errors.ts";

/** Pauses after failures within a slot; the longer ones are for a server that is being repaired. */
export const retryPausesMs: readonly number[] = [30_000, 120_000, 480_000, 1_800_000, 3_600_000];

/** Of what was ended since it took too long. */
export const timedOutCode = "timed-out";

/** What does not mend itself: configuration, damaged input, refusals, keys, defects. */
const lasting: ReadonlySet<ExitCode> = new Set([
  ExitCode.internal,
  ExitCode.usage,
  ExitCode.invalidInput,
  ExitCode.refused,
  ExitCode.key,
]);

/**
 * How long to wait before the next attempt; undefined when there is none: the failure lasts, or the
 * next slot comes first. The last of the pauses is repeated: a server may be down for half a day.
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
  const listed = pauses[attempt - 1];
  // What takes too long each time is a load on the server, each time.
  const pause = listed ?? (failure.code === timedOutCode ? undefined : pauses.at(-1));
  if (pause === undefined || lasting.has(failure.exitCode)) return undefined;
  if (failure.data.lasting === true) return undefined;
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

/**
 * What became of several commands, as one error that names each that failed. It may mend itself
 * when one of them may.
 */
export function failuresOfMany(failures: ReadonlyMap<string, AppError>, of: number): AppError {
  const errors = [...failures.values()];
  const leading = errors.find(({ exitCode }) => !lasting.has(exitCode)) ?? errors[0];
  const told = [...failures].map(([name, { message }]) => `${name}: ${message}`);
  return new AppError(
    leading?.code ?? "job-failed",
    leading?.exitCode ?? ExitCode.internal,
    `${failures.size} of ${of} failed: ${told.join("; ")}`,
    leading?.hint === undefined ? {} : { hint: leading.hint },
  );
}
