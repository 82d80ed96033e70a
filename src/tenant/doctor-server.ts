import { sql } from "kysely";
import type { DoctorFinding } from "../finding.ts";
import { qualifiedName } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import type { OpenSchema } from "./open-schema.ts";

interface ServerFacts {
  user: string;
  superuser: boolean;
  recovering: boolean;
  read_only: boolean;
  temp: boolean;
  archive_mode: string;
}

/** The server itself, whatever the database holds. */
export async function checkServer(
  session: Session,
  databaseUrl: string,
): Promise<readonly DoctorFinding[]> {
  const { rows } = await sql<ServerFacts>`
    SELECT current_user::text AS user,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
           pg_is_in_recovery() AS recovering,
           current_setting('default_transaction_read_only')::bool AS read_only,
           has_database_privilege(current_database(), 'TEMP') AS temp,
           current_setting('archive_mode') AS archive_mode`.execute(session.db);
  const [facts] = rows;
  if (facts === undefined) throw new Error("the server told nothing about itself");
  const findings: DoctorFinding[] = [
    {
      level: "ok",
      check: "connection",
      message: `PostgreSQL ${session.serverVersion}, database "${session.database}", user "${facts.user}"${facts.superuser ? " (superuser)" : ""}`,
    },
  ];
  if (facts.recovering) {
    findings.push({
      level: "warning",
      check: "standby",
      message:
        "this server is a standby: exports and backups of it work; imports, restores and drills on it do not",
      hint: "For those, connect to the primary; where it is gone for good: SELECT pg_promote().",
    });
  } else if (facts.read_only) {
    findings.push({
      level: "warning",
      check: "read-only",
      message: "transactions of this role or database are read-only by default: imports fail",
      hint: "For an import: ALTER ROLE … SET default_transaction_read_only = off",
    });
  }
  if (!facts.temp) {
    findings.push({
      level: "warning",
      check: "temporary-tables",
      message: `user "${facts.user}" may not make temporary tables, which an import needs`,
      hint: `GRANT TEMP ON DATABASE "${session.database}" TO "${facts.user}"`,
    });
  }
  const pooler = poolerFinding(session, databaseUrl);
  if (pooler !== undefined) findings.push(pooler);
  findings.push(await archivingFinding(session, facts.archive_mode));
  return findings;
}

interface ArchiverRow {
  archived: string;
  last_archived: string | null;
  since: string | null;
  failed: string;
  last_failed: string | null;
  failing: boolean;
}

/** Whether the server could be taken back to any moment, and since when. */
async function archivingFinding(session: Session, mode: string): Promise<DoctorFinding> {
  const check = "wal-archiving";
  if (mode === "off") {
    return {
      level: "note",
      check,
      message:
        "WAL archiving is off: no point-in-time recovery; bundles and backups are all there is",
    };
  }
  const { rows } = await sql<ArchiverRow>`
    SELECT archived_count AS archived, failed_count AS failed,
           to_char(last_archived_time, 'YYYY-MM-DD HH24:MI:SS TZ') AS last_archived,
           to_char(stats_reset, 'YYYY-MM-DD HH24:MI:SS TZ') AS since,
           to_char(last_failed_time, 'YYYY-MM-DD HH24:MI:SS TZ') AS last_failed,
           coalesce(last_failed_time > last_archived_time OR last_archived_time IS NULL, false)
             AND failed_count > 0 AS failing
      FROM pg_stat_archiver`.execute(session.db);
  const [row] = rows;
  if (row === undefined) throw new Error("the server told nothing about its archiver");
  if (row.failing) {
    return {
      level: "warning",
      check,
      message: `WAL archiving is on and FAILS: ${row.failed} times, last at ${row.last_failed}; point-in-time recovery ends at ${row.last_archived ?? "nothing, for nothing was archived"}`,
      hint: "See the server's log for what archive_command or archive_library said; until it works, WAL fills the server's disk.",
    };
  }
  return {
    level: "note",
    check,
    message:
      row.last_archived === null
        ? "WAL archiving is on, and nothing was archived yet"
        : `WAL archiving is on: ${row.archived} segments since ${row.since}, the last at ${row.last_archived}; point-in-time recovery is possible behind a base backup`,
  };
}

function poolerFinding(session: Session, databaseUrl: string): DoctorFinding | undefined {
  const usualPort = URL.canParse(databaseUrl) && new URL(databaseUrl).port === "6432";
  if (!session.pooled && !usualPort) return undefined;
  return {
    level: "warning",
    check: "pooler",
    message: session.pooled
      ? "a connection pooler stands between us and the server, and PGTENANT_POOLER says that sessions are not shared"
      : "port 6432 is PgBouncer's usual port",
    hint: "Name the server itself in DATABASE_URL: locks, temporary tables and settings need a session of their own.",
  };
}

