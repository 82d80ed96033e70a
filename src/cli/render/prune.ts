import type { PruneResult } from "../../backup/prune.ts";
import { errorDocument } from "../report-error.ts";
import { textTable } from "./table.ts";
import { counted, size } from "./units.ts";

export function pruneText(result: PruneResult, database: string): string {
  return result.dryRun ? dryRunText(result, database) : prunedText(result, database);
}

function dryRunText({ place, decisions, removed }: PruneResult, database: string): string {
  if (decisions.length === 0) return `there is no backup in ${place}`;
  const table = textTable(
    [{ title: "" }, { title: "backup" }, { title: "size", align: "right" }, { title: "why" }],
    decisions.map(({ backup, keep, reasons }) => [
      keep ? "keep" : "remove",
      backup.state === "foreign" ? backup.keys.join(", ") : backup.id,
      size(backup.bytes),
      reasons.join("; "),
    ]),
    "  ",
  );
  return `${place}, backups of database "${database}":\n${table}\n${totals("would go", removed)}`;
}

function prunedText({ place, removed, leftovers }: PruneResult, database: string): string {
  return [
    `${place}, backups of database "${database}":`,
    ...removed.map(({ id, bytes, reasons }) => `  ${id} (${size(bytes)}): ${reasons.join("; ")}`),
    ...leftovers.map((key) => `  ${key}: left by a backup that is complete`),
    totals("removed", removed),
  ].join("\n");
}

function totals(what: string, removed: PruneResult["removed"]): string {
  if (removed.length === 0) return `  nothing ${what === "removed" ? "was removed" : what}`;
  const bytes = removed.reduce((sum, one) => sum + one.bytes, 0);
  return `  ${what}: ${counted(removed.length, "backup")}, ${size(bytes)}`;
}

/** The result for programs: decisions without the whole of each manifest. */
export function prunedDocument(result: PruneResult) {
  const { decisions, failure, ...rest } = result;
  return {
    ...rest,
    decisions: decisions.map(({ backup, keep, reasons }) => ({
      id: backup.id,
      state: backup.state,
      bytes: backup.bytes,
      keys: backup.keys,
      keep,
      reasons,
    })),
    ...(failure === undefined ? {} : { error: errorDocument(failure) }),
  };
}
