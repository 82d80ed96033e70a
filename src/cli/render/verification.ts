import type { VerifiedBundle } from "../../bundle/verify.ts";
import { redactedText } from "./inspection.ts";
import { count, counted, duration, rate } from "./units.ts";

export function verificationText(found: VerifiedBundle, name: string, seconds: number): string {
  const { tenant } = found.header;
  return [
    `${name} is whole and valid: tenant "${tenant.slug ?? tenant.id}" as of ${found.header.createdAt}`,
    `  ${counted(found.rows, "row")} of ${counted(found.tables.length, "table")}; hashes, counts, schemas, keys and references hold`,
    ...(found.header.redacted === undefined
      ? []
      : [`  redacted: ${redactedText(found.header.redacted)}`]),
    ...found.chains.map(
      (chain) =>
        `  chain of ${chain.table}: ${counted(chain.holding, "link")} hold, ${count(chain.leadingOutside)} lead to rows outside the bundle${chain.unhashed > 0 ? `, ${counted(chain.unhashed, "row")} without a hash` : ""}`,
    ),
    `  checked in ${duration(seconds)} (${rate(found.rows, seconds)})`,
  ].join("\n");
}

export function findingLines(found: VerifiedBundle): readonly string[] {
  return [
    ...found.findings.map((finding) => finding.message),
    ...found.further.map(
      (more) =>
        `${count(more.count)} more in table "${more.table}"${more.columns.length > 0 ? ` (${more.columns.join(", ")})` : ""}: ${more.kind}`,
    ),
  ];
}

export function verificationDocument(found: VerifiedBundle) {
  const { tenant, createdAt, format, redacted } = found.header;
  return {
    valid: found.found === 0,
    format,
    tenant,
    createdAt,
    ...(redacted === undefined ? {} : { redacted }),
    rows: found.rows,
    tables: found.tables,
    chains: found.chains,
    found: found.found,
    findings: found.findings,
    further: found.further,
    notes: found.notes,
  };
}
