import type { DoctorFinding, DoctorLevel } from "../../finding.ts";
import type { DoctorReport } from "../../tenant/doctor.ts";
import { counted } from "./units.ts";

const marks: Readonly<Record<DoctorLevel, string>> = {
  ok: "ok      ",
  note: "note    ",
  warning: "warning ",
  problem: "PROBLEM ",
};

const indent = " ".repeat(9);
const maxDetails = 10;

export function doctorText(report: DoctorReport): string {
  const lines = report.findings.flatMap(findingLines);
  const summary =
    report.problems > 0
      ? []
      : [
          "",
          report.warnings === 0
            ? "all is well: exports, imports and backups should work"
            : `no problem; ${counted(report.warnings, "warning")} to look at`,
        ];
  return [...lines, ...summary].join("\n");
}

function findingLines(finding: DoctorFinding): readonly string[] {
  const details = finding.details ?? [];
  return [
    `${marks[finding.level]} ${finding.message}`,
    ...(details.length > 3 ? details.slice(0, maxDetails).map((one) => `${indent}- ${one}`) : []),
    ...(details.length > maxDetails ? [`${indent}… and ${details.length - maxDetails} more`] : []),
    ...(finding.hint === undefined ? [] : [`${indent}${finding.hint}`]),
  ];
}