interface TableRights {
  oid: number;
  usage: boolean;
  select: boolean;
  write: boolean;
  rls: boolean;
}

/** What the role may do with the tables and sequences of tenants. */
export async function checkRights(
  session: Session,
  schema: OpenSchema,
): Promise<{ findings: readonly DoctorFinding[]; readable: ReadonlySet<string> }> {
  const migrations = schema.catalog.tables.get(schema.profile.migrations?.table ?? "");
  // A bundle's header names the migrations, so an export reads this table as well.
  const tables = migrations === undefined ? schema.tables : [...schema.tables, migrations];
  const nameOf = new Map(tables.map((table) => [table.oid, table.name]));
  const { rows } = await sql<TableRights>`
    SELECT c.oid, has_schema_privilege(c.relnamespace, 'USAGE') AS usage,
           has_table_privilege(c.oid, 'SELECT') AS select,
           has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
             AND has_table_privilege(c.oid, 'DELETE') AS write,
           row_security_active(c.oid) AS rls
      FROM pg_class c WHERE c.oid = ANY (${[...nameOf.keys()]}::oid[])`.execute(session.db);
  const named = (wanted: (row: TableRights) => boolean) =>
    rows.filter(wanted).flatMap((row) => nameOf.get(row.oid) ?? []);
  const unreadable = named((row) => !row.usage || !row.select);
  const unwritable = named((row) => !row.write && row.oid !== migrations?.oid);
  const filtered = named((row) => row.rls);
  const sequences = await sequencesWithoutRights(session, schema);
  const findings: DoctorFinding[] = [];
  if (unreadable.length > 0) {
    findings.push({
      level: "problem",
      check: "rights",
      message: `this role cannot read ${list(unreadable)}`,
      hint: "GRANT USAGE on the schema and SELECT on the tables, or connect as their owner.",
      details: unreadable,
    });
  }
  if (filtered.length > 0) {
    findings.push({
      level: "problem",
      check: "row-level-security",
      message: `row-level security hides rows of ${list(filtered)} from this role: exports fail`,
      hint: "Connect as the tables' owner, a superuser, or a role with BYPASSRLS.",
      details: filtered,
    });
  }
  if (unwritable.length > 0) {
    findings.push({
      level: "warning",
      check: "rights",
      message: `this role cannot write ${list(unwritable)}: ${unreadable.length === 0 ? "exports work, " : ""}imports fail`,
      hint: "For imports: GRANT INSERT, UPDATE, DELETE on the tables, or connect as their owner.",
      details: unwritable,
    });
  }
  if (sequences.length > 0) {
    findings.push({
      level: "warning",
      check: "rights",
      message: `this role cannot move on ${list(sequences)}: imports fail`,
      hint: "Connect as the sequences' owner, or GRANT USAGE, SELECT, UPDATE on them.",
      details: sequences,
    });
  }
  if (findings.length === 0) {
    findings.push({
      level: "ok",
      check: "rights",
      message: `this role may read and write all ${schema.tables.length} tables of tenants, and sees every row`,
    });
  }
  const hidden = new Set([...unreadable, ...filtered]);
  const readable = new Set(schema.tables.map((t) => t.name).filter((name) => !hidden.has(name)));
  return { findings, readable };
}

async function sequencesWithoutRights(
  session: Session,
  schema: OpenSchema,
): Promise<readonly string[]> {
  const wanted = schema.tables.flatMap((table) => table.sequences);
  if (wanted.length === 0) return [];
  const { rows } = await sql<{ schema: string; relation: string }>`
    SELECT n.nspname::text AS schema, c.relname::text AS relation
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'S'
       AND (n.nspname::text, c.relname::text) IN (${sql.join(
         wanted.map((one) => sql`(${one.schema}, ${one.relation})`),
       )})
       AND NOT (has_sequence_privilege(c.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT')
                AND has_sequence_privilege(c.oid, 'UPDATE'))
     ORDER BY 1, 2`.execute(session.db);
  return rows.map((row) => qualifiedName(row.schema, row.relation));
}

/** The first few, and how many more. */
export function list(names: readonly string[], shown = 3): string {
  const first = names.slice(0, shown).join(", ");
  return names.length > shown ? `${first} and ${names.length - shown} more` : first;
}
