import { type RawBuilder, sql } from "kysely";
import type { Column } from "../catalog/catalog.ts";
import type { ColumnDifference } from "./diff-types.ts";
import { maxValueCharacters } from "./diff-types.ts";
import { recordsDiffer } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import type { StagedTable } from "./staging.ts";

/** A value and its whole length, as the server hands them over; null for NULL. */
export type SentValue = readonly [text: string, length: number] | null;

export interface SentColumn {
  readonly column: string;
  readonly secret?: true;
  readonly live?: SentValue;
  readonly bundle?: SentValue;
}

const maxLabelCharacters = 120;

/**
 * The columns in which the rows `l` and `s` differ, as a JSON array. A secret's value does not
 * leave the server.
 */
export function differingColumns(staged: StagedTable): RawBuilder<unknown> {
  const { secrets } = staged;
  const each = staged.columns.map((column) => {
    const name = sql.lit(column.name);
    const sent = secrets.includes(column.name)
      ? sql`json_build_object('column', ${name}, 'secret', TRUE)`
      : sql`json_build_object('column', ${name},
          'live', ${sentValue(column, "l")}, 'bundle', ${sentValue(column, "s")})`;
    return sql`CASE WHEN ${recordsDiffer("l", "s", [column.name])} THEN ${sent}::text END`;
  });
  // A function takes a hundred arguments at most, and a table may have more columns.
  return sql`concat('[', array_to_string(ARRAY[${sql.join(each)}]::text[], ','), ']')::json`;
}

function sentValue(column: Column, alias: string): RawBuilder<unknown> {
  const value = sql.id(alias, column.name);
  const [text, length] = isBytes(column)
    ? [
        sql`concat('\\x', encode(substring(${value} FROM 1 FOR ${sql.lit(maxValueCharacters / 2)}), 'hex'))`,
        sql`octet_length(${value})`,
      ]
    : [sql`left(${value}::text, ${sql.lit(maxValueCharacters)})`, sql`length(${value}::text)`];
  return sql`CASE WHEN ${value} IS NOT DISTINCT FROM NULL THEN NULL ELSE json_build_array(${text}, ${length}) END`;
}

export function columnDifference(column: Column | undefined, sent: SentColumn): ColumnDifference {
  if (sent.secret === true) return { column: sent.column, secret: true };
  const bytes = column !== undefined && isBytes(column);
  const limit = bytes ? maxValueCharacters / 2 : maxValueCharacters;
  const text = (value: SentValue | undefined) => value?.[0] ?? null;
  const cut = (value: SentValue | undefined) =>
    value === null || value === undefined || value[1] <= limit ? undefined : value[1];
  const liveLength = cut(sent.live);
  const bundleLength = cut(sent.bundle);
  return {
    column: sent.column,
    live: text(sent.live),
    bundle: text(sent.bundle),
    ...(liveLength === undefined ? {} : { liveLength }),
    ...(bundleLength === undefined ? {} : { bundleLength }),
    ...(bytes ? { bytes } : {}),
  };
}

/** What people call the row `alias`; undefined where the profile does not say. */
export function rowLabel(
  schema: OpenSchema,
  staged: StagedTable,
  alias: string,
): RawBuilder<unknown> | undefined {
  const { table } = staged;
  const { root, groups } = schema.profile;
  const named = Object.values(groups).filter((group) => group.tables[0] === table.name);
  const columns = [
    ...named.flatMap((group) => group.by),
    ...(table.name === root.table ? [root.label ?? [], root.lookup].flat() : []),
  ].filter(
    (column) =>
      staged.present.has(column) &&
      !staged.key.includes(column) &&
      !staged.secrets.includes(column),
  );
  if (columns.length === 0) return undefined;
  const values = columns.map((column) => sql`${sql.id(alias, column)}::text`);
  return sql`left(coalesce(${sql.join(values)}), ${sql.lit(maxLabelCharacters)})`;
}

function isBytes(column: Column): boolean {
  return column.plainType === "bytea";
}
