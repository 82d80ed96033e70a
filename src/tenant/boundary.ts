import { type RawBuilder, sql } from "kysely";
import type { TenantIdentity } from "../bundle/format.ts";
import type { ForeignKey, Table } from "../catalog/catalog.ts";
import { carriesTenant, ownedBy, relation } from "../catalog/ownership.ts";
import { AppError, ExitCode } from "../errors.ts";
import { allPresent, columnsEqual, conjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { isOwned, referencesOf } from "../profile/classify.ts";
import type { OpenSchema } from "./open-schema.ts";
import { rowKeyOf, rowKeyText } from "./row-key.ts";

const maxListed = 1000;

/**
 * Sees to it that no row of the tenant refers to a row of another one, along every reference
 * that does not carry the tenant's key itself.
 *
 * @param present the tables in which the tenant has rows
 * @throws {AppError} exit 4, naming each such row
 */
export async function refuseForeignReferences(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
  present: ReadonlySet<string>,
): Promise<void> {
  const checks = schema.tables
    .filter((table) => present.has(table.name))
    .flatMap((table) =>
      referencesOf(schema, table.name)
        .filter((key) => isOwned(schema, key.to))
        .filter((key) => !carriesTenant(schema.ownership, schema.root, key))
        .flatMap((key) => foreignReferences(schema, tenant, table, key) ?? []),
    );
  if (checks.length === 0) return;
  const { rows } = await sql<{ row: string }>`
    ${sql.join(checks, sql` UNION ALL `)}`.execute(session.db);
  if (rows.length === 0) return;
  const found = rows.map(({ row }) => row);
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

function foreignReferences(
  schema: OpenSchema,
  tenant: TenantIdentity,
  table: Table,
  key: ForeignKey,
): RawBuilder<unknown> | undefined {
  const target = schema.catalog.tables.get(key.to);
  if (target === undefined) return undefined;
  const { catalog, root, ownership } = schema;
  const before = sql.lit(`${table.name} `);
  const behind = sql.lit(`: ${key.columns.join(", ")} -> ${key.to}`);
  return sql`(SELECT concat(${before}, ${rowKeyText("l", rowKeyOf(schema, table))}, ${behind}) AS row
      FROM ${relation(table)} AS l
      JOIN ${relation(target)} AS p ON ${columnsEqual("p", key.toColumns, "l", key.columns)}
     WHERE ${conjunction([
       allPresent("l", key.columns),
       ownedBy(catalog, root, ownership, table, "l", tenant.id),
       sql`NOT ${ownedBy(catalog, root, ownership, target, "p", tenant.id)}`,
     ])}
     LIMIT ${sql.lit(maxListed)})`;
}
