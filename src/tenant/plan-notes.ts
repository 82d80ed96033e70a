import { type RawBuilder, sql } from "kysely";
import type { Session } from "../postgres/session.ts";
import { maxListedRows } from "./conflicts.ts";
import type { PlanNote } from "./import-types.ts";

/** What is noted of one kind of change to a table's rows. */
export interface NotedRows<Row> {
  readonly kind: PlanNote["kind"];
  readonly table: string;
  /** Said first, of all of them. */
  readonly all?: (count: number) => string;
  readonly reason: (row: Row) => string;
  /** Said once, with their number, of the rows that are too many to be listed. */
  readonly others: string;
}

/**
 * Runs a query, or an UPDATE with RETURNING, whose rows have a `key`, and notes each of them.
 * Beyond some number they are only counted: the rows stay at the server.
 */
export async function noteRows<Row extends { readonly key: string }>(
  session: Session,
  statement: RawBuilder<unknown>,
  { kind, table, all, reason, others }: NotedRows<Row>,
): Promise<readonly PlanNote[]> {
  const { rows } = await sql<Row & { total: string }>`
    WITH noted AS (${statement})
    SELECT *, (SELECT count(*) FROM noted) AS total FROM noted
     ORDER BY key LIMIT ${maxListedRows}`.execute(session.db);
  const total = Number(rows[0]?.total ?? 0);
  const notes: PlanNote[] = rows.map((row) => ({ kind, table, row: row.key, reason: reason(row) }));
  if (all !== undefined && total > 0) notes.unshift({ kind, table, reason: all(total) });
  const more = total - rows.length;
  if (more > 0) notes.push({ kind, table, reason: `${more} more row(s) ${others}` });
  return notes;
}
