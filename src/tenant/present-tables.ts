import { sql } from "kysely";
import type { TenantIdentity } from "../bundle/format.ts";
import { ownedBy, relation } from "../catalog/ownership.ts";
import type { Session } from "../postgres/session.ts";
import type { OpenSchema } from "./open-schema.ts";

/**
 * The tables in which the tenant has a row at all. One statement says it of all of them, and the
 * others need not be read: a small tenant has rows in a few tables only, and a statement for each
 * of the others takes longer than its rows.
 */
export async function presentTables(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
): Promise<ReadonlySet<string>> {
  const { catalog, root, ownership, tables } = schema;
  const found = tables.map(
    (table) => sql`EXISTS (SELECT FROM ${relation(table)} AS l
      WHERE ${ownedBy(catalog, root, ownership, table, "l", tenant.id)})`,
  );
  const { rows } = await sql<{ present: readonly string[] }>`
    SELECT ARRAY[${sql.join(found)}]::text[] AS present`.execute(session.db);
  const present = rows[0]?.present ?? [];
  return new Set(tables.filter((_, i) => present[i] === "true").map(({ name }) => name));
}
