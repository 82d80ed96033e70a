import { sql } from "kysely";
import type { TenantIdentity } from "../bundle/format.ts";
import type { Table } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import { type ConnectionOptions, type Session, withSession } from "../postgres/session.ts";
import type { ProgressListener } from "../progress.ts";
import { withSnapshot } from "./export.ts";
import { listIdentities } from "./find-tenant.ts";
import { type OpenSchema, openSchema, type SchemaOptions } from "./open-schema.ts";
import { ownerKey } from "./owner.ts";

export interface TenantSummary extends TenantIdentity {
  readonly totalRows: number;
  /** By table, parents first; tables without rows of the tenant are there with 0. */
  readonly rows: Readonly<Record<string, number>>;
}

export interface TenantList {
  readonly tenants: readonly TenantSummary[];
  readonly warnings: readonly string[];
}

/** Counts every tenant's rows in one snapshot: one grouped query a table, however many tenants. */
export function listTenants(
  connection: ConnectionOptions,
  options: SchemaOptions,
  progress: ProgressListener,
): Promise<TenantList> {
  return withSession(connection, async (session) => {
    const schema = await openSchema(session, options);
    return await withSnapshot(session, schema, async () => {
      const identities = await listIdentities(session, schema);
      const counts = new Map<string, Map<string, number>>();
      for (const table of schema.tables) {
        const found = await countByTenant(session, schema, table);
        counts.set(table.name, found);
        progress.advance(
          table.name,
          found.values().reduce((sum, rows) => sum + rows, 0),
        );
      }
      const tenants = identities.map((identity): TenantSummary => {
        const rows = Object.fromEntries(
          schema.tables.map(({ name }) => [name, counts.get(name)?.get(identity.id) ?? 0]),
        );
        const totalRows = Object.values(rows).reduce((sum, count) => sum + count, 0);
        return { ...identity, totalRows, rows };
      });
      const uncounted = schema.unclassified.map(
        (table) => `table "${table}" is not classified; its rows are not counted`,
      );
      return { tenants, warnings: [...schema.warnings, ...uncounted] };
    });
  });
}

async function countByTenant(
  session: Session,
  schema: OpenSchema,
  table: Table,
): Promise<Map<string, number>> {
  const { key, joins } = ownerKey(schema, table, "l");
  const { rows } = await sql<{ tenant: string | null; count: string }>`
    SELECT ${key} AS tenant, count(*) AS count
      FROM ${relation(table)} AS l ${sql.join(joins, sql` `)}
     GROUP BY 1`.execute(session.db);
  return new Map(
    rows.flatMap((row) => (row.tenant === null ? [] : [[row.tenant, Number(row.count)] as const])),
  );
}
