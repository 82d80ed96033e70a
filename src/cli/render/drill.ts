import { checkTitles } from "../../service/drill/check-titles.ts";
import type { ChecklistItem, DrillCheck, DrillReport } from "../../service/drill/drill-report.ts";
import type { WrittenReport } from "../../service/drill/report-file.ts";
import { age, duration } from "./units.ts";

const marks: Readonly<Record<ChecklistItem["state"], string>> = {
  passed: "passed     ",
  failed: "FAILED     ",
  "not-checked": "not checked",
  "by-hand": "by hand    ",
};

const indent = " ".repeat(13);
const maxDetails = 10;

export function checkText({ check, state, message, details, hint, seconds }: DrillCheck): string {
  const time = state === "not-checked" ? "" : ` (${duration(seconds)})`;
  return [
    `${marks[state]}  ${checkTitles[check]}${time}`,
    `${indent}${message}`,
    ...details.slice(0, maxDetails).map((one) => `${indent}- ${one}`),
    ...(details.length > maxDetails ? [`${indent}… and ${details.length - maxDetails} more`] : []),
    ...(hint === null ? [] : [`${indent}${hint}`]),
  ].join("\n");
}

export function drillText(report: DrillReport, files: WrittenReport): string {
  const { passed, rto, rpo, checklist, notes, seconds } = report;
  return [
    "",
    ...notes.map((note) => `note: ${note}`),
    "the quarterly checklist:",
    ...checklist.map(({ item, state, why }) => `  ${marks[state]}  ${item}: ${why}`),
    "",
    rto.seconds === null
      ? `RTO was not measured; ${age(rto.targetSeconds)} are promised`
      : `RTO ${duration(rto.seconds)}, ${age(rto.targetSeconds)} are promised`,
    rpo.seconds === null
      ? `RPO is not known; ${age(rpo.targetSeconds)} are promised`
      : `RPO ${age(rpo.seconds)}, the backup's age; ${age(rpo.targetSeconds)} are promised`,
    `the drill ${passed ? "passed" : "FAILED"}, in ${duration(seconds)}`,
    `  ${files.page}`,
    `  ${files.json}`,
  ].join("\n");
}
