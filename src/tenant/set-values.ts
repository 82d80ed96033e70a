import { type RawBuilder, sql } from "kysely";
import { columnOf, type Table } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import { AppError, ExitCode } from "../errors.ts";
import { columnsEqual } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { isDataException, SqlState, sqlStateOf } from "../postgres/sqlstates.ts";
import type { PlanNote } from "./import-types.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/**
 * Gives staged rows the values of `--set` where they have none. A row that is live keeps what
 * stands there: the option speaks of rows that would else have nothing.
 *
 * @throws {AppError} exit 2 when a value is not one of its column's type
 */
export async function fillSetColumns(
  session: Session,
  bundle: StagedBundle,
): Promise<readonly PlanNote[]> {
  const notes: PlanNote[] = [];
  for (const staged of bundle.tables) {
    for (const [column, value] of staged.setTo) {
      const rows = await fill(session, staged, column, value);
      if (rows === 0) continue;
      notes.push({
        kind: "set",
        table: staged.table.name,
        reason: `${rows} row(s) have no value in ${column} and get the one given with --set`,
      });
    }
  }
  return notes;
}

async function fill(
  session: Session,
  staged: StagedTable,
  name: string,
  value: string,
): Promise<number> {
  const column = sql.id(name);
  const { stage, table, key } = staged;
  await sql`
    UPDATE ${stage} AS s SET ${column} = ${sql.id("l", name)} FROM ${relation(table)} AS l
     WHERE ${columnsEqual("l", key, "s")} AND ${sql.id("s", name)} IS NULL`.execute(session.db);
  try {
    const { numAffectedRows } = await sql`
      UPDATE ${stage} AS s SET ${column} = ${literalOf(table, name, value)}
       WHERE ${sql.id("s", name)} IS NULL`.execute(session.db);
    return Number(numAffectedRows ?? 0n);
  } catch (error) {
    const state = sqlStateOf(error);
    if (!isDataException(state) && state !== SqlState.checkViolation) throw error;
    throw new AppError(
      "invalid-set-value",
      ExitCode.usage,
      `the value given with --set for "${table.name}.${name}" is not a ${columnOf(table, name)?.type ?? "value"}`,
      { cause: error, hint: "Give it as PostgreSQL would read it in a literal." },
    );
  }
}

/** A value for a column, to be assigned: so that one which is too long is refused and not cut. */
export function literalOf(table: Table, column: string, value: string): RawBuilder<unknown> {
  return sql`${sql.lit(value)}::${sql.raw(columnOf(table, column)?.plainType ?? "text")}`;
}
