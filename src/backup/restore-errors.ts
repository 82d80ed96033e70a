import { AppError, ExitCode, retold } from "../errors.ts";
import type { RestoreMode } from "./restore-types.ts";
import type { RowDifference } from "./table-rows.ts";

/** In place everything is committed by then. */
export function behindRestored(error: unknown, target: string): unknown {
  if (!(error instanceof AppError)) return error;
  const restored = `the database "${target}" is restored, and this came behind it`;
  return retold(error, { details: [restored, ...error.details] });
}

export function rowsDiffer(differences: readonly RowDifference[], mode: RestoreMode): AppError {
  const { length } = differences;
  return new AppError(
    "rows-differ",
    ExitCode.invalidInput,
    `what was restored has not the rows of the manifest, in ${length} table${length === 1 ? "" : "s"}`,
    {
      hint:
        mode === "in-place"
          ? "It stands in the database now, as far as the backup has it; look at these tables, or restore an older backup."
          : "Take an older backup; the database that was there is what it was.",
      details: differences.map(
        ({ table, expected, found }) =>
          `${table}: ${found ?? "no table"}, and the manifest says ${expected ?? "no table"}`,
      ),
      data: { differences },
    },
  );
}

export function withRoleHint(error: unknown): unknown {
  const [, role] =
    error instanceof AppError ? (/role "(.*)" does not exist/.exec(error.message) ?? []) : [];
  if (role === undefined || !(error instanceof AppError)) return error;
  return retold(error, {
    hint: `The dump gives objects to the role "${role}", and this server has none of that name. CREATE ROLE "${role.replaceAll('"', '""')}", then run the command again.`,
  });
}
