import { sql } from "kysely";
import { type ForeignKey, isMandatory, type Table } from "../catalog/catalog.ts";
import { carriesTenant, relation } from "../catalog/ownership.ts";
import type { DoctorFinding } from "../finding.ts";
import type { Session } from "../postgres/session.ts";
import { isOwned, referencesOf } from "../profile/classify.ts";
import type { ProgressListener } from "../progress.ts";
import { type ChainLinks, chainLinks, chainText } from "./chain-links.ts";
import type { OpenSchema } from "./open-schema.ts";
import { alongPath, ownerKey } from "./owner.ts";

const crossingCheck = "cross-tenant-reference";

/** What only the rows can tell: whose they are, and whether they agree about it. */
export async function checkRows(
  session: Session,
  schema: OpenSchema,
  readable: ReadonlySet<string>,
  progress: ProgressListener,
): Promise<readonly DoctorFinding[]> {
  const findings: DoctorFinding[] = [];
  let skipped = 0;
  for (const table of schema.tables) {
    if (!needed(schema, table).every((name) => readable.has(name))) {
      skipped += 1;
      continue;
    }
    progress.advance(table.name, 0);
    if (canBeOrphaned(schema, table)) findings.push(...(await orphans(session, schema, table)));
    for (const key of referencesOf(schema, table.name)) {
      if (!isOwned(schema, key.to) || !readable.has(key.to)) continue;
      if (isOnlyPath(schema, table, key)) continue;
      if (carriesTenant(schema.ownership, schema.root, key)) continue;
      findings.push(...(await crossing(session, schema, table, key)));
    }
    const chain = schema.profile.chain[table.name];
    if (chain !== undefined) {
      const links = await chainLinks(session, table, chain);
      if (links !== undefined) findings.push(chainFinding(table, links));
    }
  }
  if (skipped > 0) {
    findings.push({
      level: "note",
      check: "tenants",
      message: `the rows of ${skipped} table(s) could not be looked at`,
    });
  } else if (!findings.some((finding) => finding.check === crossingCheck)) {
    findings.push({
      level: "ok",
      check: "tenants",
      message: "no row refers to a row of another tenant",
    });
  }
  return findings;
}

/** The tables on the way from a table to the tenant. */
function needed(schema: OpenSchema, table: Table, seen = new Set<string>()): readonly string[] {
  if (seen.has(table.name)) return [];
  seen.add(table.name);
  const parents = (schema.ownership.get(table.name) ?? []).flatMap(
    (step) => schema.catalog.tables.get(step.to) ?? [],
  );
  return [table.name, ...parents.flatMap((parent) => needed(schema, parent, seen))];
}

/** True when a NULL, or a reference that nothing enforces, can cut every way to the tenant. */
function canBeOrphaned(schema: OpenSchema, table: Table): boolean {
  const steps = schema.ownership.get(table.name) ?? [];
  return (
    table.name !== schema.root.table &&
    steps.every((step) => {
      const parent = schema.catalog.tables.get(step.to);
      const certain = step.source === "constraint" && isMandatory(table, step);
      return !certain || parent === undefined || canBeOrphaned(schema, parent);
    })
  );
}

function isOnlyPath(schema: OpenSchema, table: Table, key: ForeignKey): boolean {
  const steps = schema.ownership.get(table.name) ?? [];
  return steps.length === 1 && steps[0] === key;
}

async function orphans(
  session: Session,
  schema: OpenSchema,
  table: Table,
): Promise<readonly DoctorFinding[]> {
  const { key, joins } = ownerKey(schema, table, "l");
  const { rows } = await sql<{ count: string }>`
    SELECT count(*) AS count FROM ${relation(table)} AS l ${sql.join(joins, sql` `)}
     WHERE ${key} IS NULL`.execute(session.db);
  const count = Number(rows[0]?.count ?? 0);
  if (count === 0) return [];
  const columns = (schema.ownership.get(table.name) ?? []).map((step) => step.columns.join(", "));
  return [
    {
      level: "note",
      check: "orphans",
      message: `${count} row(s) of ${table.name} belong to no tenant: nothing is reached by ${columns.join(" or ")}`,
      hint: "They are in no bundle; a whole-database backup has them.",
    },
  ];
}

async function crossing(
  session: Session,
  schema: OpenSchema,
  table: Table,
  key: ForeignKey,
): Promise<readonly DoctorFinding[]> {
  const own = ownerKey(schema, table, "l");
  const other = alongPath(schema, key, "l", "other");
  const { rows } = await sql<{ count: string }>`
    SELECT count(*) AS count FROM ${relation(table)} AS l
      ${sql.join([...own.joins, ...other.joins], sql` `)}
     WHERE ${own.key} <> ${other.key}`.execute(session.db);
  const count = Number(rows[0]?.count ?? 0);
  if (count === 0) return [];
  return [
    {
      level: "problem",
      check: crossingCheck,
      message: `${count} row(s) of ${table.name} refer by ${key.columns.join(", ")} to a row of ${key.to} that belongs to another tenant`,
      hint: "Exports of these tenants are refused and list the rows. Correct them first.",
    },
  ];
}

function chainFinding(table: Table, links: ChainLinks): DoctorFinding {
  const message = chainText(table, links);
  if (links.broken === 0) return { level: "ok", check: "chain", message };
  return {
    level: "warning",
    check: "chain",
    message,
    hint: "Rows were altered, or written at the same moment. Bundles with such rows are made, and pgtenant verify names them.",
  };
}
