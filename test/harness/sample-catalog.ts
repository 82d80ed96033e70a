import type { Catalog, Column, ForeignKey, Table } from "../../src/catalog/catalog.ts";

/** `column("id")`, `column("name", { notNull: false })`: an integer column, NOT NULL by default. */
export function column(name: string, changes: Partial<Column> = {}): Column {
  return {
    name,
    type: "integer",
    plainType: "integer",
    notNull: true,
    collatable: false,
    hasDefault: false,
    identity: undefined,
    generatedAs: undefined,
    encoding: { as: "value", shape: "int32" },
    enumLabels: undefined,
    ...changes,
  };
}

/**
 * A table of schema public with an `id`, and a column for each reference: `{ site: "sites" }` is
 * NOT NULL, `{ "site?": "sites" }` can be NULL, `{ "site!": "sites" }` is deferrable.
 */
export function table(
  relation: string,
  references: Readonly<Record<string, string>> = {},
  changes: Partial<Table> = {},
): Table {
  const name = `public.${relation}`;
  const keys = Object.entries(references).map(([entry, to]): [Column, ForeignKey] => {
    const columnName = entry.replace(/[?!]$/, "");
    return [
      column(columnName, { notNull: !entry.endsWith("?") }),
      {
        name: `${relation}_${columnName}_fkey`,
        from: name,
        columns: [columnName],
        to: `public.${to}`,
        toColumns: ["id"],
        onDelete: "no action",
        clearedColumns: [columnName],
        deferrable: entry.endsWith("!"),
        source: "constraint",
      },
    ];
  });
  return {
    name,
    schema: "public",
    relation,
    oid: 1,
    kind: "table",
    ofExtension: false,
    columns: [column("id"), ...keys.map(([own]) => own)],
    key: ["id"],
    uniqueIndexes: [],
    foreignKeys: keys.map(([, key]) => key),
    checks: [],
    triggers: [],
    sequences: [],
    storage: [1],
    rowSecurity: false,
    estimatedRows: 0,
    ...changes,
  };
}

export function catalogOf(...tables: readonly Table[]): Catalog {
  return { tables: new Map(tables.map((entry) => [entry.name, entry])) };
}

export function referencesIn(catalog: Catalog): ReadonlyMap<string, readonly ForeignKey[]> {
  return new Map([...catalog.tables.values()].map((entry) => [entry.name, entry.foreignKeys]));
}
