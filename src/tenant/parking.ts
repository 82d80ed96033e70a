import { type RawBuilder, sql } from "kysely";
import { type Column, columnOf, type UniqueIndex } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Session } from "../postgres/session.ts";
import { SqlState, sqlStateOf } from "../postgres/sqlstates.ts";
import type { StagedTable } from "./staging.ts";
import { mustVacate, type Vacating } from "./unique-proof.ts";

/**
 * Gives the rows that hold values of a unique index which other rows will take a value of their
 * own, so that values can change places between rows: the first of two steps.
 *
 * @returns the number of rows
 * @throws {AppError} exit 4 when no column of the index can hold such a value
 */
export async function parkValues(session: Session, vacating: Vacating): Promise<number> {
  const { staged, index } = vacating;
  const parked = parkingValue(staged, index);
  if (parked === undefined) throw cannotSwap(vacating);
  try {
    const { numAffectedRows } = await sql`
      UPDATE ${relation(staged.table)} AS p SET ${sql.id(parked.column)} = ${parked.value}
       WHERE ${mustVacate(vacating, "p")}`.execute(session.db);
    return Number(numAffectedRows ?? 0n);
  } catch (error) {
    if (sqlStateOf(error) === SqlState.checkViolation) throw cannotSwap(vacating, error);
    throw error;
  }
}

function cannotSwap({ staged, index }: Vacating, cause?: unknown): AppError {
  return new AppError(
    "cannot-swap",
    ExitCode.refused,
    `rows of "${staged.table.name}" exchange values of the unique index "${index.name}", and none of its columns can hold a value in between; nothing was written`,
    { cause, hint: "Change one of the rows by hand first, then import again." },
  );
}

function parkingValue(
  staged: StagedTable,
  index: UniqueIndex,
): { column: string; value: RawBuilder<unknown> } | undefined {
  const referring = new Set(staged.table.foreignKeys.flatMap((key) => key.columns));
  const candidates = (index.columns ?? index.dependsOn)
    .filter((name) => !referring.has(name) && !staged.key.includes(name))
    .flatMap((name) => columnOf(staged.table, name) ?? []);
  const nullable = candidates.find((column) => !column.notNull && !index.nullsNotDistinct);
  if (nullable !== undefined && index.columns !== undefined) {
    return { column: nullable.name, value: sql`NULL` };
  }
  for (const column of candidates) {
    const value = ownValue(column);
    if (value !== undefined) return { column: column.name, value };
  }
  return undefined;
}

/** A value that no other row has, for types where one can be made. */
function ownValue(column: Column): RawBuilder<unknown> | undefined {
  if (column.encoding.as !== "value" || column.type !== column.plainType) return undefined;
  switch (column.encoding.shape) {
    case "uuid":
      return sql`gen_random_uuid()`;
    case "string":
      return column.plainType === "text" || column.plainType === "character varying"
        ? sql`'pgtenant ' || gen_random_uuid()`
        : undefined;
    // Negative, so that it meets no number in use; the low bits of a random uuid.
    case "int64":
      return sql`-abs(('x' || right(gen_random_uuid()::text, 12))::bit(48)::bigint) - 1`;
    case "int32":
      return sql`-abs(('x' || right(gen_random_uuid()::text, 7))::bit(28)::integer) - 1`;
    case "number":
      return sql`-abs(('x' || right(gen_random_uuid()::text, 12))::bit(48)::bigint) - 0.5`;
    default:
      return undefined;
  }
}
