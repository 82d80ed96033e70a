/** The exit codes of the command line; `docs/exit-codes.md` explains each to an operator. */
export const ExitCode = {
  done: 0,
  internal: 1,
  usage: 2,
  invalidInput: 3,
  refused: 4,
  locked: 5,
  key: 6,
  database: 7,
  storage: 8,
  different: 9,
  interrupted: 130,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

export interface AppErrorOptions {
  /** One sentence that says what to do next. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** Everything the message could only summarise, one line each: rows, columns, places. */
  readonly details?: readonly string[];
  /** The same for machines; becomes `error.data` of the `--json` result. */
  readonly data?: Readonly<Record<string, unknown>>;
}

/**
 * An error that an operator is meant to read: the message is a lower-case fact with quoted
 * values, the hint a sentence. Anything else that is thrown counts as a defect of the program
 * and is shown with its stack.
 */
export class AppError extends Error {
  override readonly name = "AppError";
  /** A stable kebab-case word for programs, such as `no-such-tenant`. */
  readonly code: string;
  readonly exitCode: ExitCode;
  readonly hint: string | undefined;
  readonly details: readonly string[];
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: string, exitCode: ExitCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.exitCode = exitCode;
    this.hint = options.hint;
    this.details = options.details ?? [];
    this.data = options.data ?? {};
  }
}

/** The same error with other words, details or data. */
export function retold(
  error: AppError,
  changes: Pick<AppErrorOptions, "hint" | "details" | "data"> & { readonly message?: string },
): AppError {
  const { code, exitCode, hint, details, data } = error;
  const { message = error.message, ...others } = changes;
  return new AppError(code, exitCode, message, {
    ...(hint === undefined ? {} : { hint }),
    details,
    data,
    cause: error.cause ?? error,
    ...others,
  });
}
