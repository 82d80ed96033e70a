import { createInterface } from "node:readline/promises";
import { AppError, ExitCode } from "../errors.ts";

export interface Confirmation {
  /** What is asked, without a mark at its end. */
  readonly question: string;
  /** What has to be typed. */
  readonly answer: string;
  /** How to say it beforehand. */
  readonly hint: string;
  readonly signal: AbortSignal;
}

/**
 * Asks for a word to be typed; only that word is a yes.
 *
 * @throws {AppError} exit 4 when something else is typed, or when nobody can be asked
 */
export async function confirm({ question, answer, hint, signal }: Confirmation): Promise<void> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new AppError(
      "not-confirmed",
      ExitCode.refused,
      "this needs a confirmation, and there is no terminal to ask on",
      { hint },
    );
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const typed = await terminal.question(`${question}: `, { signal });
    if (typed.trim() === answer) return;
  } finally {
    terminal.close();
  }
  throw new AppError("not-confirmed", ExitCode.refused, `"${answer}" was not typed`, {
    hint: "Nothing was changed.",
  });
}
