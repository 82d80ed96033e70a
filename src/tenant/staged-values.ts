import { type RawBuilder, sql } from "kysely";
import type { Session } from "../postgres/session.ts";
import { type MatchedColumn, withoutModifier } from "./target-match.ts";

/** The server's own names of the types that the bundle's columns had; undefined if it has none. */
export type OldTypes = ReadonlyMap<string, string | undefined>;

/** A type that comes from a bundle is only compared; what stands in SQL is the server's name. */
export async function readOldTypes(
  session: Session,
  columns: readonly MatchedColumn[],
): Promise<OldTypes> {
  const types = new Map<string, string | undefined>();
  for (const { changedFrom } of columns) {
    if (changedFrom === undefined || types.has(changedFrom)) continue;
    const { rows } = await sql<{ name: string }>`
      SELECT format_type(oid, -1) AS name FROM pg_catalog.pg_type
       WHERE typnamespace = 'pg_catalog'::regnamespace
         AND format_type(oid, NULL) = ${withoutModifier(changedFrom)}`.execute(session.db);
    types.set(changedFrom, rows[0]?.name);
  }
  return types;
}

/** The type in which json_to_recordset hands a value over, before it is cast to the column's. */
export function recordType({ column, changedFrom }: MatchedColumn): string {
  return column.encoding.as === "value" && changedFrom === undefined ? column.plainType : "text";
}

/** The value of the record `r` in the column's type. */
export function typedValue(matched: MatchedColumn): RawBuilder<unknown> {
  const { column } = matched;
  const value = sql.id("r", column.name);
  return recordType(matched) === column.type ? value : sql`${value}::${sql.raw(column.type)}`;
}

/** Another type, or a length or precision, can cut or round a value without an error. */
export function mayAlter({ column, inBundle, changedFrom }: MatchedColumn): boolean {
  return inBundle && (changedFrom !== undefined || column.type !== column.plainType);
}

/** Their values compare as numbers, however they are written. */
const numericTypes: ReadonlySet<string> = new Set([
  "smallint",
  "integer",
  "bigint",
  "numeric",
  "real",
  "double precision",
]);

/**
 * A condition on the record `r`: its value is not what the bundle has. Where the type is another
 * one, the value is brought back into the old type; if that is unknown, the texts are compared.
 */
export function isCut(
  { column, changedFrom }: MatchedColumn,
  oldTypes: OldTypes,
): RawBuilder<boolean> {
  const value = sql.id("r", column.name);
  const typed = sql`${value}::${sql.raw(column.type)}`;
  if (changedFrom === undefined) {
    const plain = sql.raw(column.plainType);
    return column.encoding.as === "value"
      ? sql`(${typed})::${plain} IS DISTINCT FROM ${value}`
      : sql`(${typed})::text IS DISTINCT FROM (${value}::${plain})::text`;
  }
  const old = oldTypes.get(changedFrom);
  if (old === undefined) return sql`(${typed})::text IS DISTINCT FROM ${value}`;
  if (numericTypes.has(old)) {
    return sql`(${typed})::text::numeric IS DISTINCT FROM ${value}::numeric`;
  }
  // The form of a json value is nothing that jsonb could keep.
  const type = sql.raw(old === "json" ? "jsonb" : old);
  return sql`(${typed})::text::${type}::text IS DISTINCT FROM ${value}::${type}::text`;
}
