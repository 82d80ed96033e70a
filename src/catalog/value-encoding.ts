import type { Encoding, ValueShape } from "./catalog.ts";

/** A row of pg_type, as far as the encoding of its values depends on it. */
export interface TypeRow {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** 'b' base, 'c' composite, 'd' domain, 'e' enum, 'm' multirange, 'p' pseudo, 'r' range */
  readonly kind: string;
  readonly baseType: number;
}

/** Types of pg_catalog whose `row_to_json` form reads back to the same bits. */
const safeShapes: Readonly<Record<string, ValueShape>> = {
  bool: "boolean",
  int2: "int16",
  int4: "int32",
  int8: "int64",
  float4: "number",
  float8: "number",
  numeric: "number",
  uuid: "uuid",
  date: "date",
  timestamp: "timestamp",
  timestamptz: "timestamptz",
  text: "string",
  varchar: "string",
  bpchar: "string",
  name: "string",
  char: "string",
  time: "string",
  timetz: "string",
  interval: "string",
  inet: "string",
  cidr: "string",
  macaddr: "string",
  macaddr8: "string",
  bytea: "string",
  bit: "string",
  varbit: "string",
  // Not as text: its cast from text is not its input function, and refuses "-".
  regclass: "string",
};

/** A domain travels like the type below it, however many domains lie between. */
export function encodingOf(typeOid: number, types: ReadonlyMap<number, TypeRow>): Encoding {
  const type = underlyingType(typeOid, types);
  if (type?.kind === "e") return { as: "value", shape: "enum" };
  if (type?.schema !== "pg_catalog") return { as: "text", json: false };
  const shape = Object.hasOwn(safeShapes, type.name) ? safeShapes[type.name] : undefined;
  return shape === undefined
    ? { as: "text", json: type.name === "json" || type.name === "jsonb" }
    : { as: "value", shape };
}

export function underlyingType(
  typeOid: number,
  types: ReadonlyMap<number, TypeRow>,
): TypeRow | undefined {
  let type = types.get(typeOid);
  while (type?.kind === "d") type = types.get(type.baseType);
  return type;
}
