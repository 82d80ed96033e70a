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

/** An index of which live rows must let go of values before the bundle's are written. */
export interface Vacating {
  readonly staged: StagedTable;
  readonly index: UniqueIndex;
  readonly deletesFirst: boolean;
}

export interface UniqueProof {
  readonly conflicts: readonly Conflict[];
  readonly vacating: readonly Vacating[];
}

/**
 * Finds staged rows whose unique values a live row of another key holds. A holder that this
 * import deletes, or whose value it changes, does not count.
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
    for (const candidate of heldIndexes(staged, deletesFirst)) {
      const { index } = candidate;
      conflicts.push(...(await doubledInBundle(session, staged, index)));
      const holders = await findHolders(session, schema, bundle, candidate);
      conflicts.push(...holders.filter((h) => !h.vacates).map((h) => collision(staged, index, h)));
      // A deferrable constraint looks at the end only, when all values are in place.
      if (!index.deferrable && holders.some((h) => h.vacates)) vacating.push(candidate);
    }
  }
  return { conflicts, vacating };
}

/** The unique indexes of which a row of another key can hold a value. */
export function heldIndexes(staged: StagedTable, deletesFirst: boolean): readonly Vacating[] {
  return (
    staged.table.uniqueIndexes
      .filter((index) => index.dependsOn.every((column) => staged.present.has(column)))
      // Rows of different keys cannot have equal values in an index that contains the key.
      .filter((index) => !staged.key.every((column) => index.columns?.includes(column)))
      .map((index) => ({ staged, index, deletesFirst }))
  );
}

/** The rows of a source with the values of an index, numbered from 1, beside the key. */
function indexedRows(
  source: RawBuilder<unknown>,
  staged: StagedTable,
  index: UniqueIndex,
  restriction?: RawBuilder<boolean>,
): RawBuilder<unknown> {
  const values = index.expressions.map(
    (expression, i) => sql`(${sql.raw(expression)}) AS ${sql.id(valueName(i))}`,
  );
  const conditions: RawBuilder<unknown>[] = restriction === undefined ? [] : [restriction];
  if (index.predicate !== undefined) conditions.push(sql`(${sql.raw(index.predicate)})`);
  // Expression and condition name the columns bare, so they must see no other table.
  return sql`(SELECT ${columnList(staged.key)}, ${sql.join(values)} FROM ${source}
    WHERE ${conjunction(conditions)})`;
}

function valueName(position: number): string {
  return `pgtenant$u${position + 1}`;
}

function sameIndexValues(index: UniqueIndex, left: string, right: string): RawBuilder<boolean> {
  return conjunction(
    index.expressions.map((_, i) => {
      const [a, b] = [sql.id(left, valueName(i)), sql.id(right, valueName(i))];
      return index.nullsNotDistinct ? sql`${a} IS NOT DISTINCT FROM ${b}` : sql`${a} = ${b}`;
    }),
  );
}

/** FROM and WHERE: written rows `s`, and live rows `l` of other keys that hold their values. */
function heldValues(
  { staged, index }: Vacating,
  ofTenant?: RawBuilder<boolean>,
): RawBuilder<unknown> {
  return sql`${indexedRows(staged.stage, staged, index)} AS s
      JOIN ${indexedRows(relation(staged.table), staged, index, ofTenant)} AS l
        ON ${sameIndexValues(index, "s", "l")}
     WHERE NOT ${columnsEqual("s", staged.key, "l")} AND ${isWritten(staged, "s")}`;
}

/** The live row `l` will let go of its value: it is updated to another one, or deleted later. */
function letsGo({ staged, index, deletesFirst }: Vacating): RawBuilder<boolean> {
  const { key, match, extra, stage } = staged;
  const changes = sql`EXISTS (SELECT FROM ${match} AS m
      WHERE ${columnsEqual("m", key, "l")} AND m."pgtenant$action" = 'update')
    AND NOT EXISTS (SELECT FROM ${indexedRows(stage, staged, index)} AS z
      WHERE ${conjunction([columnsEqual("z", key, "l"), sameIndexValues(index, "z", "l")])})`;
  const goes = sql`EXISTS (SELECT FROM ${extra} AS e WHERE ${columnsEqual("e", key, "l")})`;
  return deletesFirst ? sql`(${changes})` : sql`(${changes} OR ${goes})`;
}

