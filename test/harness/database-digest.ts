import type { QueryResultRow } from "pg";

interface Database {
  query<Row extends QueryResultRow>(sql: string): Promise<Row[]>;
}

/**
 * A digest of each table's rows and of each sequence's state, by name. Rows are compared as
 * PostgreSQL prints them, in any order; floats with all their digits. Shares no code with the
 * program's own digest.
 */
export async function databaseDigest(
  database: Database,
): Promise<Readonly<Record<string, string>>> {
  const relations = await database.query<{ name: string; kind: string }>(`
    SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
       AND n.nspname NOT LIKE 'pg\\_t%'
     ORDER BY 1`);
  const digest: Record<string, string> = {};
  for (const { name, kind } of relations) {
    const [row] = await database.query<{ digest: string }>(
      kind === "S"
        ? `SELECT last_value || ' ' || is_called AS digest FROM ${name}`
        : `SELECT count(*) || ' ' || coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '')
             AS digest FROM ${name} AS t`,
    );
    digest[name] = row?.digest ?? "";
  }
  return digest;
}
