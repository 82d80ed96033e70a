import { type RawBuilder, sql } from "kysely";

/**
 * The name under which a table stands in bundles, profiles and messages: `public.sites`,
 * `app."Order Items"`. A part is quoted when it is not a plain lower-case word; keywords are
 * not, since the list of keywords differs between server versions and names must not.
 */
export function qualifiedName(schema: string, name: string): string {
  return `${displayIdentifier(schema)}.${displayIdentifier(name)}`;
}

function displayIdentifier(identifier: string): string {
  return /^[a-z_][a-z0-9_$]*$/.test(identifier)
    ? identifier
    : `"${identifier.replaceAll('"', '""')}"`;
}

/** `"a", "b"`: column names as SQL, each behind `alias.` if one is given. */
export function columnList(names: readonly string[], alias?: string): RawBuilder<unknown> {
  return sql.join(names.map((name) => (alias === undefined ? sql.id(name) : sql.id(alias, name))));
}

/** `l."a" = r."x" AND l."b" = r."y"`: two column lists of one length compared pairwise. */
export function columnsEqual(
  left: string,
  leftColumns: readonly string[],
  right: string,
  rightColumns: readonly string[] = leftColumns,
): RawBuilder<boolean> {
  return conjunction(
    leftColumns.map(
      (column, i) =>
        sql<boolean>`${sql.id(left, column)} = ${sql.id(right, rightColumns[i] ?? column)}`,
    ),
  );
}

/** All of the conditions; `TRUE` for none. */
export function conjunction(conditions: readonly RawBuilder<unknown>[]): RawBuilder<boolean> {
  return conditions.length === 0 ? sql`TRUE` : sql`(${sql.join(conditions, sql` AND `)})`;
}

/** Any of the conditions; `FALSE` for none. */
export function disjunction(conditions: readonly RawBuilder<unknown>[]): RawBuilder<boolean> {
  return conditions.length === 0 ? sql`FALSE` : sql`(${sql.join(conditions, sql` OR `)})`;
}

/** Every column NOT NULL, as `MATCH SIMPLE` foreign keys need to be checked at all. */
export function allPresent(alias: string, columns: readonly string[]): RawBuilder<boolean> {
  return conjunction(columns.map((column) => sql`${sql.id(alias, column)} IS NOT NULL`));
}
