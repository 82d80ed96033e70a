import { AppError, ExitCode } from "../../errors.ts";
import { databaseError } from "../../postgres/database-errors.ts";
import type { DrillCheck, DrillCheckName } from "./drill-report.ts";

/** What a check that held has found. */
export interface Finding {
  readonly message: string;
  readonly details?: readonly string[];
}

const mostDetails = 100;

/**
 * The checks of a drill, each with its time. A failure is written down, and the drill goes on with
 * whatever does not depend on it; only an interruption, and an error of our own, end it.
 */
export class DrillChecks {
  readonly #done: DrillCheck[] = [];
  readonly #onStart: (check: DrillCheckName) => void;
  readonly #onEnd: (check: DrillCheck) => void;
  readonly #signal: AbortSignal;

  constructor(
    signal: AbortSignal,
    onStart: (check: DrillCheckName) => void,
    onEnd: (check: DrillCheck) => void,
  ) {
    this.#signal = signal;
    this.#onStart = onStart;
    this.#onEnd = onEnd;
  }

  get all(): readonly DrillCheck[] {
    return this.#done;
  }

  get firstFailure(): DrillCheck | undefined {
    return this.#done.find(({ state }) => state === "failed");
  }

  stateOf(name: DrillCheckName): DrillCheck["state"] {
    return this.#done.find(({ check }) => check === name)?.state ?? "not-checked";
  }

  /** Undefined when it has failed. */
  async run<T>(
    name: DrillCheckName,
    work: () => Promise<T>,
    found: (value: T) => Finding,
  ): Promise<T | undefined> {
    const running = this.begin(name);
    try {
      const value = await work();
      running.passed(found(value));
      return value;
    } catch (error) {
      running.failed(error);
      return undefined;
    }
  }

  /** A check that ends later than in one function. */
  begin(check: DrillCheckName): RunningCheck {
    const started = performance.now();
    this.#onStart(check);
    const end = (rest: Omit<DrillCheck, "check" | "seconds">) =>
      this.#add({ check, ...rest, seconds: rounded((performance.now() - started) / 1000) });
    return {
      passed: ({ message, details = [] }) =>
        end({ state: "passed", message, hint: null, details: bounded(details), error: null }),
      notChecked: (why) => {
        end({ state: "not-checked", message: why, hint: null, details: [], error: null });
      },
      failed: (thrown) => {
        const error = databaseError(thrown);
        if (this.#signal.aborted || !(error instanceof AppError)) throw error;
        const { message, hint = null, details, code, exitCode } = error;
        const failure = { code, exitCode };
        end({ state: "failed", message, hint, details: bounded(details), error: failure });
      },
    };
  }

  notChecked(check: DrillCheckName, why: string): void {
    const nothing = { hint: null, details: [], seconds: 0, error: null };
    this.#add({ check, state: "not-checked", message: why, ...nothing });
  }

  #add(check: DrillCheck): void {
    const done = Object.freeze(check);
    this.#done.push(done);
    this.#onEnd(done);
  }
}

export interface RunningCheck {
  passed(finding: Finding): void;
  notChecked(why: string): void;
  /** @throws what was thrown, when it is an interruption or an error of our own */
  failed(error: unknown): void;
}

/** What a check throws whose finding is a failure. */
export function drillFailure(
  code: string,
  exitCode: ExitCode,
  message: string,
  options: { readonly hint: string; readonly details?: readonly string[] },
): AppError {
  return new AppError(code, exitCode, message, options);
}

/** Input that is corrupt or incomplete: what most findings of a drill are. */
export function notWhole(
  code: string,
  message: string,
  options: { readonly hint: string; readonly details?: readonly string[] },
): AppError {
  return drillFailure(code, ExitCode.invalidInput, message, options);
}

function bounded(details: readonly string[]): readonly string[] {
  if (details.length <= mostDetails) return details;
  const left = details.length - mostDetails + 1;
  return [...details.slice(0, mostDetails - 1), `and ${left} more`];
}

/** To milliseconds. */
export function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
