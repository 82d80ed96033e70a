import { type RawBuilder, sql } from "kysely";
import { frame, type ReplacedColumn } from "./redaction-columns.ts";

/** The session's setting with the salt: it never leaves the server, and ends with the transaction. */
export const saltSetting = "pgtenant.salt";

export interface ReplacementRules {
  /** False where e-mail addresses that differ in case alone must stay different. */
  readonly foldCase: boolean;
}

/**
 * The value that stands for the column's in the row `l`: of the column's own type, the same for
 * equal values, NULL for NULL and empty for empty.
 */
export function replacementOf(
  replaced: ReplacedColumn,
  rules: ReplacementRules,
): RawBuilder<unknown> {
  const { column, base, kind } = replaced;
  const value = sql.id("l", column.name);
  const text = sql`${value}::text`;
  // The zeros before the first row of a chain are nobody's.
  const stays =
    kind === "chain"
      ? sql`${text} COLLATE "C" ~ '^(\\\\x)?0*$'`
      : sql`${text} IN (${emptyTexts[base]})`;
  return sql`CASE WHEN ${value} IS NULL OR ${stays} THEN ${value}
      ELSE (${expressionOf(replaced, value, text, rules)})::${sql.raw(column.type)} END`;
}

const emptyTexts: Readonly<Record<ReplacedColumn["base"], RawBuilder<unknown>>> = {
  text: sql`''`,
  bytea: sql`'\\x'`,
  uuid: sql`''`,
  json: sql`'{}', '[]', 'null'`,
  jsonb: sql`'{}', '[]', 'null'`,
  inet: sql`''`,
  cidr: sql`''`,
  macaddr: sql`''`,
  macaddr8: sql`''`,
};

function expressionOf(
  replaced: ReplacedColumn,
  value: RawBuilder<unknown>,
  text: RawBuilder<unknown>,
  rules: ReplacementRules,
): RawBuilder<unknown> {
  const { base, unique } = replaced;
  switch (base) {
    case "text":
      return textFor(replaced, text, rules);
    case "bytea":
      // As long as the hash that it stands for, unless that is too short to stay unique.
      return sql`substring(${digest(text)} FOR
        CASE WHEN octet_length(${value}) BETWEEN 12 AND 32 THEN octet_length(${value}) ELSE 32 END)`;
    case "uuid":
      return sql`left(${hex(text)}, 32)::uuid`;
    case "json":
    case "jsonb": {
      const type = sql.id(`${base}_typeof`);
      return sql`CASE ${type}(${value}) WHEN 'array' THEN '[]'
        WHEN 'object' THEN '{"redacted": "' || left(${hex(text)}, 16) || '"}'
        ELSE '"redacted-' || left(${hex(text)}, 16) || '"' END`;
    }
    case "inet":
      return sql`set_masklen(${address(sql`host(${value})`, sql`family(${value}) = 4`, unique)}, ${
        unique
          ? sql`CASE WHEN family(${value}) = 4 AND masklen(${value}) = 32 THEN 128 ELSE masklen(${value}) END`
          : sql`masklen(${value})`
      })`;
    case "cidr":
      return sql`network(set_masklen(${address(text, sql`family(${value}) = 4`, unique)}, masklen(${value})))`;
    case "macaddr":
      return sql`('02' || left(${hex(text)}, 10))::macaddr`;
    case "macaddr8":
      return sql`('02' || left(${hex(text)}, 14))::macaddr8`;
  }
}

function textFor(
  replaced: ReplacedColumn,
  text: RawBuilder<unknown>,
  { foldCase }: ReplacementRules,
): RawBuilder<unknown> {
  const { kind, limit, unique } = replaced;
  const digits = (wanted: number) =>
    kind === "text" || limit === undefined ? wanted : Math.min(wanted, limit - frame[kind]);
  const hash = (of: RawBuilder<unknown>, wanted: number) =>
    sql`left(${hex(of)}, ${sql.lit(digits(wanted))})`;
  switch (kind) {
    case "secret":
    case "chain":
      return hash(text, 64);
    case "email": {
      const folded = foldCase ? sql`lower(${text} COLLATE "default")` : text;
      return sql`'u-' || ${hash(folded, 16)} || '@example.invalid'`;
    }
    case "name":
      // In the letters of what it stands for, since slugs and host names allow no others.
      return sql`CASE WHEN ${text} COLLATE "C" ~ '[A-Z]' THEN 'Name' ELSE 'name' END
        || CASE WHEN ${text} COLLATE "C" ~ '\\s' THEN ' ' ELSE '-' END || ${hash(text, 14)}`;
    case "address":
      return sql`host(${address(text, sql`position(':' IN ${text}) = 0`, unique)})`;
    case "text": {
      const count = sql`char_length(${text}) || ' characters removed'`;
      const words = unique
        ? sql`'text ' || left(${hex(text)}, 16) || ' of ' || ${count}`
        : sql`'text of ' || ${count}`;
      return limit === undefined ? words : sql`left(${words}, ${sql.lit(limit)})`;
    }
    case "json":
      return sql`'{"redacted": "' || ${hash(text, 16)} || '"}'`;
  }
}

/**
 * An address that nobody has: IPv4 in 10.0.0.0/8, IPv6 in 2001:db8::/32. Where addresses must stay
 * unique all are IPv6, since 24 bits are too few for that.
 */
function address(
  text: RawBuilder<unknown>,
  isOld: RawBuilder<unknown>,
  unique: boolean,
): RawBuilder<unknown> {
  const wide = sql`('2001:db8:' || regexp_replace(left(${hex(text)}, 24), '(....)(?=.)', '\\1:', 'g'))::inet`;
  if (unique) return wide;
  const byte = (at: number) => sql`get_byte(${digest(text)}, ${sql.lit(at)})`;
  return sql`CASE WHEN ${isOld}
    THEN ('10.' || ${byte(0)} || '.' || ${byte(1)} || '.' || ${byte(2)})::inet ELSE ${wide} END`;
}

/** Whoever does not know the salt cannot tell by trying which value it was. */
function digest(text: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`sha256(convert_to(current_setting(${sql.lit(saltSetting)}) || ${text}, 'UTF8'))`;
}

function hex(text: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`encode(${digest(text)}, 'hex')`;
}
