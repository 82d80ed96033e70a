import { sql } from "kysely";
import { qualifiedName } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import type {
  Catalog,
  Column,
  ForeignKey,
  ForeignKeyAction,
  OwnedSequence,
  Table,
  UniqueIndex,
} from "./catalog.ts";
import {
  type ColumnRow,
  type ForeignKeyRow,
  readChecks,
  readColumns,
  readEnumLabels,
  readForeignKeys,
  readSequences,
  readTables,
  readTriggers,
  readTypes,
  readUniqueIndexes,
  type SequenceRow,
  type UniqueIndexRow,
} from "./catalog-queries.ts";
import { encodingOf, type TypeRow, underlyingType } from "./value-encoding.ts";

/**
 * Reads every table of the database but PostgreSQL's own. Expressions come fully qualified,
 * because `search_path` is set to pg_catalog while they are printed.
 */
export async function readCatalog(session: Session): Promise<Catalog> {
  const before = await currentSearchPath(session);
  await setSearchPath(session, "pg_catalog");
  try {
    return await read(session);
  } finally {
    await setSearchPath(session, before).catch(() => undefined);
  }
}

async function read(session: Session): Promise<Catalog> {
  const tableRows = await readTables(session);
  const oids = tableRows.map((row) => row.oid);
  const nameOf = new Map(
    tableRows.map((row) => [row.oid, qualifiedName(row.schema, row.relation)]),
  );
  const types = await readTypes(session);
  const enums = await readEnumLabels(session);
  const columns = groupByTable(await readColumns(session, oids));
  const indexes = groupByTable(await readUniqueIndexes(session, oids));
  const foreignKeys = groupByTable(await readForeignKeys(session, oids));
  const checks = groupByTable(await readChecks(session, oids));
  const triggers = groupByTable(await readTriggers(session, oids));
  const sequences = groupByTable(await readSequences(session, oids));

  const tables = new Map<string, Table>();
  for (const row of tableRows) {
    const name = qualifiedName(row.schema, row.relation);
    const tableColumns = (columns.get(row.oid) ?? []).map((c) => toColumn(c, types, enums));
    const uniqueIndexes = (indexes.get(row.oid) ?? []).map(toUniqueIndex);
    tables.set(name, {
      name,
      schema: row.schema,
      relation: row.relation,
      oid: row.oid,
      kind: tableKinds[row.kind] ?? "table",
      ofExtension: row.of_extension,
      columns: tableColumns,
      key: keyOf(tableColumns, uniqueIndexes),
      uniqueIndexes,
      foreignKeys: (foreignKeys.get(row.oid) ?? []).flatMap((fk) => toForeignKey(fk, name, nameOf)),
      checks: checks.get(row.oid) ?? [],
      triggers: triggers.get(row.oid) ?? [],
      sequences: (sequences.get(row.oid) ?? [])
        .filter((s) => holdsDrawnValues(columns.get(row.oid) ?? [], s.column, types))
        .map(toOwnedSequence),
      storage: (row.storage ?? []).map(Number),
      rowSecurity: row.row_security,
      estimatedRows: Math.max(0, Number(row.estimated_rows)),
    });
  }
  return { tables };
}

async function currentSearchPath(session: Session): Promise<string> {
  const { rows } = await sql<{
    path: string;
  }>`SELECT current_setting('search_path') AS path`.execute(session.db);
  return rows[0]?.path ?? "pg_catalog";
}

async function setSearchPath(session: Session, path: string): Promise<void> {
  await sql`SELECT set_config('search_path', ${path}, false)`.execute(session.db);
}

