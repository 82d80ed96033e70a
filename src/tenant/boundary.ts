import { sql } from "kysely";
import type { TenantIdentity } from "../bundle/format.ts";
import type { ForeignKey, Table } from "../catalog/catalog.ts";
import { carriesTenant, ownedBy, relation } from "../catalog/ownership.ts";
import { AppError, ExitCode } from "../errors.ts";
import { allPresent, columnsEqual, conjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { isOwned, keyOf, referencesOf } from "../profile/classify.ts";
import type { OpenSchema } from "./open-schema.ts";
import { rowKeyText } from "./row-key.ts";

const maxListed = 1000;

/**
 * Sees to it that no row of the tenant refers to a row of another one, along every reference
 * that does not carry the tenant's key itself.
 *
 * @throws {AppError} exit 4, naming each such row
 */
export async function refuseForeignReferences(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
): Promise<void> {
  const found: string[] = [];
  for (const table of schema.tables) {
    for (const key of referencesOf(schema, table.name)) {
      if (!isOwned(schema, key.to) || carriesTenant(schema.ownership, schema.root, key)) continue;
      const keys = await foreignReferences(session, schema, tenant, table, key);
      found.push(
        ...keys.map((row) => `${table.name} ${row}: ${key.columns.join(", ")} -> ${key.to}`),
      );
    }
  }
  if (found.length === 0) return;
  throw new AppError(
    "cross-tenant-reference",
    ExitCode.refused,
    `${found.length} row(s) of tenant "${tenant.slug ?? tenant.id}" refer to rows of another tenant`,
    {
      hint: "No bundle can hold such a row without the other tenant's. Correct the rows listed, then export again.",
      details: found,
      data: { rows: found },
    },
  );
}

async function foreignReferences(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
  table: Table,
  key: ForeignKey,
): Promise<readonly string[]> {
  const target = schema.catalog.tables.get(key.to);
  if (target === undefined) return [];
  const { catalog, root, ownership } = schema;
  const { rows } = await sql<{ key: string }>`
    SELECT ${rowKeyText("l", keyOf(table))} AS key
      FROM ${relation(table)} AS l
      JOIN ${relation(target)} AS p ON ${columnsEqual("p", key.toColumns, "l", key.columns)}
     WHERE ${conjunction([
       allPresent("l", key.columns),
       ownedBy(catalog, root, ownership, table, "l", tenant.id),
       sql`NOT ${ownedBy(catalog, root, ownership, target, "p", tenant.id)}`,
     ])}
     LIMIT ${maxListed}`.execute(session.db);
  return rows.map((row) => row.key);
}
