import assert from "node:assert/strict";
import type { CommandResult } from "./command.ts";

/** Asserts that a command has ended well. */
export async function succeeded(running: Promise<CommandResult>): Promise<CommandResult> {
  const result = await running;
  assert.equal(result.code, 0, result.stderr);
  return result;
}

/** Asserts that it has ended with this exit code, message and hint. */
export async function refused(
  running: Promise<CommandResult>,
  wanted: { readonly code: number; readonly message: RegExp; readonly hint?: RegExp },
): Promise<void> {
  const { code, stderr } = await running;
  assert.equal(code, wanted.code, stderr);
  const lines = stderr.split("\n");
  const after = (mark: string) => lines.find((line) => line.startsWith(mark))?.slice(mark.length);
  assert.match(after("pgtenant: ") ?? "", wanted.message, stderr);
  assert.match(after("hint: ") ?? "", wanted.hint ?? /./, stderr);
}
