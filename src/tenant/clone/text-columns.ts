import type { Column } from "../../catalog/catalog.ts";

/** Types whose text has no place for an id, though it travels as a string. */
const idless: ReadonlySet<string> = new Set([
  '"char"',
  "bit",
  "bit varying",
  "cidr",
  "inet",
  "interval",
  "macaddr",
  "macaddr8",
  "regclass",
  "time with time zone",
  "time without time zone",
]);

/** Whether a value may hold an id somewhere in its text: texts, JSON, arrays, composites, bytes. */
export function mayHoldIds({ encoding, plainType }: Column): boolean {
  return encoding.as === "text" || (encoding.shape === "string" && !idless.has(plainType));
}

/** Whether any text is a value of it, whatever its length. */
export function isText(column: Column): boolean {
  const { encoding, plainType } = column;
  return encoding.as === "value" && mayHoldIds(column) && plainType !== "bytea";
}
