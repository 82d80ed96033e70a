import { type RawBuilder, sql } from "kysely";
import { relation } from "../catalog/ownership.ts";
import { columnList, columnsEqual } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import type { PlanNote } from "./import-types.ts";
import { noteRows } from "./plan-notes.ts";
import type { Spared } from "./replace.ts";
import { rowKeyText } from "./row-key.ts";
import type { StagedTable } from "./staging.ts";

/** The columns of `StagedTable.out` beside those of the rows: why, and what became of them. */
export const reason = sql.id("pgtenant$reason");
export const live = sql.id("pgtenant$live");
export const adopted = sql.id("pgtenant$adopted");
export const references = sql.id("pgtenant$references");

/** The staged rows that are taken out, whole; why; and the key of the live row that stands for each. */
export async function createOut(session: Session, { stage, out, key }: StagedTable): Promise<void> {
  await sql`DROP TABLE IF EXISTS ${out}`.execute(session.db);
  await sql`CREATE TEMPORARY TABLE ${out} AS
    SELECT s.*, NULL::text AS ${reason}, FALSE AS ${live}, FALSE AS ${adopted}, 0::bigint AS ${references},
           ${holderOf(key, "s")}
      FROM ${stage} AS s WHERE FALSE`.execute(session.db);
}

/** The columns with a live row's key; numbered, since a name must not get longer. */
export function holderNames(key: readonly string[]): readonly string[] {
  return key.map((_, i) => `pgtenant$h${i + 1}`);
}

/** The key of the row `alias`, as those columns. */
export function holderOf(key: readonly string[], alias: string): RawBuilder<unknown> {
  const names = holderNames(key);
  return sql.join(key.map((name, i) => sql`${sql.id(alias, name)} AS ${sql.id(names[i] ?? "")}`));
}

/** A live row that the bundle speaks of, without having a staged row of its key. */
export const isSpared: Spared = ({ out, key }, alias) =>
  sql`(EXISTS (SELECT FROM ${out} AS x WHERE ${columnsEqual("x", key, alias)})
    OR EXISTS (SELECT FROM ${out} AS x WHERE x.${adopted}
                AND ${columnsEqual("x", holderNames(key), alias, key)}))`;

/** How many rows of a table stay as they are, because the bundle's row collides or hangs on one. */
export async function countKept(session: Session, staged: StagedTable): Promise<number> {
  const { rows } = await sql<{ count: string }>`
    SELECT count(*) AS count FROM ${staged.out} WHERE ${live}`.execute(session.db);
  return Number(rows[0]?.count ?? 0);
}

/** What stays out of a table, and the live rows that stand for some of it. */
export function rowsOut({ table, key, out }: StagedTable): readonly {
  readonly row: RawBuilder<unknown>;
  readonly source: RawBuilder<unknown>;
}[] {
  const columns = columnList([...key, ...holderNames(key)], "x");
  return [
    { row: sql`ROW(${columns}, x.${live}, x.${adopted})`, source: sql`${out} AS x` },
    {
      row: sql`("l".*)`,
      source: sql`${out} AS x JOIN ${relation(table)} AS l
        ON ${columnsEqual("l", key, "x", holderNames(key))} WHERE x.${adopted}`,
    },
  ];
}

/** A live row that stays as it is lets go of no value. */
export async function forgetMatches(
  session: Session,
  { match, out, key }: StagedTable,
): Promise<void> {
  await sql`DELETE FROM ${match} AS m USING ${out} AS x WHERE ${columnsEqual("m", key, "x")}`.execute(
    session.db,
  );
}

/** Each row that stays out, stays as it is, or has a live row that stands for it. */
export async function noteOut(session: Session, staged: StagedTable): Promise<readonly PlanNote[]> {
  const { table, out } = staged;
  const rows = (where: RawBuilder<unknown>) => sql`
    SELECT ${rowKeyText("x", staged)} AS key, x.${reason} AS reason, x.${references}::text AS moved
      FROM ${out} AS x WHERE ${where} AND x.${reason} IS NOT NULL`;
  type Row = { readonly key: string; readonly reason: string; readonly moved: string };
  const note = (kind: PlanNote["kind"], where: RawBuilder<unknown>, say: string, end = "") =>
    noteRows<Row>(session, rows(where), {
      kind,
      table: table.name,
      reason: ({ reason: because, moved }) =>
        `${say}: ${because}${end === "" ? "" : `; ${moved} reference(s) ${end}`}`,
      others: kind === "kept" ? "stay as they are" : `${kind}`,
    });
  return [
    ...(await note("skipped", sql`NOT x.${live} AND NOT x.${adopted}`, "stays out")),
    ...(await note("adopted", sql`x.${adopted}`, "the live row stands for it", "lead there now")),
    ...(await note("kept", sql`x.${live}`, "stays as it is")),
  ];
}
