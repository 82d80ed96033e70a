import type { RawBuilder } from "kysely";
import { sql } from "kysely";
import { allPresent, columnsEqual, conjunction, disjunction } from "../postgres/identifiers.ts";
import { type Catalog, type ForeignKey, isMandatory, type Table } from "./catalog.ts";

/** The table whose rows are the tenants, and the column that other tables know it by. */
export interface Root {
  readonly table: string;
  readonly key: string;
}

/**
 * How each table's rows reach their tenant: the first foreign key of every path to the root.
 * With several, a row belongs to the tenant that any of them leads to; the proofs then see to
 * it that all others agree. The root itself has none.
 */
export type Ownership = ReadonlyMap<string, readonly ForeignKey[]>;

/**
 * Finds, for every table that has one, the way to the root. A path whose columns are all NOT
 * NULL wins over one that a NULL can interrupt, then a shorter over a longer one. Only where
 * every path can be interrupted do several count, and then all that do not lead in a circle.
 * `preferred` names the key to take instead, by table.
 */
export function findOwnership(
  catalog: Catalog,
  root: Root,
  references: ReadonlyMap<string, readonly ForeignKey[]>,
  preferred: ReadonlyMap<string, ForeignKey>,
  global: ReadonlySet<string>,
): Ownership {
  const candidates = [...catalog.tables.values()].filter(
    (table) => !global.has(table.name) && table.name !== root.table,
  );
  const found = new Map<string, readonly ForeignKey[]>([[root.table, []]]);
  // Each round extends the paths by one step, so that the first one found is the shortest;
  // interruptible paths wait until no uninterrupted one can be found any more.
  const spread = (accept: (table: Table) => readonly ForeignKey[]) => {
    for (let grew = true; grew; ) {
      const round = candidates
        .filter((table) => !found.has(table.name))
        .map((table) => [table, accept(table)] as const)
        .filter(([, keys]) => keys.length > 0);
      for (const [table, keys] of round) found.set(table.name, keys);
      grew = round.length > 0;
    }
  };
  const keysOf = (table: Table) => {
    const wanted = preferred.get(table.name);
    return wanted === undefined ? (references.get(table.name) ?? []) : [wanted];
  };
  spread((table) => {
    const keys = keysOf(table).filter(
      (key) => found.has(key.to) && (preferred.has(table.name) || isMandatory(table, key)),
    );
    return bestFirst(keys, root).slice(0, 1);
  });
  const uninterrupted = new Set(found.keys());
  spread((table) => keysOf(table).filter((key) => found.has(key.to)));
  // A row may have only the key to a table that was found after its own.
  for (const table of candidates.filter(({ name }) => !uninterrupted.has(name))) {
    for (const key of keysOf(table)) {
      const keys = found.get(table.name) ?? [];
      if (keys.includes(key) || !found.has(key.to) || leadsOver(found, key.to, table.name))
        continue;
      found.set(table.name, [...keys, key]);
    }
  }
  return found;
}

/** True when a path from `start` to the root passes through `table`, or starts there. */
function leadsOver(ownership: Ownership, start: string, table: string): boolean {
  return (
    start === table ||
    (ownership.get(start) ?? []).some((step) => leadsOver(ownership, step.to, table))
  );
}

/** Straight to the root before over another table; then fewer columns; then by name. */
function bestFirst(keys: readonly ForeignKey[], root: Root): readonly ForeignKey[] {
  const rank = (key: ForeignKey) => (key.to === root.table ? 0 : 1);
  return [...keys].sort(
    (a, b) =>
      rank(a) - rank(b) || a.columns.length - b.columns.length || (a.name < b.name ? -1 : 1),
  );
}

/** The relation as a FROM item: ordinary tables without children that inherit from them. */
export function relation(table: Table): RawBuilder<unknown> {
  const name = sql.id(table.schema, table.relation);
  return table.kind === "table" ? sql`ONLY ${name}` : name;
}

/**
 * A condition on the row `alias` of `table`: it belongs to the tenant with this key. FALSE,
 * never NULL, for rows whose path is interrupted.
 */
export function ownedBy(
  catalog: Catalog,
  root: Root,
  ownership: Ownership,
  table: Table,
  alias: string,
  tenantKey: string,
  depth = 0,
): RawBuilder<boolean> {
  const key = sql.lit(tenantKey);
  if (table.name === root.table) return sql`(${sql.id(alias, root.key)} = ${key})`;
  const paths = (ownership.get(table.name) ?? []).map((step) => {
    if (leadsToRootKey(step, root)) {
      const [column = root.key] = step.columns;
      const own = step.columns[step.toColumns.indexOf(root.key)] ?? column;
      // Unlike coalesce(…, FALSE) this is a condition that an index can serve.
      const held = sql.id(alias, own);
      return sql`(${held} = ${key} AND ${held} IS NOT NULL)`;
    }
    const parent = catalog.tables.get(step.to);
    if (parent === undefined) return sql`FALSE`;
    const next = `o${depth}`;
    return sql`EXISTS (SELECT FROM ${relation(parent)} AS ${sql.id(next)} WHERE ${conjunction([
      columnsEqual(next, step.toColumns, alias, step.columns),
      ownedBy(catalog, root, ownership, parent, next, tenantKey, depth + 1),
    ])})`;
  });
  return disjunction(paths);
}

/** A condition on the row `alias`: at least one of its paths is not interrupted by a NULL. */
export function hasOwner(ownership: Ownership, table: Table, alias: string): RawBuilder<boolean> {
  const steps = ownership.get(table.name) ?? [];
  return steps.length === 0
    ? sql`TRUE`
    : disjunction(steps.map((step) => allPresent(alias, step.columns)));
}

export function leadsToRootKey(step: ForeignKey, root: Root): boolean {
  return step.to === root.table && step.toColumns.includes(root.key);
}

/**
 * The column of a table that holds the tenant's key itself, if its ownership is that plain.
 * Two rows that agree in it belong to one tenant.
 */
export function tenantColumn(ownership: Ownership, root: Root, table: string): string | undefined {
  if (table === root.table) return root.key;
  const steps = ownership.get(table) ?? [];
  const [step] = steps;
  if (steps.length !== 1 || step === undefined || !leadsToRootKey(step, root)) return undefined;
  return step.columns[step.toColumns.indexOf(root.key)];
}

/**
 * True when the reference cannot leave the tenant: it carries the tenant's key along, as
 * composite keys such as (site_id, tenant_id) do.
 */
export function carriesTenant(ownership: Ownership, root: Root, key: ForeignKey): boolean {
  const own = tenantColumn(ownership, root, key.from);
  const other = tenantColumn(ownership, root, key.to);
  if (own === undefined || other === undefined) return false;
  const at = key.columns.indexOf(own);
  return at >= 0 && key.toColumns[at] === other;
}
