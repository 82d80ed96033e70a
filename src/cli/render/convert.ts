import type { LeftOut } from "../../bundle/format.ts";
import type { ConvertResult } from "../../tenant/convert.ts";
import { shellWord } from "./shell.ts";
import { counted, duration, size } from "./units.ts";

export function convertText(result: ConvertResult, name: string): string {
  const { tenant, output, bytes, encryption } = result;
  const target = output === "-" ? "the standard output" : output;
  return [
    `converted ${name}: tenant "${tenant.slug ?? tenant.id}" as of ${result.exportedAt}, ` +
      `${counted(result.rows, "row")} of ${counted(result.tables.length, "table")} in ${duration(result.seconds)}`,
    `  to ${target} (${size(bytes)}${encryption === "none" ? "" : `; encrypted with ${encryption}`})`,
    ...result.references
      .filter((reference) => reference.dropped)
      .map(
        ({ table, column, to, rows }) =>
          `  set to NULL: ${table}.${column} of ${counted(rows, "row")}, which refer to rows of ${to} that the document lacks`,
      ),
    ...leftOutByReason(result.leftOut),
  ].join("\n");
}

/** A document lacks most of a tenant, so what is left out for one reason stands on one line. */
function leftOutByReason(leftOut: readonly LeftOut[]): readonly string[] {
  return [...Map.groupBy(leftOut, ({ reason }) => reason)].map(
    ([reason, entries]) =>
      `  left out: ${entries.map((entry) => ("table" in entry ? entry.table : entry.column)).join(", ")} (${reason})`,
  );
}

export function nextAfterConvert(result: ConvertResult): string {
  if (result.output === "-") return "";
  const file = shellWord(result.output);
  return [
    "",
    `to check it:         pgtenant verify ${file}`,
    `to put it back:      pgtenant import ${file} --dry-run`,
  ].join("\n");
}
