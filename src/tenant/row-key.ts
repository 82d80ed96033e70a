import { type RawBuilder, sql } from "kysely";

/** A row's key as messages show it: `(id)=(42)`, as PostgreSQL itself writes it; secret columns as `***`. */
export function rowKeyText(
  alias: string,
  columns: readonly string[],
  secrets: readonly string[] = [],
): RawBuilder<string> {
  const values = columns.map((column) =>
    secrets.includes(column) ? sql`'***'` : sql`${sql.id(alias, column)}::text`,
  );
  return sql`concat(${sql.lit(`(${columns.join(", ")})=(`)}, concat_ws(', ', ${sql.join(values)}), ')')`;
}
