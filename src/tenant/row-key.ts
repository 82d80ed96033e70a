import { type RawBuilder, sql } from "kysely";
import type { Table } from "../catalog/catalog.ts";
import { keyOf, type TenantSchema } from "../profile/classify.ts";

/** What a row's key consists of, and which columns must not be shown. */
export interface RowKey {
  readonly key: readonly string[];
  readonly secrets: readonly string[];
}

/** A row's key as messages show it: `(id)=(42)`, as PostgreSQL itself writes it; secret columns as `***`. */
export function rowKeyText(alias: string, { key, secrets }: RowKey): RawBuilder<string> {
  const values = key.map((column) =>
    secrets.includes(column) ? sql`'***'` : sql`${sql.id(alias, column)}::text`,
  );
  return sql`concat(${sql.lit(`(${key.join(", ")})=(`)}, concat_ws(', ', ${sql.join(values)}), ')')`;
}

/** The key of a live table's rows. */
export function rowKeyOf(schema: TenantSchema, table: Table, key = keyOf(table)): RowKey {
  return { key, secrets: schema.profile.secrets[table.name] ?? [] };
}
