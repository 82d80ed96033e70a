import { type RawBuilder, sql } from "kysely";
import type { LeftOut } from "../../bundle/format.ts";
import type { ForeignKey } from "../../catalog/catalog.ts";
import { clearableColumns } from "../../catalog/order.ts";
import { allPresent, columnsEqual, conjunction } from "../../postgres/identifiers.ts";
import type { Session } from "../../postgres/session.ts";
import { referencesOf } from "../../profile/classify.ts";
import type { PlanNote } from "../import-types.ts";
import type { OpenSchema } from "../open-schema.ts";
import type { StagedTable } from "../staging.ts";

/** What of the staged rows the clone gets, and what not. */
export interface Remaining {
  readonly tables: readonly StagedTable[];
  /** By table: the rows that stay out, with all their columns. */
  readonly gone: ReadonlyMap<string, RawBuilder<unknown>>;
  readonly leftOut: readonly LeftOut[];
  readonly notes: readonly PlanNote[];
}

/**
 * Leaves tables out, and with them every row that cannot be without one of theirs. References that
 * can be NULL are cleared instead.
 *
 * @param reasons by table: why it is left out
 */
export async function leaveOutTables(
  session: Session,
  schema: OpenSchema,
  staged: readonly StagedTable[],
  reasons: ReadonlyMap<string, string>,
): Promise<Remaining> {
  const out = staged.filter((each) => each.rows > 0 && reasons.has(each.table.name));
  const kept = staged.filter((each) => !reasons.has(each.table.name));
  const gone = new Map(out.map((each) => [each.table.name, each.stage]));
  const dropped = new Map<string, number>();
  const because = new Map<string, string>();
  for (let found = 1; found > 0; ) {
    found = 0;
    for (const [index, each] of kept.entries()) {
      for (const key of leading(schema, each, gone)) {
        if (clearable(each, key).length > 0) continue;
        const { name } = each.table;
        const rows = await dropHanging(session, each, key, gone, `pgtenant_g${index}`);
        if (rows === 0) continue;
        found += rows;
        dropped.set(name, (dropped.get(name) ?? 0) + rows);
        because.set(name, key.to);
      }
    }
  }
  const notes: PlanNote[] = [...dropped].map(([table, rows]) => ({
    kind: "cloned",
    table,
    reason: `${rows} row(s) stay out, because they hang on rows of ${because.get(table)} that are left out`,
  }));
  for (const each of kept) notes.push(...(await clearReferences(session, schema, each, gone)));
  return {
    tables: kept.map((each) => ({
      ...each,
      rows: each.rows - (dropped.get(each.table.name) ?? 0),
    })),
    gone,
    leftOut: out.map(({ table }) => ({
      table: table.name,
      reason: reasons.get(table.name) ?? "",
    })),
    notes,
  };
}

/** The references of a table to rows that stay out. */
function leading(
  schema: OpenSchema,
  staged: StagedTable,
  gone: ReadonlyMap<string, RawBuilder<unknown>>,
): readonly ForeignKey[] {
  return referencesOf(schema, staged.table.name).filter(
    (key) => gone.has(key.to) && key.columns.every((column) => staged.present.has(column)),
  );
}

function clearable(staged: StagedTable, key: ForeignKey): readonly string[] {
  return clearableColumns(staged.table, key).filter((column) => !staged.key.includes(column));
}

function refersToGone(
  key: ForeignKey,
  gone: ReadonlyMap<string, RawBuilder<unknown>>,
): RawBuilder<boolean> {
  const source = gone.get(key.to);
  if (source === undefined) return sql`FALSE`;
  return conjunction([
    allPresent("s", key.columns),
    sql`EXISTS (SELECT FROM ${source} AS g WHERE ${columnsEqual("g", key.toColumns, "s", key.columns)})`,
  ]);
}

/** Moves rows from the stage to the table of those that stay out. */
async function dropHanging(
  session: Session,
  staged: StagedTable,
  key: ForeignKey,
  gone: Map<string, RawBuilder<unknown>>,
  name: string,
): Promise<number> {
  const target = sql`pg_temp.${sql.id(name)}`;
  if (!gone.has(staged.table.name)) {
    await sql`DROP TABLE IF EXISTS ${target}`.execute(session.db);
    await sql`CREATE TEMPORARY TABLE ${sql.id(name)} (LIKE ${staged.stage})`.execute(session.db);
  }
  const { numAffectedRows } = await sql`
    WITH hanging AS (
      DELETE FROM ${staged.stage} AS s WHERE ${refersToGone(key, gone)} RETURNING s.*
    ) INSERT INTO ${target} SELECT * FROM hanging`.execute(session.db);
  const rows = Number(numAffectedRows ?? 0n);
  if (rows > 0) gone.set(staged.table.name, target);
  return rows;
}

async function clearReferences(
  session: Session,
  schema: OpenSchema,
  staged: StagedTable,
  gone: ReadonlyMap<string, RawBuilder<unknown>>,
): Promise<readonly PlanNote[]> {
  const notes: PlanNote[] = [];
  for (const key of leading(schema, staged, gone)) {
    const columns = clearable(staged, key);
    if (columns.length === 0) continue;
    const { numAffectedRows } = await sql`
      UPDATE ${staged.stage} AS s SET ${sql.join(columns.map((c) => sql`${sql.id(c)} = NULL`))}
       WHERE ${refersToGone(key, gone)}`.execute(session.db);
    const rows = Number(numAffectedRows ?? 0n);
    if (rows === 0) continue;
    notes.push({
      kind: "cloned",
      table: staged.table.name,
      reason: `${rows} row(s) lose ${columns.join(", ")}, because the rows of ${key.to} that it names are left out`,
    });
  }
  return notes;
}
