import { sql } from "kysely";
import type { Table } from "../catalog/catalog.ts";
import type { DoctorFinding } from "../finding.ts";
import type { Session } from "../postgres/session.ts";
import { list } from "./doctor-server.ts";
import type { OpenSchema } from "./open-schema.ts";

/** Below this a table is read as a whole without anybody noticing. */
const largeTable = 10_000;

/** What the catalog says, without a look at any row. */
export async function checkSchema(
  session: Session,
  schema: OpenSchema,
): Promise<readonly DoctorFinding[]> {
  return [
    ...schema.warnings.map(
      (message): DoctorFinding => ({ level: "warning", check: "unknown-column", message }),
    ),
    ...triggerFindings(schema),
    ...(await indexFindings(session, schema)),
  ];
}

function triggerFindings(schema: OpenSchema): readonly DoctorFinding[] {
  const names = schema.tables.flatMap((table) =>
    table.triggers.map((trigger) => `${trigger.name} on ${table.name}`),
  );
  if (names.length === 0) return [];
  return [
    {
      level: "warning",
      check: "triggers",
      message: `triggers could alter rows that are put back: ${list(names)}`,
      hint: "An import that would fire them is refused, unless --disable-triggers is given.",
      details: names,
    },
  ];
}

async function indexFindings(
  session: Session,
  schema: OpenSchema,
): Promise<readonly DoctorFinding[]> {
  const large = schema.tables.filter((table) => table.estimatedRows >= largeTable);
  if (large.length === 0) return [];
  const { rows } = await sql<{ oid: number; column: string }>`
    SELECT DISTINCT i.indrelid AS oid, a.attname::text AS column
      FROM pg_index i
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     WHERE i.indisvalid AND i.indpred IS NULL
       AND i.indrelid = ANY (${large.map((table) => table.oid)}::oid[])`.execute(session.db);
  const indexed = new Set(rows.map((row) => `${row.oid} ${row.column}`));
  const ownerColumns = (table: Table) =>
    table.name === schema.root.table
      ? [[schema.root.key]]
      : (schema.ownership.get(table.name) ?? []).map((step) => step.columns);
  return large.flatMap((table) =>
    ownerColumns(table)
      .filter((columns) => !columns.some((column) => indexed.has(`${table.oid} ${column}`)))
      .map(
        (columns): DoctorFinding => ({
          level: "warning",
          check: "index",
          message: `${table.name} (about ${table.estimatedRows} rows) has no index that begins with ${columns.join(" or ")}: each export reads all tenants' rows of it`,
          hint: `CREATE INDEX CONCURRENTLY ON ${table.name} (${columns.join(", ")})`,
        }),
      ),
  );
}
