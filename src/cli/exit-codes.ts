import { ExitCode } from "../errors.ts";

const meanings: Readonly<Record<ExitCode, string>> = {
  [ExitCode.done]: "done",
  [ExitCode.internal]: "internal error",
  [ExitCode.usage]: "usage or configuration",
  [ExitCode.invalidInput]: "the input is corrupt, incomplete or invalid",
  [ExitCode.refused]: "refused: a conflict, or a confirmation is missing",
  [ExitCode.locked]: "locked by another run",
  [ExitCode.key]: "wrong or missing key",
  [ExitCode.database]: "the database or its tools",
  [ExitCode.storage]: "storage: disk full, not writable, closed pipe, S3",
  [ExitCode.different]: "different",
  [ExitCode.interrupted]: "interrupted",
};

/** The end of a command's help. */
export function exitCodesText(codes: readonly ExitCode[]): string {
  const all = [...new Set([ExitCode.done, ExitCode.internal, ExitCode.usage, ...codes])];
  const lines = [...all, ExitCode.interrupted].map(
    (code) => `  ${code}`.padEnd(8) + meanings[code],
  );
  return ["Exit codes:", ...lines].join("\n");
}
