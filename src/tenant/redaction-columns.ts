import { sql } from "kysely";
import { type Column, columnOf, storedColumns, type Table } from "../catalog/catalog.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Session } from "../postgres/session.ts";
import { referencesOf } from "../profile/classify.ts";
import type { PersonalValue } from "../profile/profile.ts";
import type { OpenSchema } from "./open-schema.ts";

/** `chain`: a hash over values that are replaced, by which they could be guessed. */
export type ReplacedKind = "secret" | "chain" | PersonalValue;

/** A column whose values are replaced, and what its type has room for. */
export interface ReplacedColumn {
  readonly table: Table;
  readonly column: Column;
  readonly kind: ReplacedKind;
  /** Below all domains. */
  readonly base: BaseType;
  /** The longest text, in characters; undefined where there is no limit. */
  readonly limit: number | undefined;
  /** Values that differ must stay different: a unique index reads the column. */
  readonly unique: boolean;
}

export type BaseType =
  | "text"
  | "bytea"
  | "uuid"
  | "json"
  | "jsonb"
  | "inet"
  | "cidr"
  | "macaddr"
  | "macaddr8";

export interface ReplacedColumns {
  readonly columns: readonly ReplacedColumn[];
  readonly warnings: readonly string[];
}

/**
 * The columns to replace by the profile: its secrets, with `personal` also those that name people
 * and places.
 *
 * @throws {AppError} exit 2, naming each column that cannot be replaced
 */
export async function findReplacedColumns(
  session: Session,
  schema: OpenSchema,
  personal: boolean,
): Promise<ReplacedColumns> {
  const wanted = new Map<string, { table: Table; column: Column; kind: ReplacedKind }>();
  const warnings: string[] = [];
  const want = (table: Table, name: string, kind: ReplacedKind) => {
    const column = columnOf(table, name);
    const place = `${table.name}.${name}`;
    if (column === undefined) {
      warnings.push(`the profile names column "${place}", which the database does not have`);
    } else if (column.generatedAs === undefined && !wanted.has(place)) {
      wanted.set(place, { table, column, kind });
    }
  };
  for (const table of schema.tables) {
    for (const name of schema.profile.secrets[table.name] ?? []) want(table, name, "secret");
    if (personal) {
      for (const [name, kind] of Object.entries(schema.profile.personal[table.name] ?? {})) {
        want(table, name, kind);
      }
    }
    const chain = schema.profile.chain[table.name];
    const replaced = wanted.values().some((entry) => entry.table === table);
    if (chain === undefined || !replaced) continue;
    want(table, chain.previous, "chain");
    want(table, chain.own, "chain");
  }
  const types = await readBaseTypes(session, [...wanted.values()]);
  const refused: string[] = [];
  const columns = [...wanted].flatMap(([place, entry]) => {
    if (entry.table.name === schema.root.table && entry.column.name === schema.root.key) {
      refused.push(`${place}: other rows know the tenant by it`);
      return [];
    }
    const type = types.get(place);
    const base = type === undefined ? undefined : baseTypeOf(type.base);
    if (base === undefined) {
      refused.push(`${place}: its type, ${entry.column.type}, has no replacement`);
      return [];
    }
    return [{ ...entry, base, limit: type?.limit, unique: isUnique(entry.table, entry.column) }];
  });
  refused.push(...tooShort(columns));
  const linked = withReferences(schema, columns);
  refused.push(...linked.refused);
  const [first] = refused;
  if (first !== undefined) {
    throw new AppError(
      "cannot-redact",
      ExitCode.usage,
      refused.length === 1
        ? `a column cannot be redacted: ${first}`
        : `${refused.length} columns cannot be redacted, such as ${first}`,
      {
        hint: 'Change what the profile says of it under "secrets" or "personal"; docs/profile.md tells which types take which replacement.',
        details: refused,
        data: { columns: refused },
      },
    );
  }
  return { columns: linked.columns, warnings };
}

/** What a hash has to have so that two of a tenant's values hardly ever share it. */
export const uniqueDigits = 12;
export const fewestDigits = 4;

/** Characters around the hash, by kind of text. */
export const frame: Readonly<Record<Exclude<ReplacedKind, "text">, number>> = {
  secret: 0,
  chain: 0,
  email: "u-@example.invalid".length,
  name: "name-".length,
  address: "2001:db8::".length,
  json: '{"redacted": ""}'.length,
};

function tooShort(columns: readonly ReplacedColumn[]): readonly string[] {
  return columns.flatMap(({ table, column, kind, base, limit, unique }) => {
    if (base !== "text" || limit === undefined || (kind === "text" && !unique)) return [];
    const around = kind === "text" ? "text  of 0 characters removed".length : frame[kind];
    const needed = around + (unique ? uniqueDigits : fewestDigits);
    return limit >= needed
      ? []
      : [
          `${table.name}.${column.name}: its type, ${column.type}, is too short for a replacement (${needed} characters)`,
        ];
  });
}

