import { type RawBuilder, sql } from "kysely";
import type { ForeignKey, Table } from "../catalog/catalog.ts";
import { leadsToRootKey, relation } from "../catalog/ownership.ts";
import { columnsEqual } from "../postgres/identifiers.ts";
import type { TenantSchema } from "../profile/classify.ts";

/** How a row's tenant is found: an expression, and what has to be joined for it. */
export interface OwnerKey {
  /** The tenant's key as text; NULL for a row that belongs to nobody. */
  readonly key: RawBuilder<string | null>;
  readonly joins: readonly RawBuilder<unknown>[];
}

/** The tenant of each row of `table`, known as `alias` in FROM. */
export function ownerKey(schema: TenantSchema, table: Table, alias: string): OwnerKey {
  if (table.name === schema.root.table) {
    return { key: sql`${sql.id(alias, schema.root.key)}::text`, joins: [] };
  }
  const paths = (schema.ownership.get(table.name) ?? []).map((step, i) =>
    alongPath(schema, step, alias, `${alias}${i}`),
  );
  const keys = paths.map((path) => path.key);
  return {
    key: keys.length === 1 && keys[0] !== undefined ? keys[0] : sql`coalesce(${sql.join(keys)})`,
    joins: paths.flatMap((path) => path.joins),
  };
}

/** The tenant that one reference of a row leads to. */
export function alongPath(
  schema: TenantSchema,
  step: ForeignKey,
  alias: string,
  next: string,
): OwnerKey {
  if (leadsToRootKey(step, schema.root)) {
    const column = step.columns[step.toColumns.indexOf(schema.root.key)] ?? schema.root.key;
    return { key: sql`${sql.id(alias, column)}::text`, joins: [] };
  }
  const parent = schema.catalog.tables.get(step.to);
  if (parent === undefined) return { key: sql`NULL::text`, joins: [] };
  const above = ownerKey(schema, parent, next);
  const condition = columnsEqual(next, step.toColumns, alias, step.columns);
  // What a constraint points to is unique; what the profile declares need not be.
  const join =
    step.source === "constraint"
      ? sql`LEFT JOIN ${relation(parent)} AS ${sql.id(next)} ON ${condition}`
      : sql`LEFT JOIN LATERAL (SELECT * FROM ${relation(parent)} AS ${sql.id(next)}
              WHERE ${condition} LIMIT 1) AS ${sql.id(next)} ON TRUE`;
  return { key: above.key, joins: [join, ...above.joins] };
}
