import { isDeepStrictEqual } from "node:util";
import { type Column, storedColumns, type Table, type ValueShape } from "../catalog/catalog.ts";
import type { BundleColumn, JsonSchema } from "./format.ts";

/** `numeric` and floats print these as strings, since JSON numbers cannot say them. */
const notANumber = ["NaN", "Infinity", "-Infinity"];

const shapeSchemas: Readonly<Record<Exclude<ValueShape, "enum">, JsonSchema>> = {
  boolean: { type: "boolean" },
  int16: { type: "integer", minimum: -32768, maximum: 32767 },
  int32: { type: "integer", minimum: -2147483648, maximum: 2147483647 },
  // Beyond 2^53 a validator's own numbers are too coarse for exact bounds.
  int64: { type: "integer" },
  number: { anyOf: [{ type: "number" }, { enum: notANumber }] },
  uuid: { type: "string", format: "uuid" },
  date: { type: "string", format: "postgres-date" },
  timestamp: { type: "string", format: "postgres-timestamp" },
  timestamptz: { type: "string", format: "postgres-timestamptz" },
  string: { type: "string" },
};

/** The JSON Schema of one column's values, made from the catalog alone. */
export function columnSchema(column: Column): JsonSchema {
  const schema = valueSchema(column);
  return column.notNull ? schema : orNull(schema);
}

function valueSchema(column: Column): JsonSchema {
  const { encoding } = column;
  if (encoding.as === "text") {
    return encoding.json
      ? { type: "string", contentMediaType: "application/json" }
      : { type: "string" };
  }
  if (encoding.shape === "enum") return { enum: column.enumLabels ?? [] };
  return { ...shapeSchemas[encoding.shape], ...lengthLimit(column) };
}

/** PostgreSQL counts characters as JSON Schema does; char(n) is padded to exactly n. */
function lengthLimit(column: Column): JsonSchema {
  const [, kind, length] = /^character( varying)?\((\d+)\)$/.exec(column.type) ?? [];
  if (length === undefined) return {};
  const limit = Number(length);
  return kind === undefined ? { minLength: limit, maxLength: limit } : { maxLength: limit };
}

function orNull(schema: JsonSchema): JsonSchema {
  if (Array.isArray(schema.enum)) return { ...schema, enum: [...schema.enum, null] };
  if (Array.isArray(schema.anyOf)) {
    return { ...schema, anyOf: [...schema.anyOf, { type: "null" }] };
  }
  return { ...schema, type: [schema.type, "null"] };
}

/** Exactly these columns, each in the given form. */
export function closedRowSchema(properties: ReadonlyMap<string, JsonSchema>): JsonSchema {
  return {
    type: "object",
    properties: Object.fromEntries(properties),
    required: [...properties.keys()],
    additionalProperties: false,
  };
}

export interface ShippedTable {
  readonly properties: Readonly<Record<string, JsonSchema>>;
}

export interface RowSchema {
  readonly schema: JsonSchema;
  /** Columns whose type in the database is not that of the shipped schema. */
  readonly differing: readonly string[];
}

/**
 * The schema of a table's rows: the shipped one where it has the column and the database
 * agrees with it, the catalog's own types for everything else.
 */
export function rowSchemaOf(table: Table, shipped: ShippedTable | undefined): RowSchema {
  const properties = new Map<string, JsonSchema>();
  const differing: string[] = [];
  for (const column of storedColumns(table)) {
    const own = columnSchema(column);
    const known =
      shipped !== undefined && Object.hasOwn(shipped.properties, column.name)
        ? shipped.properties[column.name]
        : undefined;
    const agrees = known !== undefined && isDeepStrictEqual(withoutNotes(known), own);
    if (known !== undefined && !agrees) differing.push(column.name);
    properties.set(column.name, agrees ? withoutNotes(known) : own);
  }
  return { schema: closedRowSchema(properties), differing };
}

/** The schema without what it only tells people. */
export function withoutNotes(schema: JsonSchema): JsonSchema {
  const { title: _title, description: _description, ...rest } = schema;
  return rest;
}

export function bundleColumns(table: Table): readonly BundleColumn[] {
  return storedColumns(table).map((column) => ({
    name: column.name,
    type: column.type,
    nullable: !column.notNull,
    encoding: column.encoding.as,
  }));
}
