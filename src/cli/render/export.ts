import type { ExportResult } from "../../tenant/export.ts";
import type { ExportSetResult } from "../../tenant/set/export-set.ts";
import { leftOutLines } from "./left-out.ts";
import { selectionText } from "./selection.ts";
import { shellWord } from "./shell.ts";
import { count, counted, duration, rate, size } from "./units.ts";

export function exportText(result: ExportResult): string {
  const target = result.output === "-" ? "the standard output" : result.output;
  const lines = [
    `exported tenant "${result.tenant.slug ?? result.tenant.id}": ${counted(result.rows, "row")} of ` +
      `${counted(result.tables.length, "table")} in ${duration(result.seconds)} (${rate(result.rows, result.seconds)})`,
    `  to ${target} (${size(result.bytes)}${result.encryption === "none" ? "" : `; encrypted with ${result.encryption}`}${result.validated ? "" : "; rows not validated"})`,
    ...(result.selection === null
      ? []
      : [`  only a part of it: ${selectionText(result.selection)}`]),
    ...redactedLines(result),
    ...leftOutLines(result.leftOut, "  "),
  ];
  return lines.join("\n");
}

function redactedLines({ redacted }: ExportResult): readonly string[] {
  if (redacted === undefined) return [];
  const { columns, tenant } = redacted;
  return [
    `  replaced: the values of ${counted(columns.length, "column")} (${columns.join(", ")})`,
    ...(redacted.personal ? [`  the bundle calls the tenant "${tenant.slug ?? tenant.id}"`] : []),
  ];
}

export function nextAfterExport(result: ExportResult): string {
  if (result.output === "-") return "";
  const file = shellWord(result.output);
  if (result.redacted !== undefined) {
    return `\nto put it into another database: pgtenant import ${file} --accept-redacted --dry-run`;
  }
  return [
    "",
    `to check it:         pgtenant verify ${file}`,
    `to put it back:      pgtenant import ${file} --dry-run`,
  ].join("\n");
}

/** One line for each tenant, as it is done. */
export function exportLine(result: ExportResult): string {
  return `  ${result.tenant.slug ?? result.tenant.id}: ${counted(result.rows, "row")}, ${size(result.bytes)}, ${duration(result.seconds)}  ${result.output}`;
}

export function exportAllText(result: ExportSetResult): string {
  const { exported, set, snapshotLsn } = result;
  const rows = exported.reduce((sum, one) => sum + one.rows, 0);
  const bytes = exported.reduce((sum, one) => sum + one.bytes, 0);
  const before = set.tenants - exported.length;
  return [
    `exported ${counted(exported.length, "tenant")}: ${counted(rows, "row")}, ${size(bytes)}, all from one snapshot (${snapshotLsn})`,
    `  ${set.complete ? "set" : "incomplete set"}: ${set.manifest} (${counted(set.tenants, "bundle")}${before > 0 ? `, ${count(before)} of them from earlier runs; ${set.snapshots} snapshots` : ""})`,
    ...leftOutLines(result.leftOut, "  "),
  ].join("\n");
}

export function nextAfterExportAll({ set }: ExportSetResult): string {
  return set.complete
    ? `\nto check them:       pgtenant verify ${shellWord(set.manifest)}`
    : "\nto try again what is missing: the same command with --resume";
}
