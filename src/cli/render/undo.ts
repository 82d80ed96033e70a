import type { UndoResult } from "../../tenant/undo.ts";
import { changesOf, receiptText } from "./plan.ts";
import { shellWord } from "./shell.ts";
import { counted, duration } from "./units.ts";

export function undoText({ plan, undone, applied, receipt, seconds }: UndoResult, dryRun: boolean) {
  const { of } = undone;
  if (plan === null) {
    return `nothing to undo: the ${of} that this receipt was written for was never committed (${duration(seconds)})`;
  }
  const changes = changesOf(plan);
  const rows = plan.tables.reduce((sum, table) => sum + table.inBundle, 0);
  if (changes === "") {
    return `nothing to undo: all ${counted(rows, "row")} are as they were before the ${of} (${duration(seconds)})`;
  }
  if (dryRun || !applied) {
    return `dry run, nothing was written; it would be: ${changes} (planned in ${duration(seconds)})`;
  }
  return `undone in ${duration(seconds)}, committed: ${changes}${receiptText(receipt, "undo")}`;
}

/** The command that applies what a dry run has shown; `flags` are those that shaped the plan. */
export function nextAfterUndoPlan(
  { plan }: UndoResult,
  file: string,
  flags: readonly string[],
): string {
  if (plan === null || changesOf(plan) === "") return "";
  return `to apply it: ${["pgtenant", "undo", file, ...flags, "--yes"].map(shellWord).join(" ")}`;
}
