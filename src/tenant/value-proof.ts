import { sql } from "kysely";
import type { Session } from "../postgres/session.ts";
import type { Conflict } from "./conflicts.ts";
import { maxListedRows } from "./conflicts.ts";
import { isInserted, isWritten } from "./matching.ts";
import { rowKeyText } from "./row-key.ts";
import { cutColumn } from "./stage-table.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";
import { noValue } from "./target-match.ts";

/**
 * Proves that the target takes every staged value as it is: none is cut or rounded by a
 * shorter type, none is NULL where the target forbids it, and every CHECK holds.
 *
 * @throws {AppError} exit 4 when new rows would have no value at all in a NOT NULL column
 */
export async function proveValues(
  session: Session,
  bundle: StagedBundle,
): Promise<readonly Conflict[]> {
  const conflicts: Conflict[] = [];
  await requireFilled(session, bundle);
  for (const staged of bundle.tables) {
    conflicts.push(...(await cutValues(session, staged)));
    conflicts.push(...(await missingValues(session, staged)));
    conflicts.push(...(await failedChecks(session, staged)));
  }
  return conflicts;
}

async function requireFilled(session: Session, bundle: StagedBundle): Promise<void> {
  const columns: string[] = [];
  for (const staged of bundle.tables.filter((table) => table.unfilled.length > 0)) {
    const { rows } = await sql<{ found: boolean }>`
      SELECT EXISTS (SELECT FROM ${staged.stage} AS s WHERE ${isInserted(staged, "s")}) AS found`.execute(
      session.db,
    );
    if (rows[0]?.found !== true) continue;
    columns.push(...staged.unfilled.map((name) => `${staged.table.name}.${name}`));
  }
  if (columns.length > 0) throw noValue(columns);
}

async function cutValues(session: Session, staged: StagedTable): Promise<readonly Conflict[]> {
  if (staged.narrowing.length === 0) return [];
  // A row whose key is cut may have found the live row of another.
  const keyMayBeCut = staged.narrowing.some((column) => staged.key.includes(column.name));
  const counts = keyMayBeCut ? sql`TRUE` : isWritten(staged, "s");
  const types = staged.narrowing.map((column) => `${column.name} ${column.type}`).join(", ");
  const { rows } = await sql<{ key: string }>`
    SELECT ${rowKeyText("s", staged)} AS key FROM ${staged.stage} AS s
     WHERE ${sql.id("s", cutColumn)} AND ${counts} LIMIT ${maxListedRows}`.execute(session.db);
  return rows.map((row) => ({
    kind: "invalid",
    table: staged.table.name,
    row: row.key,
    reason: `has a value that the target would cut, round or alter (${types})`,
  }));
}

async function missingValues(session: Session, staged: StagedTable): Promise<readonly Conflict[]> {
  const conflicts: Conflict[] = [];
  for (const column of staged.mayBeNull) {
    const { rows } = await sql<{ key: string }>`
      SELECT ${rowKeyText("s", staged)} AS key FROM ${staged.stage} AS s
       WHERE ${sql.id("s", column.name)} IS NULL AND ${isWritten(staged, "s")} LIMIT ${maxListedRows}`.execute(
      session.db,
    );
    for (const row of rows) {
      conflicts.push({
        kind: "blocked",
        table: staged.table.name,
        row: row.key,
        reason: `has NULL in "${column.name}", which the target forbids (--set '${staged.table.name}.${column.name}=VALUE' fills it)`,
      });
    }
  }
  return conflicts;
}

async function failedChecks(session: Session, staged: StagedTable): Promise<readonly Conflict[]> {
  const conflicts: Conflict[] = [];
  for (const check of staged.table.checks) {
    if (!check.columns.every((column) => staged.present.has(column))) continue;
    // The expression names the columns bare, so it must see no other table.
    const { rows } = await sql<{ key: string }>`
      SELECT ${rowKeyText("s", staged)} AS key
        FROM (SELECT * FROM ${staged.stage} WHERE NOT (${sql.raw(check.expression)})) AS s
       WHERE ${isWritten(staged, "s")} LIMIT ${maxListedRows}`.execute(session.db);
    for (const row of rows) {
      conflicts.push({
        kind: "invalid",
        table: staged.table.name,
        row: row.key,
        reason: `violates the check "${check.name}"`,
      });
    }
  }
  return conflicts;
}
