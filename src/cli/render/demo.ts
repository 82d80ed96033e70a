import type { DemoStep } from "../../tenant/demo.ts";
import type { DatabaseDigest } from "../../tenant/digest.ts";
import { exportText } from "./export.ts";
import { importText, planText } from "./plan.ts";
import { tenantsText } from "./tenants.ts";
import { counted, duration } from "./units.ts";
import { verificationText } from "./verification.ts";

/** A heading with the command that does the same, and what came of it. */
export function demoText(step: DemoStep, number: number): string {
  const { title, command, body } = describe(step);
  const lines = [`${number}. ${title} (${duration(step.seconds)})`];
  if (command !== undefined) lines.push(`   $ ${command}`);
  for (const line of body.trimEnd().split("\n")) lines.push(line === "" ? "" : `   ${line}`);
  return `${lines.join("\n")}\n`;
}

interface Description {
  readonly title: string;
  readonly command?: string;
  readonly body: string;
}

function describe(step: DemoStep): Description {
  switch (step.kind) {
    case "server":
      return {
        title: "a PostgreSQL of our own",
        body: `PostgreSQL ${step.version} (${step.source}) runs in a temporary folder`,
      };
    case "database":
      return {
        title: "a control plane's database",
        body: `${counted(step.tables, "table")}, ${counted(step.rows, "row")}; a digest of all of it is taken`,
      };
    case "tenants":
      return {
        title: "its tenants",
        command: "pgtenant tenants",
        body: tenantsText(step.list),
      };
    case "export":
      return {
        title: "one tenant is exported",
        command: `pgtenant export ${step.result.tenant.slug} -o ${step.result.output}`,
        body: exportText(step.result),
      };
    case "verify":
      return {
        title: "the bundle is verified, without the database",
        command: `pgtenant verify ${step.file}`,
        body: verificationText(step.found, `"${step.file}"`, step.seconds),
      };
    case "delete":
      return {
        title: "disaster: the tenant is deleted",
        command: `psql -c "DELETE FROM tenants WHERE slug = '${step.tenant}'"`,
        body: `rows are gone from, or changed in, ${counted(step.lost.length, "table")}`,
      };
    case "plan":
      return {
        title: "what an import would do",
        command: `pgtenant import ${step.file} --dry-run`,
        body: `${planText(step.result.plan)}\n${importText(step.result, true)}`,
      };
    case "import":
      return {
        title: "the tenant is put back",
        command: `pgtenant import ${step.file}`,
        body: importText(step.result, false),
      };
    case "proof":
      return {
        title: "the whole database is compared with before",
        body: `before ${describeDigest(step.before)}\nafter  ${describeDigest(step.after)}`,
      };
  }
}

function describeDigest(digest: DatabaseDigest): string {
  return `${digest.digest}  (${counted(digest.tables.length, "table")}, ${counted(digest.sequences.length, "sequence")})`;
}

export function demoEnd(seconds: number): string {
  return `every row of every table and every sequence is as it was before (${duration(seconds)} in all); the server is gone again\n\nnow with your database: DATABASE_URL=postgres://… pgtenant doctor`;
}

/** The step for programs, without what is long. */
export function demoDocument(step: DemoStep) {
  const { kind, seconds } = step;
  switch (step.kind) {
    case "proof":
      return { kind, seconds, before: step.before.digest, after: step.after.digest };
    case "plan":
    case "import":
      return { kind, seconds, plan: step.result.plan, applied: step.result.applied };
    case "export":
      return { kind, seconds, rows: step.result.rows, bytes: step.result.bytes };
    case "server":
      return { kind, seconds, version: step.version, source: step.source };
    case "database":
      return { kind, seconds, tables: step.tables, rows: step.rows };
    case "tenants":
      return { kind, seconds, tenants: step.list.tenants.map(({ slug, id }) => ({ slug, id })) };
    case "verify":
      return { kind, seconds, rows: step.found.rows, chains: step.found.chains };
    case "delete":
      return { kind, seconds, tenant: step.tenant, lost: step.lost };
  }
}
