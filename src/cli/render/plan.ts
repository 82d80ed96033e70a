import type { ImportPlan, ImportResult, TablePlan } from "../../tenant/import-types.ts";
import { leftOutLines } from "./left-out.ts";
import { shellWord } from "./shell.ts";
import { textTable } from "./table.ts";
import { count, counted, duration } from "./units.ts";

const maxNotes = 50;

const columns = [
  ["in bundle", "inBundle"],
  ["chosen", "chosen"],
  ["insert", "insert"],
  ["update", "update"],
  ["relink", "relink"],
  ["delete", "delete"],
  ["unchanged", "unchanged"],
  ["keep", "keep"],
] as const satisfies readonly (readonly [string, keyof TablePlan])[];

const changed = ["insert", "update", "relink", "delete"] as const;

/** The plan as a table: tables with rows of it only, and a sum. */
export function planText(plan: ImportPlan): string {
  const { tenant, clonedFrom } = plan;
  const origin =
    clonedFrom === undefined ? "" : `, a clone of "${clonedFrom.slug ?? clonedFrom.id}"`;
  const lines = [
    `plan for tenant "${tenant.slug ?? tenant.id}"${tenant.name === null ? "" : ` (${tenant.name})`}${origin}, mode ${plan.mode}:`,
    "",
    tablesText(plan),
  ];
  if (plan.sequences.length > 0) {
    lines.push("", "sequences are moved on, never back:");
    for (const move of plan.sequences) {
      lines.push(`  ${move.sequence}: ${move.from} -> ${move.to}`);
    }
  }
  if (plan.notes.length > 0) {
    lines.push("", "please note:");
    // What is said of a whole table must not get lost behind its rows.
    const notes = [...plan.notes].sort(
      (a, b) => Number(a.row !== undefined) - Number(b.row !== undefined),
    );
    for (const note of notes.slice(0, maxNotes)) {
      lines.push(`  ${note.table}${note.row === undefined ? "" : ` ${note.row}`}: ${note.reason}`);
    }
    if (plan.notes.length > maxNotes) lines.push(`  … and ${plan.notes.length - maxNotes} more`);
  }
  if (plan.leftOut.length > 0) lines.push("", ...leftOutLines(plan.leftOut));
  lines.push("", `hash of this plan: ${plan.hash}`);
  lines.push("");
  return lines.join("\n");
}

/** A table where nothing changes is only counted, unless nothing changes anywhere. */
function tablesText(plan: ImportPlan): string {
  const changing = plan.tables.filter((table) => changed.some((field) => table[field] > 0));
  const other = plan.tables.filter((table) => !changing.includes(table));
  if (changing.length === 0) {
    return `  nothing: the ${counted(sum(other, "unchanged"), "row")} of ${counted(other.length, "table")} are as ${plan.mode === "undo" ? "they were before" : "the bundle has them"}${keptText(other)}`;
  }
  // Columns that are zero all over tell nothing, except what the reader looks for first.
  const used = columns.filter(
    ([, field]) =>
      field === "inBundle" ||
      field === "insert" ||
      changing.some((table) => (table[field] ?? 0) > 0),
  );
  const table = textTable(
    [
      { title: "table" },
      ...used.map(([title, field]) => ({
        title: field === "inBundle" && plan.mode === "undo" ? "written" : title,
        align: "right" as const,
      })),
    ],
    [
      ...changing.map((row) => [row.table, ...used.map(([, field]) => cell(row[field] ?? 0))]),
      ["total", ...used.map(([, field]) => cell(sum(changing, field)))],
    ],
    "  ",
  );
  return other.length === 0
    ? table
    : `${table}\n\n  unchanged: ${counted(sum(other, "unchanged"), "row")} of ${counted(other.length, "other table")}${keptText(other)}`;
}

function keptText(tables: readonly TablePlan[]): string {
  const kept = sum(tables, "keep");
  if (kept === 0) return "";
  return kept === 1
    ? "; 1 row that differs stays as it is"
    : `; ${counted(kept, "row")} that differ stay as they are`;
}

function sum(tables: readonly TablePlan[], field: (typeof columns)[number][1]): number {
  return tables.reduce((rows, table) => rows + (table[field] ?? 0), 0);
}

function cell(rows: number): string {
  return rows === 0 ? "-" : count(rows);
}

export function importText(result: ImportResult, dryRun: boolean): string {
  const changes = changesOf(result.plan);
  if (changes === "") {
    const out = result.plan.notes.some(({ kind }) => kind === "skipped" || kind === "adopted");
    const chosen = result.plan.tables.some((table) => table.chosen !== undefined);
    const rows = chosen ? sum(result.plan.tables, "chosen") : result.rowsInBundle;
    return out
      ? `nothing to do: what the bundle holds is there, or stays out as noted above (${duration(result.seconds)})`
      : `nothing to do: all ${counted(rows, chosen ? "chosen row" : "row")} of the bundle are there (${duration(result.seconds)})`;
  }
  if (dryRun || !result.applied) {
    return `dry run, nothing was written; it would be: ${changes} (planned in ${duration(result.seconds)})`;
  }
  return `done in ${duration(result.seconds)}, committed: ${changes}${receiptText(result.receipt, "import")}`;
}

/** Where the receipt lies, and the command that it is for. */
export function receiptText(receipt: string | null, of: "import" | "undo"): string {
  if (receipt === null) return "";
  return `\nto take this ${of} back: pgtenant undo ${shellWord(receipt)} --yes`;
}

/** The command that applies what a dry run has shown, and nothing else; `flags` have shaped the plan. */
export function nextAfterPlan(
  result: ImportResult,
  bundle: string,
  flags: readonly string[],
): string {
  if (changesOf(result.plan) === "") return "";
  const needsYes = result.plan.tables.some((table) => table.update > 0 || table.delete > 0);
  const plan = ["--plan", result.plan.hash];
  const words = ["pgtenant", "import", bundle, ...flags, ...plan, ...(needsYes ? ["--yes"] : [])];
  return `to apply it: ${words.map(shellWord).join(" ")}`;
}

export function changesOf(plan: ImportPlan): string {
  return [
    [sum(plan.tables, "insert"), "inserted"],
    [sum(plan.tables, "update"), "updated"],
    [sum(plan.tables, "relink"), "linked again"],
    [sum(plan.tables, "delete"), "deleted"],
  ]
    .filter(([rows]) => Number(rows) > 0)
    .map(([rows, verb]) => `${counted(Number(rows), "row")} ${verb}`)
    .join(", ");
}