function isUnique(table: Table, column: Column): boolean {
  return (
    table.key?.includes(column.name) === true ||
    table.uniqueIndexes.some((index) => index.dependsOn.includes(column.name))
  );
}

/** Both ends of a reference have to get the same value, or the bundle's rows lose each other. */
function withReferences(
  schema: OpenSchema,
  columns: readonly ReplacedColumn[],
): { columns: readonly ReplacedColumn[]; refused: readonly string[] } {
  const byPlace = new Map(columns.map((c) => [`${c.table.name}.${c.column.name}`, c]));
  const refused: string[] = [];
  for (const table of schema.tables) {
    for (const key of referencesOf(schema, table.name)) {
      for (const [i, name] of key.columns.entries()) {
        const [here, there] = [`${table.name}.${name}`, `${key.to}.${key.toColumns[i] ?? ""}`];
        const [from, to] = [byPlace.get(here), byPlace.get(there)];
        if (from === undefined && to === undefined) continue;
        if (
          from === undefined ||
          to === undefined ||
          from.kind !== to.kind ||
          from.base !== to.base ||
          from.limit !== to.limit
        ) {
          refused.push(
            `${from === undefined ? there : here}: it is one end of the reference from ${here} to ${there}, and both have to be replaced in the same way`,
          );
        } else if (to.unique && !from.unique) {
          byPlace.set(here, { ...from, unique: true });
        }
      }
    }
  }
  return { columns: [...byPlace.values()], refused };
}

interface BaseTypeRow {
  readonly oid: number;
  readonly name: string;
  readonly base: string;
  readonly length: number | null;
}

async function readBaseTypes(
  session: Session,
  entries: readonly { readonly table: Table; readonly column: Column }[],
): Promise<ReadonlyMap<string, { readonly base: string; readonly limit: number | undefined }>> {
  if (entries.length === 0) return new Map();
  const { rows } = await sql<BaseTypeRow>`
    WITH RECURSIVE below (oid, name, type, modifier) AS (
      SELECT attrelid, attname, atttypid, atttypmod FROM pg_attribute
       WHERE attrelid = ANY (${entries.map((entry) => entry.table.oid)}::oid[])
         AND attnum > 0 AND NOT attisdropped
      UNION ALL
      SELECT b.oid, b.name, t.typbasetype, t.typtypmod
        FROM below AS b JOIN pg_type AS t ON t.oid = b.type AND t.typtype = 'd' /*domain*/
    )
    SELECT b.oid::int8::float8 AS oid, b.name,
           CASE WHEN n.nspname = 'pg_catalog' OR t.typname = 'citext' THEN t.typname ELSE '' END AS base,
           CASE WHEN t.typname IN ('varchar', 'bpchar') AND b.modifier > 4 THEN b.modifier - 4 END AS length
      FROM below AS b JOIN pg_type AS t ON t.oid = b.type JOIN pg_namespace AS n ON n.oid = t.typnamespace
     WHERE t.typtype <> 'd'`.execute(session.db);
  const tables = new Map(entries.map(({ table }) => [table.oid, table.name]));
  return new Map(
    rows.map((row) => [
      `${tables.get(Number(row.oid)) ?? ""}.${row.name}`,
      { base: row.base, limit: row.base === "name" ? 63 : (row.length ?? undefined) },
    ]),
  );
}

const texts = new Set(["text", "varchar", "bpchar", "citext", "name"]);
const others = new Set(["bytea", "uuid", "json", "jsonb", "inet", "cidr", "macaddr", "macaddr8"]);

function baseTypeOf(name: string): BaseType | undefined {
  if (texts.has(name)) return "text";
  return others.has(name) ? (name as BaseType) : undefined;
}

/** Columns that may hold free text and are not replaced. */
export function unnamedTexts(
  schema: OpenSchema,
  replaced: readonly ReplacedColumn[],
): readonly string[] {
  const known = new Set(replaced.map(({ table, column }) => `${table.name}.${column.name}`));
  return schema.tables.flatMap((table) => {
    const chain = schema.profile.chain[table.name];
    return storedColumns(table)
      .filter(({ name }) => name !== chain?.previous && name !== chain?.own)
      .filter(({ encoding }) => encoding.as === "text" || encoding.shape === "string")
      .filter(({ type }) => !/^(bit|inet|cidr|macaddr|time|interval|reg)/.test(type))
      .map(({ name }) => `${table.name}.${name}`)
      .filter((place) => !known.has(place));
  });
}