function toColumn(
  row: ColumnRow,
  types: ReadonlyMap<number, TypeRow>,
  enums: ReadonlyMap<number, readonly string[]>,
): Column {
  const underlying = underlyingType(row.type_oid, types);
  return {
    name: row.name,
    type: row.type,
    plainType: row.plain_type,
    notNull: row.not_null,
    collatable: row.collatable,
    hasDefault: row.default_expression !== null || row.identity !== "",
    identity: row.identity === "a" ? "always" : row.identity === "d" ? "by default" : undefined,
    generatedAs: row.generated === "" ? undefined : (row.default_expression ?? "NULL"),
    encoding: encodingOf(row.type_oid, types),
    enumLabels: underlying === undefined ? undefined : enums.get(underlying.oid),
  };
}

/**
 * The column's values are those that its sequence gives: it is a number, and its default makes
 * nothing else of what it draws, as `'INV-' || nextval(…)` does.
 */
function holdsDrawnValues(
  columns: readonly ColumnRow[],
  name: string,
  types: ReadonlyMap<number, TypeRow>,
): boolean {
  const column = columns.find((each) => each.name === name);
  if (column === undefined) return false;
  const type = underlyingType(column.type_oid, types);
  if (type?.schema !== "pg_catalog" || !numberTypes.has(type.name)) return false;
  return column.identity !== "" || plainDraw.test(column.default_expression ?? "");
}

const numberTypes: ReadonlySet<string> = new Set(["int2", "int4", "int8", "numeric"]);

/** `nextval('public.s'::regclass)`, perhaps cast to a number of another size. */
const plainDraw =
  /^\(?nextval\('(?:[^']|'')+'::regclass\)\)?(?:::(?:smallint|integer|bigint|numeric))?$/;

function toOwnedSequence(row: SequenceRow): OwnedSequence {
  return {
    schema: row.schema,
    relation: row.relation,
    column: row.column,
    increment: BigInt(row.increment),
    limit: BigInt(row.limit),
  };
}

function toUniqueIndex(row: UniqueIndexRow): UniqueIndex {
  return {
    name: row.name,
    primary: row.is_primary,
    expressions: row.expressions,
    columns: row.has_expressions ? undefined : row.columns,
    dependsOn: row.depends_on,
    predicate: row.predicate ?? undefined,
    nullsNotDistinct: row.nulls_not_distinct,
    deferrable: row.is_deferrable,
  };
}

/**
 * The primary key, or the unique index with the fewest columns that can stand in for it. A
 * deferrable constraint cannot: its duplicates may exist for a moment.
 */
function keyOf(
  columns: readonly Column[],
  indexes: readonly UniqueIndex[],
): readonly string[] | undefined {
  const primary = indexes.find((index) => index.primary);
  if (primary?.columns !== undefined) return primary.columns;
  const notNull = new Set(columns.filter((c) => c.notNull).map((c) => c.name));
  return indexes
    .filter((index) => index.predicate === undefined && !index.deferrable)
    .flatMap((index) => (index.columns?.every((c) => notNull.has(c)) ? [index.columns] : []))
    .sort((a, b) => a.length - b.length)[0];
}

function toForeignKey(
  row: ForeignKeyRow,
  from: string,
  nameOf: ReadonlyMap<number, string>,
): readonly ForeignKey[] {
  const to = nameOf.get(row.to_oid);
  if (to === undefined) return [];
  return [
    {
      name: row.name,
      from,
      columns: row.columns,
      to,
      toColumns: row.to_columns,
      onDelete: foreignKeyActions[row.on_delete] ?? "no action",
      clearedColumns: row.cleared_columns ?? row.columns,
      deferrable: row.is_deferrable,
      source: "constraint",
    },
  ];
}

function groupByTable<Row extends { readonly table_oid: number }>(
  rows: readonly Row[],
): Map<number, Row[]> {
  return Map.groupBy(rows, (row) => row.table_oid);
}

const tableKinds: Readonly<Record<string, Table["kind"]>> = {
  r: "table",
  p: "partitioned",
  f: "foreign",
};

const foreignKeyActions: Readonly<Record<string, ForeignKeyAction>> = {
  a: "no action",
  r: "restrict",
  c: "cascade",
  n: "set null",
  d: "set default",
};
