import type { DrillChecks } from "./drill-checks.ts";
import type { ChecklistItem, DrillCheckName, DrilledBackup } from "./drill-report.ts";

const integrity: readonly DrillCheckName[] = ["rows", "foreign-keys", "chain"];

/** The guide's quarterly checklist, ticked by what the drill has seen. */
export function checklistOf(
  checks: DrillChecks,
  backup: DrilledBackup | undefined,
): readonly ChecklistItem[] {
  const ticked = (item: string, names: readonly DrillCheckName[]): ChecklistItem => {
    const found = checks.all.filter(({ check }) => names.includes(check));
    const failed = found.find(({ state }) => state === "failed");
    const passed = found.filter(({ state }) => state === "passed");
    const decisive = failed ?? passed[0] ?? found[0];
    return {
      item,
      state: failed !== undefined ? "failed" : passed.length > 0 ? "passed" : "not-checked",
      why:
        failed === undefined && passed.length > 1
          ? passed.map(({ message }) => message).join("; ")
          : (decisive?.message ?? "the drill did not come so far"),
    };
  };
  const encrypted = ticked("Test encrypted backup restore", ["read", "restored"]);
  const inPlain = backup?.encryption === "none";
  const byHand = "no program can tick this; docs/operations.md has the steps";
  return [
    ticked("Verify backup files exist and are readable", ["found", "read", "files"]),
    ticked("Test restore to staging environment", ["restored"]),
    ticked("Verify data integrity after restore", integrity),
    inPlain
      ? { ...encrypted, state: "not-checked", why: "the backup is not encrypted" }
      : encrypted,
    ticked("Verify S3 upload/download", ["off-site"]),
    { item: "Test failover procedures", state: "by-hand", why: byHand },
    { item: "Update DR documentation", state: "by-hand", why: byHand },
  ];
}
