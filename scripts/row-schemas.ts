import type { JsonSchema } from "../src/bundle/format.ts";
import { columnSchema } from "../src/bundle/row-schema.ts";
import { columnOf, storedColumns, type Table } from "../src/catalog/catalog.ts";
import { readCatalog } from "../src/catalog/read-catalog.ts";
import { type Session, withSession } from "../src/postgres/session.ts";
import { classify, type TenantSchema } from "../src/profile/classify.ts";
import { nKudo } from "../src/profile/n-kudo.ts";

/** What each table holds, for readers of the schemas. */
const descriptions: Readonly<Record<string, string>> = {
  "public.agents": "The program on a host that carries out plans and reports back.",
  "public.api_keys": "A key for the API, of which only the hash is kept.",
  "public.audit_events":
    "Something that a user, an agent or the system did; a link of the hash chain over all tenants.",
  "public.certificate_history": "A certificate that was issued to an agent.",
  "public.crl_entries": "A revoked certificate, which stays revoked when its agent is gone.",
  "public.email_verification_tokens":
    "A token that proves a user's e-mail address, of which only the hash is kept.",
  "public.enrollment_tokens":
    "A token with which an agent enrols at a site, of which only the hash is kept.",
  "public.execution_logs": "A line that an execution logged.",
  "public.executions": "The carrying out of one operation of a plan.",
  "public.hosts": "A machine at a site.",
  "public.microvms": "A virtual machine.",
  "public.password_reset_tokens":
    "A token with which a user sets a new password, of which only the hash is kept.",
  "public.plan_actions": "One operation that a plan asks for.",
  "public.plans": "Operations that an agent of a site is asked to carry out.",
  "public.project_invitations":
    "An invitation to become a user of the tenant, with the hash of its token.",
  "public.sites": "A place with hosts.",
  "public.tenants": "A tenant: one customer, and the root of everything else.",
  "public.users": "A person with access to the tenant.",
  "public.vm_network_attachments": "The attachment of a virtual machine to a network.",
  "public.vxlan_networks": "A virtual network of the tenant.",
  "public.vxlan_tunnels": "A host's end of a virtual network.",
};

/** The two states of N-Kudo's schema that are found in the wild, each loaded into a database. */
export interface SchemaStates {
  readonly complete: string;
  readonly stoppedAfter0004: string;
}

/**
 * The shipped JSON Schemas of N-Kudo's rows: file name to content. Types come from the complete
 * schema; required is what every N-Kudo database has.
 */
export async function makeRowSchemas(states: SchemaStates): Promise<ReadonlyMap<string, string>> {
  const complete = await readTenantSchema(states.complete);
  const older = await readTenantSchema(states.stoppedAfter0004);
  return new Map(
    complete.tables.map((table) => [
      `${table.name.replace(/^public\./, "")}.schema.json`,
      formatJson(rowSchema(table, older.catalog.tables.get(table.name))),
    ]),
  );
}

function readTenantSchema(databaseUrl: string): Promise<TenantSchema> {
  return withSession(
    { databaseUrl, applicationName: "pgtenant make-schemas" },
    async (session: Session) => classify(await readCatalog(session), nKudo),
  );
}

function rowSchema(table: Table, older: Table | undefined): JsonSchema {
  const description = descriptions[table.name];
  if (description === undefined) {
    throw new Error(`table ${table.name} has no description; add one in scripts/row-schemas.ts`);
  }
  const columns = storedColumns(table);
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: `urn:pgtenant:${nKudo.name}:${nKudo.version}:${table.name}`,
    title: table.name,
    description,
    type: "object",
    properties: Object.fromEntries(columns.map((column) => [column.name, columnSchema(column)])),
    required: columns
      .filter((column) => older === undefined || columnOf(older, column.name) !== undefined)
      .map((column) => column.name),
  };
}

const lineWidth = 100;

/** As Biome formats JSON: objects spread out, arrays on one line where they fit. */
function formatJson(value: unknown): string {
  return `${print(value, "", 0)}\n`;
}

function print(value: unknown, indent: string, column: number): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const inner = `${indent}  `;
  if (!Array.isArray(value)) {
    const entries = Object.entries(value).map(([key, entry]) => {
      const start = `${inner}${JSON.stringify(key)}: `;
      return start + print(entry, inner, start.length);
    });
    return entries.length === 0 ? "{}" : `{\n${entries.join(",\n")}\n${indent}}`;
  }
  const items = value.map((entry) => print(entry, inner, inner.length));
  const line = `[${items.join(", ")}]`;
  // The comma that may follow takes a place as well.
  const fits = column + line.length < lineWidth && !line.includes("\n");
  return fits ? line : `[\n${items.map((item) => inner + item).join(",\n")}\n${indent}]`;
}
