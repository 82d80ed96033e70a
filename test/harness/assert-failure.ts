import assert from "node:assert/strict";
import { AppError } from "../../src/errors.ts";
import type { CommandResult } from "./command.ts";

export interface ExpectedFailure {
  readonly code: number;
  /** What the line after `pgtenant: ` must match. */
  readonly message: RegExp;
  /** What the line after `hint: ` must match. */
  readonly hint: RegExp;
}

/**
 * Asserts that a command ended as an operator should see it: the exit code, one message, a hint
 * of at least one sentence, no stack, and nothing on the standard output.
 */
export function assertFailure(result: CommandResult, expected: ExpectedFailure): void {
  const { code, stdout, stderr } = result;
  const shown = `exit ${code}\n${stdout.toString().slice(0, 2000)}\n${stderr}`;
  assert.equal(code, expected.code, shown);
  const lines = stderr.split("\n");
  const messages = lines.filter((line) => line.startsWith("pgtenant: "));
  assert.equal(messages.length, 1, shown);
  assert.match(messages[0] ?? "", expected.message, shown);
  const hint = lines.find((line) => line.startsWith("hint: "));
  assert.match(hint ?? "", /^hint: [\p{Lu}-].*[.?:]|: \S/u, shown);
  assert.match(hint ?? "", expected.hint, shown);
  assert.doesNotMatch(stderr, /^\s+at /m, shown);
  assert.doesNotMatch(stderr, /internal error/, shown);
  assert.equal(stdout.toString(), "", shown);
}

/** For `assert.rejects`: an error as an operator should see it, with a hint. */
export function failure(
  exitCode: number,
  code: string,
  message: RegExp,
): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(`${error.exitCode} ${error.code}`, `${exitCode} ${code}`, error.message);
    assert.match(error.message, message);
    assert.ok(error.hint);
    return true;
  };
}

export interface ErrorDocument {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  readonly exitCode: number;
  readonly details: readonly string[];
  readonly [further: string]: unknown;
}

/** The error that a failed command with `--json` prints: one line, nothing else. */
export function errorDocument({ stdout, stderr }: CommandResult): ErrorDocument {
  const text = stdout.toString();
  assert.match(text, /^\{"error":.*\}\n$/, `${text}\n${stderr}`);
  return (JSON.parse(text) as { readonly error: ErrorDocument }).error;
}