/** A condition on the live row `alias`: it holds a value that it will let go of. */
export function mustVacate(vacating: Vacating, alias: string): RawBuilder<boolean> {
  const { key } = vacating.staged;
  return sql`(${columnList(key, alias)}) IN (
    SELECT ${columnList(key, "l")} FROM ${heldValues(vacating)} AND ${letsGo(vacating)})`;
}

interface Holder {
  readonly key: string;
  readonly holder: string;
  readonly vacates: boolean;
}

/** As `heldValues`, without holders that are deleted before the bundle's rows are written. */
function heldByRowsThatStay(
  schema: OpenSchema,
  bundle: StagedBundle,
  candidate: Vacating,
): RawBuilder<unknown> {
  const { staged, index, deletesFirst } = candidate;
  const { key, extra, table } = staged;
  const column = tenantColumn(schema.ownership, schema.root, table.name);
  // Where the tenant is part of the value, only the tenant's own rows can hold it.
  const ofTenant =
    column !== undefined && index.columns?.includes(column)
      ? sql<boolean>`${sql.id(column)} = ${sql.lit(bundle.tenant.id)}`
      : undefined;
  const notDeleted = deletesFirst
    ? sql`NOT EXISTS (SELECT FROM ${extra} AS e WHERE ${columnsEqual("e", key, "l")})`
    : sql`TRUE`;
  return sql`${heldValues(candidate, ofTenant)} AND ${notDeleted}`;
}

/** FROM and WHERE: the keys of rows `s` that collide, and of the live rows `l` they collide with. */
export function collidingRows(
  schema: OpenSchema,
  bundle: StagedBundle,
  candidate: Vacating,
): RawBuilder<unknown> {
  return sql`${heldByRowsThatStay(schema, bundle, candidate)} AND NOT ${letsGo(candidate)}`;
}

async function findHolders(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  candidate: Vacating,
): Promise<readonly Holder[]> {
  const { staged } = candidate;
  const { rows } = await sql<Holder>`
    SELECT ${rowKeyText("s", staged)} AS key, ${rowKeyText("l", staged)} AS holder,
           ${letsGo(candidate)} AS vacates
      FROM ${heldByRowsThatStay(schema, bundle, candidate)}
     ORDER BY vacates LIMIT ${maxListedRows}`.execute(session.db);
  return rows;
}

/** Rows that would be written with one value; a live row that stays holds what it has, not this. */
async function doubledInBundle(
  session: Session,
  staged: StagedTable,
  index: UniqueIndex,
): Promise<readonly Conflict[]> {
  const values = index.expressions.map((_, i) => sql.id("s", valueName(i)));
  const present = index.nullsNotDistinct
    ? sql`TRUE`
    : conjunction(values.map((value) => sql`${value} IS NOT NULL`));
  const { rows } = await sql<{ key: string }>`
    SELECT min(${rowKeyText("s", staged)}) AS key
      FROM ${indexedRows(staged.stage, staged, index)} AS s
     WHERE ${present} AND ${isWritten(staged, "s")} GROUP BY ${sql.join(values)} HAVING count(*) > 1
     LIMIT ${maxListedRows}`.execute(session.db);
  return rows.map((row) => ({
    kind: "invalid",
    table: staged.table.name,
    row: row.key,
    reason: `shares its value in "${index.name}" with another row of the bundle`,
  }));
}

function collision(staged: StagedTable, index: UniqueIndex, found: Holder): Conflict {
  return {
    kind: "collision",
    table: staged.table.name,
    row: found.key,
    reason: `${collidesIn(index)}${found.holder} holds`,
  };
}

/** What is said of a row that collides, up to the key of the live row. */
export function collidesIn(index: UniqueIndex): string {
  const values = index.columns?.join(", ") ?? index.expressions.join(", ");
  return `has a value in (${values}) that the live row `;
}
