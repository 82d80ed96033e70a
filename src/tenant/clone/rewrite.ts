import { type RawBuilder, sql } from "kysely";
import type { Column } from "../../catalog/catalog.ts";
import { AppError, ExitCode } from "../../errors.ts";
import { columnList } from "../../postgres/identifiers.ts";
import type { Session } from "../../postgres/session.ts";
import { cutColumn } from "../stage-table.ts";
import type { StagedTable } from "../staging.ts";
import { isUuid } from "./key-classes.ts";
import { fitsNothing, type MappedClass } from "./key-maps.ts";
import { mentionsUuids, uuidMap, withNewUuids } from "./new-ids.ts";
import { isText, mayHoldIds } from "./text-columns.ts";

/** What becomes of one table's columns, besides the keys in them. */
export interface ColumnChanges {
  readonly table: StagedTable;
  /** By column: what every row gets. */
  readonly set: ReadonlyMap<string, RawBuilder<unknown>>;
  /** By column: what wraps the value that it would get otherwise. */
  readonly wrap: ReadonlyMap<string, (value: RawBuilder<unknown>) => RawBuilder<unknown>>;
  /** Columns that lose their value. */
  readonly drop: readonly string[];
  /** Columns whose whole value is a key of no certain table. */
  readonly ids: readonly string[];
}

/** Holds what a column of `ids` had, until its new value is certain. */
export function formerIdColumn(position: number): string {
  return `pgtenant$id${position + 1}`;
}

/** Every key that is no uuid, as text, old and new. */
export function allMapped(mapped: readonly MappedClass[]): RawBuilder<unknown> {
  const each = mapped.map(({ map }) => sql`SELECT old::text AS old, new::text AS new FROM ${map}`);
  return each.length === 0
    ? sql`(SELECT NULL::text AS old, NULL::text AS new)`
    : sql`(${sql.join(each, sql` UNION `)})`;
}

/**
 * Writes the staged rows of a table anew, under their new keys, into a table that takes the place
 * of the old stage.
 *
 * @throws {AppError} exit 4 when a column cannot lose its value
 */
export async function rewriteTable(
  session: Session,
  changes: ColumnChanges,
  mapped: readonly MappedClass[],
  name: string,
): Promise<StagedTable> {
  const { table: staged, ids } = changes;
  const stage = sql`pg_temp.${sql.id(name)}`;
  const former = ids.map((_, i) => sql`, ${sql.id(formerIdColumn(i))} text`);
  await sql`DROP TABLE IF EXISTS ${stage}`.execute(session.db);
  await sql`CREATE TEMPORARY TABLE ${sql.id(name)}
    (LIKE ${staged.stage} INCLUDING GENERATED ${sql.join(former, sql``)})`.execute(session.db);
  const joins: RawBuilder<unknown>[] = [];
  const join = (source: RawBuilder<unknown>, value: RawBuilder<unknown>): RawBuilder<unknown> => {
    const alias = `k${joins.length}`;
    joins.push(sql`LEFT JOIN ${source} AS ${sql.id(alias)} ON ${sql.id(alias, "old")} = ${value}`);
    return sql.id(alias, "new");
  };
  const values = staged.columns.map((column) => {
    const own = sql.id("s", column.name);
    const type = sql.raw(column.type);
    const given = changes.set.get(column.name);
    if (given !== undefined) return given;
    const of = mapped.find(({ columns }) => isAmong(columns, staged, column));
    if (of !== undefined) return sql`coalesce(${join(of.map, own)}::${type}, ${own})`;
    if (changes.drop.includes(column.name)) return lostValue(staged, column);
    if (isUuid(column)) return sql`coalesce(${join(uuidMap, own)}::${type}, ${own})`;
    const value = ids.includes(column.name)
      ? sql`coalesce(${join(allMapped(mapped), sql`${own}::text`)}::${type}, ${own})`
      : own;
    const wrap = changes.wrap.get(column.name);
    if (!mayHoldIds(column)) return wrap?.(value) ?? value;
    const text = sql`${own}::text`;
    const renewed = sql`CASE WHEN ${mentionsUuids(text)} THEN ${withNewUuids(text)}::${type} ELSE ${value} END`;
    return wrap?.(renewed) ?? renewed;
  });
  const names = staged.columns.map((column) => column.name);
  if (staged.narrowing.length > 0) {
    names.push(cutColumn);
    values.push(sql.id("s", cutColumn));
  }
  for (const [i, column] of ids.entries()) {
    names.push(formerIdColumn(i));
    values.push(sql`${sql.id("s", column)}::text`);
  }
  await sql`INSERT INTO ${stage} (${columnList(names)})
    SELECT ${sql.join(values)} FROM ${staged.stage} AS s ${sql.join(joins, sql` `)}`.execute(
    session.db,
  );
  await sql`ALTER TABLE ${stage} ADD PRIMARY KEY (${columnList(staged.key)})`.execute(session.db);
  await sql`ANALYZE ${stage}`.execute(session.db);
  return { ...staged, stage };
}

export function isAmong(
  members: MappedClass["columns"],
  staged: StagedTable,
  column: Pick<Column, "name">,
): boolean {
  return members.some(
    (member) => member.table.name === staged.table.name && member.column.name === column.name,
  );
}

/** NULL, or where there must be a value, one that fits nothing. */
function lostValue(staged: StagedTable, column: Column): RawBuilder<unknown> {
  const type = sql.raw(column.type);
  if (!column.notNull) return sql`NULL::${type}`;
  if (isUuid(column)) return sql`gen_random_uuid()::${type}`;
  if (column.plainType === "bytea") return sql`sha256(gen_random_uuid()::text::bytea)`;
  if (isText(column)) return fitsNothing(column);
  throw new AppError(
    "cannot-drop",
    ExitCode.refused,
    `"${staged.table.name}.${column.name}" must have a value, and no ${column.type} is known that fits nothing; nothing was written`,
    { hint: 'Leave the table out, or number the column anew: "clone" in the profile.' },
  );
}
