import assert from "node:assert/strict";
import { sql } from "kysely";
import { ownedBy, relation } from "../../src/catalog/ownership.ts";
import { findTenant } from "../../src/tenant/find-tenant.ts";
import type { SchemaOptions } from "../../src/tenant/open-schema.ts";
import type { TestDatabase } from "./database.ts";
import { withTenantSchema } from "./tenant-bundle.ts";

/** By table: every row of a tenant, each column's value as PostgreSQL prints it. */
export type TenantRows = ReadonlyMap<string, readonly Readonly<Record<string, string | null>>[]>;

export function tenantRows(
  database: TestDatabase,
  tenant: string,
  options: Partial<SchemaOptions> = {},
): Promise<TenantRows> {
  return withTenantSchema(
    database.url,
    async (session, schema) => {
      const { id } = await findTenant(session, schema, tenant);
      const { catalog, root, ownership } = schema;
      const rows = new Map<string, Record<string, string | null>[]>();
      for (const table of schema.tables) {
        const columns = table.columns.map(
          ({ name }) =>
            sql`CASE WHEN ${sql.id("l", name)} IS NOT NULL THEN format('%s', ${sql.id("l", name)}) END AS ${sql.id(name)}`,
        );
        const found = await sql<Record<string, string | null>>`
          SELECT ${sql.join(columns)} FROM ${relation(table)} AS l
           WHERE ${ownedBy(catalog, root, ownership, table, "l", id)}
           ORDER BY ${sql.join((table.key ?? []).map((key) => sql.id("l", key)))}`.execute(
          session.db,
        );
        rows.set(table.name, found.rows);
      }
      return rows;
    },
    options,
  );
}

const uuid = /[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}/gi;

/** Every uuid that a tenant's rows are known by, without hyphens. */
export function idsOf(rows: TenantRows): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const each of [...rows.values()].flat()) {
    const own = each.id;
    if (own != null && own.match(uuid)?.[0] === own) ids.add(own.replaceAll("-", ""));
  }
  return ids;
}

/** Asserts that no column of any row says an id of `ids`, in whatever form. */
export function assertNoIds(rows: TenantRows, ids: ReadonlySet<string>): void {
  for (const [table, each] of rows) {
    for (const row of each) {
      for (const [column, value] of Object.entries(row)) {
        const text = value?.toLowerCase().replaceAll("-", "") ?? "";
        if (text.length < 32) continue;
        for (const token of text.match(/[0-9a-f]{32,}/g) ?? []) {
          for (let i = 0; i + 32 <= token.length; i += 1) {
            assert.ok(!ids.has(token.slice(i, i + 32)), `${table}.${column}: ${value}`);
          }
        }
      }
    }
  }
}

/** Rows per table, and for each reference how many rows each parent has, sorted. */
export function shapeOf(
  database: TestDatabase,
  tenant: string,
  leftOut: readonly string[],
  options: Partial<SchemaOptions> = {},
): Promise<Readonly<Record<string, readonly number[]>>> {
  return withTenantSchema(
    database.url,
    async (session, schema) => {
      const { id } = await findTenant(session, schema, tenant);
      const { catalog, root, ownership } = schema;
      const shape: Record<string, readonly number[]> = {};
      for (const table of schema.tables.filter(({ name }) => !leftOut.includes(name))) {
        const mine = ownedBy(catalog, root, ownership, table, "l", id);
        const { rows } = await sql<{ count: string }>`
          SELECT count(*) AS count FROM ${relation(table)} AS l WHERE ${mine}`.execute(session.db);
        shape[table.name] = rows.map((row) => Number(row.count));
        for (const key of schema.references.get(table.name) ?? []) {
          const columns = key.columns.map((column) => sql.id("l", column));
          const children = await sql<{ count: string }>`
            SELECT count(*) AS count FROM ${relation(table)} AS l
             WHERE ${mine} AND num_nulls(${sql.join(columns)}) = 0
             GROUP BY ${sql.join(columns)} ORDER BY 1`.execute(session.db);
          shape[`${table.name} ${key.name}`] = children.rows.map((row) => Number(row.count));
        }
      }
      return shape;
    },
    options,
  );
}
