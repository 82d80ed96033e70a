import { type RawBuilder, sql } from "kysely";
import type { UniqueIndex } from "../catalog/catalog.ts";
import { relation, tenantColumn } from "../catalog/ownership.ts";
import { columnList, columnsEqual, conjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import type { Conflict } from "./conflicts.ts";
import { maxListedRows } from "./conflicts.ts";
import { isWritten } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import { rowKeyText } from "./row-key.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/** A live row that must let go of a unique value before its new value is written. */
export interface Vacating {
  readonly staged: StagedTable;
  readonly index: UniqueIndex;
}

export interface UniqueProof {
  readonly conflicts: readonly Conflict[];
  readonly vacating: readonly Vacating[];
}

/**
 * Finds staged rows whose unique values a live row of another key holds. A holder that this
 * import deletes first, or whose value it changes, does not count.
 */
export async function proveUniqueness(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  deletesFirst: boolean,
): Promise<UniqueProof> {
  const conflicts: Conflict[] = [];
  const vacating: Vacating[] = [];
  for (const staged of bundle.tables) {
    for (const index of staged.table.uniqueIndexes) {
      const isKey = index.columns?.join("\0") === staged.key.join("\0");
      if (isKey || !index.dependsOn.every((column) => staged.present.has(column))) continue;
      conflicts.push(...(await doubledInBundle(session, staged, index)));
      const holders = await findHolders(session, schema, bundle, staged, index, deletesFirst);
      conflicts.push(...holders.filter((h) => !h.vacates).map((h) => collision(staged, index, h)));
      if (holders.some((h) => h.vacates)) vacating.push({ staged, index });
    }
  }
  return { conflicts, vacating };
}

/** The rows of a source with the values of an index: `u1`, `u2`, … beside the key. */
export function indexedRows(
  source: RawBuilder<unknown>,
  staged: StagedTable,
  index: UniqueIndex,
  restriction?: RawBuilder<boolean>,
): RawBuilder<unknown> {
  const values = index.expressions.map(
    (expression, i) => sql`(${sql.raw(expression)}) AS ${sql.id(`u${i + 1}`)}`,
  );
  const conditions: RawBuilder<unknown>[] = restriction === undefined ? [] : [restriction];
  if (index.predicate !== undefined) conditions.push(sql`(${sql.raw(index.predicate)})`);
  // Expression and condition name the columns bare, so they must see no other table.
  return sql`(SELECT ${columnList(staged.key)}, ${sql.join(values)} FROM ${source}
    WHERE ${conjunction(conditions)})`;
}

export function sameIndexValues(
  index: UniqueIndex,
  left: string,
  right: string,
): RawBuilder<boolean> {
  return conjunction(
    index.expressions.map((_, i) => {
      const [a, b] = [sql.id(left, `u${i + 1}`), sql.id(right, `u${i + 1}`)];
      return index.nullsNotDistinct ? sql`${a} IS NOT DISTINCT FROM ${b}` : sql`${a} = ${b}`;
    }),
  );
}

interface Holder {
  readonly key: string;
  readonly holder: string;
  readonly vacates: boolean;
}

async function findHolders(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  staged: StagedTable,
  index: UniqueIndex,
  deletesFirst: boolean,
): Promise<readonly Holder[]> {
  const { key, match, extra, stage, table } = staged;
  const column = tenantColumn(schema.ownership, schema.root, table.name);
  // Where the tenant is part of the value, only the tenant's own rows can hold it.
  const own =
    column !== undefined && index.columns?.includes(column)
      ? sql<boolean>`${sql.id(column)} = ${sql.lit(bundle.header.tenant.id)}`
      : undefined;
  const notDeleted = deletesFirst
    ? sql`NOT EXISTS (SELECT FROM ${extra} AS e WHERE ${columnsEqual("e", key, "l")})`
    : sql`TRUE`;
  const { rows } = await sql<Holder>`
    SELECT ${rowKeyText("s", key)} AS key, ${rowKeyText("l", key)} AS holder,
           (EXISTS (SELECT FROM ${match} AS m
                     WHERE ${columnsEqual("m", key, "l")} AND m."pgtenant$action" = 'update')
            AND NOT EXISTS (SELECT FROM ${indexedRows(stage, staged, index)} AS z
                     WHERE ${conjunction([columnsEqual("z", key, "l"), sameIndexValues(index, "z", "l")])}))
             AS vacates
      FROM ${indexedRows(stage, staged, index)} AS s
      JOIN ${indexedRows(relation(table), staged, index, own)} AS l ON ${sameIndexValues(index, "s", "l")}
     WHERE NOT ${columnsEqual("s", key, "l")} AND ${isWritten(staged, "s")} AND ${notDeleted}
     LIMIT ${maxListedRows}`.execute(session.db);
  return rows;
}

async function doubledInBundle(
  session: Session,
  staged: StagedTable,
  index: UniqueIndex,
): Promise<readonly Conflict[]> {
  // An index that contains the whole key cannot be violated by rows of different keys.
  if (staged.key.every((column) => index.columns?.includes(column))) return [];
  const values = index.expressions.map((_, i) => sql.id("s", `u${i + 1}`));
  const present = index.nullsNotDistinct
    ? sql`TRUE`
    : conjunction(values.map((value) => sql`${value} IS NOT NULL`));
  const { rows } = await sql<{ key: string }>`
    SELECT min(${rowKeyText("s", staged.key)}) AS key
      FROM ${indexedRows(staged.stage, staged, index)} AS s
     WHERE ${present} GROUP BY ${sql.join(values)} HAVING count(*) > 1
     LIMIT ${maxListedRows}`.execute(session.db);
  return rows.map((row) => ({
    kind: "invalid",
    table: staged.table.name,
    row: row.key,
    reason: `shares its value in "${index.name}" with another row of the bundle`,
  }));
}

function collision(staged: StagedTable, index: UniqueIndex, found: Holder): Conflict {
  const values = index.columns?.join(", ") ?? index.expressions.join(", ");
  return {
    kind: "collision",
    table: staged.table.name,
    row: found.key,
    reason: `has a value in (${values}) that the live row ${found.holder} holds`,
  };
}
