import assert from "node:assert/strict";
import type { DoctorFinding } from "../../src/finding.ts";
import { noProgress } from "../../src/progress.ts";
import { type DoctorReport, examine } from "../../src/tenant/doctor.ts";
import type { SchemaOptions } from "../../src/tenant/open-schema.ts";

/** What `doctor` finds in this database. */
export function report(
  databaseUrl: string,
  options: Partial<SchemaOptions> = {},
): Promise<DoctorReport> {
  return examine(
    { databaseUrl, applicationName: "pgtenant-test" },
    { profile: "n-kudo", acceptUnclassified: false, ...options },
    noProgress,
  );
}

/** The one finding of this check. */
export function only({ findings }: DoctorReport, check: string): DoctorFinding {
  const [finding, ...others] = findings.filter((one) => one.check === check);
  assert.ok(finding !== undefined, `no finding of ${check}: ${JSON.stringify(findings, null, 1)}`);
  assert.deepEqual(others, []);
  return finding;
}
