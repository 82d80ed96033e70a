import { sql } from "kysely";
import type { Table } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import { AppError, ExitCode } from "../errors.ts";
import { columnsEqual } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { isWritten, recordsDiffer } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import { rowKeyText } from "./row-key.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/** Rows written to one table in this transaction. */
export interface Tally {
  inserted: number;
  updated: number;
  deleted: number;
}

export function emptyTally(): Tally {
  return { inserted: 0, updated: 0, deleted: 0 };
}

/**
 * Reads every written row back and compares it with the staged one, bit by bit.
 *
 * @throws {AppError} exit 7, naming rows, when the database made something else of them
 */
export async function readBack(session: Session, bundle: StagedBundle): Promise<void> {
  for (const staged of bundle.tables) await readBackTable(session, staged);
}

async function readBackTable(session: Session, staged: StagedTable): Promise<void> {
  const { key, stage, table } = staged;
  const names = staged.columns.map((column) => column.name);
  const [firstKey = ""] = key;
  const { rows } = await sql<{ key: string }>`
    SELECT ${rowKeyText("s", staged)} AS key
      FROM ${stage} AS s LEFT JOIN ${relation(table)} AS l ON ${columnsEqual("l", key, "s")}
     WHERE (${sql.id("l", firstKey)} IS NULL OR ${recordsDiffer("l", "s", names)})
       AND ${isWritten(staged, "s")}
     LIMIT 1000`.execute(session.db);
  if (rows.length === 0) return;
  throw new AppError(
    "read-back-differs",
    ExitCode.database,
    `${rows.length} row(s) of "${table.name}" read back otherwise than they were written, such as ${rows[0]?.key ?? ""}; everything was rolled back`,
    {
      hint: "A rule or a generated default alters rows of this table; look for what the database does on INSERT.",
      details: rows.map((row) => `${table.name} ${row.key}`),
    },
  );
}

/**
 * The server's own count of the rows that this transaction has written, by table: of our
 * statements, and of every cascade, trigger and rule behind them. Undefined when the server
 * does not count (`track_counts` off).
 */
export async function countWrites(
  session: Session,
  schema: OpenSchema,
): Promise<ReadonlyMap<string, Tally> | undefined> {
  const { rows } = await sql<{ oid: number; ins: string; upd: string; del: string; on: boolean }>`
    SELECT relid AS oid, n_tup_ins AS ins, n_tup_upd AS upd, n_tup_del AS del,
           current_setting('track_counts')::boolean AS on
      FROM pg_stat_xact_user_tables
     WHERE schemaname NOT LIKE 'pg\\_temp%' AND schemaname NOT LIKE 'pg\\_toast%'`.execute(
    session.db,
  );
  if (rows.some((row) => !row.on)) return undefined;
  const byOid = new Map(rows.map((row) => [row.oid, row]));
  return new Map(
    [...schema.catalog.tables.values()].map((table) => [table.name, sumOfStorage(table, byOid)]),
  );
}

function sumOfStorage(
  table: Table,
  byOid: ReadonlyMap<number, { readonly ins: string; readonly upd: string; readonly del: string }>,
): Tally {
  const tally = emptyTally();
  for (const oid of table.storage) {
    const row = byOid.get(oid);
    tally.inserted += Number(row?.ins ?? 0);
    tally.updated += Number(row?.upd ?? 0);
    tally.deleted += Number(row?.del ?? 0);
  }
  return tally;
}

/**
 * Proves that nothing but the planned rows was written, in any table.
 *
 * @param before the counts before the first write, since the server counts by session
 * @throws {AppError} exit 7 when a cascade or a rule wrote more; everything is rolled back
 */
export function refuseUnplannedWrites(
  before: ReadonlyMap<string, Tally>,
  after: ReadonlyMap<string, Tally>,
  planned: ReadonlyMap<string, Tally>,
): void {
  const details: string[] = [];
  for (const [table, counts] of after) {
    const start = before.get(table) ?? emptyTally();
    const plan = planned.get(table) ?? emptyTally();
    for (const kind of ["inserted", "updated", "deleted"] as const) {
      const actual = counts[kind] - start[kind];
      if (actual !== plan[kind]) details.push(`${table}: ${actual} ${kind}, ${plan[kind]} planned`);
    }
  }
  if (details.length > 0) throw unplannedWrites(details);
}

/** @param details by table: what was written, and what was planned */
export function unplannedWrites(details: readonly string[]): AppError {
  return new AppError(
    "unplanned-writes",
    ExitCode.database,
    `the database wrote other rows than planned (${details[0] ?? ""}); everything was rolled back`,
    {
      hint: "A cascade, a rule or a trigger on these tables writes more or fewer rows; look at their definitions.",
      details,
    },
  );
}
