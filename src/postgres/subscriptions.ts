import { sql } from "kysely";
import type { Session } from "./session.ts";

/** The names of a database's subscriptions of logical replication, seen from any database. */
export async function subscriptionsOf(
  { db }: Session,
  database: string,
): Promise<readonly string[]> {
  const { rows } = await sql<{ name: string }>`
    SELECT s.subname::text AS name
      FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
     WHERE d.datname = ${database} ORDER BY 1`.execute(db);
  return rows.map((row) => row.name);
}
