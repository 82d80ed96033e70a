import { sql } from "kysely";
import { columnsEqual } from "../../postgres/identifiers.ts";
import type { Session } from "../../postgres/session.ts";
import { maxListedRows } from "../conflicts.ts";
import type { PlanNote } from "../import-types.ts";
import { rowKeyOf, rowKeyText } from "../row-key.ts";
import type { StagedBundle, StagedTable } from "../staging.ts";
import type { Chosen } from "./choose.ts";
import { because, origin, why } from "./key-tables.ts";

/**
 * Which rows of the bundle came along because of which: those that are needed one by one, those
 * that hang on a selected row counted by table.
 */
export async function noteAlong(
  session: Session,
  chosen: Chosen,
  bundle: StagedBundle,
): Promise<readonly PlanNote[]> {
  if (chosen.selection.everything) return [];
  const names = await originNames(session, chosen);
  const notes: PlanNote[] = [];
  for (const staged of bundle.tables) {
    notes.push(...(await noteNeeded(session, chosen, staged)));
    notes.push(...(await noteBelonging(session, chosen, staged, names)));
  }
  return notes;
}

async function noteNeeded(
  session: Session,
  chosen: Chosen,
  staged: StagedTable,
): Promise<readonly PlanNote[]> {
  const { table, key, stage } = staged;
  const { rows } = await sql<{ key: string; because: string | null; count: string }>`
    SELECT ${rowKeyText("k", staged)} AS key, ${sql.id("k", because)} AS because, count(*) OVER () AS count
      FROM ${chosen.keys.of(table.name)} AS k JOIN ${stage} AS s ON ${columnsEqual("s", key, "k")}
     WHERE ${sql.id("k", why)} = 'needed'
     ORDER BY ${sql.join(key.map((name) => sql.id("k", name)))} LIMIT ${maxListedRows}`.execute(
    session.db,
  );
  const notes = rows.map(
    (row): PlanNote => ({
      kind: "along",
      table: table.name,
      row: row.key,
      reason: row.because === null ? "is the tenant, and not there" : `is needed by ${row.because}`,
    }),
  );
  const further = Number(rows[0]?.count ?? 0) - rows.length;
  if (further === 0) return notes;
  const reason = `${further} further row(s) are needed by chosen ones`;
  return [...notes, { kind: "along", table: table.name, reason }];
}

async function noteBelonging(
  session: Session,
  chosen: Chosen,
  { table, key, stage }: StagedTable,
  names: ReadonlyMap<number, string>,
): Promise<readonly PlanNote[]> {
  const { rows } = await sql<{ origin: number; count: string }>`
    SELECT ${sql.id("k", origin)} AS origin, count(*) AS count
      FROM ${chosen.keys.of(table.name)} AS k JOIN ${stage} AS s ON ${columnsEqual("s", key, "k")}
     WHERE ${sql.id("k", why)} = 'belongs' GROUP BY 1`.execute(session.db);
  const counts = new Map<string, number>();
  for (const row of rows) {
    const name = names.get(Number(row.origin)) ?? itemName(chosen, Number(row.origin));
    counts.set(name, (counts.get(name) ?? 0) + Number(row.count));
  }
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => ({
      kind: "along",
      table: table.name,
      reason: `${count} row(s) belong to ${name}`,
    }));
}

/** The names of single rows that were selected, as far as anybody would read them. */
async function originNames(
  session: Session,
  { schema, keys, origins }: Chosen,
): Promise<ReadonlyMap<number, string>> {
  const names = new Map<number, string>();
  for (const { item, table, from, to } of origins) {
    if (item.kind === "tables" || names.size >= maxListedRows || table.key === undefined) continue;
    const { rows } = await sql<{ origin: number; key: string }>`
      SELECT ${sql.id("k", origin)} AS origin, ${rowKeyText("k", rowKeyOf(schema, table))} AS key
        FROM ${keys.of(table.name)} AS k
       WHERE ${sql.id("k", why)} = 'selected' AND ${sql.id("k", origin)} BETWEEN ${from} AND ${to}
       ORDER BY 1 LIMIT ${maxListedRows}`.execute(session.db);
    for (const row of rows) names.set(Number(row.origin), `${table.name} ${row.key}`);
  }
  return names;
}

function itemName({ origins }: Chosen, number: number): string {
  const found = origins.find(({ from, to }) => from <= number && number <= to);
  return `what "${found?.item.text ?? ""}" names`;
}
