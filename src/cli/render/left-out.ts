import type { LeftOut } from "../../bundle/format.ts";

/** A line for each table and column that a bundle does not have, with the reason. */
export function leftOutLines(entries: readonly LeftOut[], indent = ""): readonly string[] {
  return entries.map((entry) => {
    const what = "table" in entry ? `table ${entry.table}` : `column ${entry.column}`;
    return `${indent}left out: ${what} (${entry.reason})`;
  });
}
