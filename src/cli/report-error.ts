import { AppError, ExitCode } from "../errors.ts";
import type { Output } from "./output.ts";

const maxDetails = 50;

/** Prints an error as an operator, or with `--json` a program, should see it. */
export function reportError(output: Output, error: unknown): ExitCode {
  const known = error instanceof AppError ? error : defect(error);
  tellError(output, known);
  if (known !== error) output.error(error instanceof Error ? stackOf(error) : String(error));
  output.result({ error: errorDocument(known) });
  return known.exitCode;
}

/** The error for people. */
export function tellError(output: Output, error: AppError): void {
  output.error(`pgtenant: ${error.message}`);
  for (const detail of error.details.slice(0, maxDetails)) output.error(`  ${detail}`);
  const hidden = error.details.length - maxDetails;
  if (hidden > 0) output.error(`  … and ${hidden} more`);
  if (error.hint !== undefined) output.error(`hint: ${error.hint}`);
}

/** The error for programs: with all its details, however many. */
export function errorDocument(error: AppError) {
  const { code, message, hint = null, exitCode, details } = error;
  return { ...error.data, code, message, hint, exitCode, details };
}

function defect(error: unknown): AppError {
  const message = error instanceof Error ? error.message : String(error);
  return new AppError("internal", ExitCode.internal, `internal error: ${message}`, {
    cause: error,
    hint: "This is a defect of pgtenant. Please report it with the lines below.",
  });
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}
