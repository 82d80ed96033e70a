import { sql } from "kysely";
import type { Session } from "./session.ts";

/** What tells a cluster, and its standbys, from every other; null where the role may not ask. */
export async function systemIdentifier({ db }: Session): Promise<string | null> {
  // Asked first: a statement with the call in it is refused as a whole, whatever it decides.
  const { rows } = await sql<{ allowed: boolean }>`
    SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
        AS allowed`.execute(db);
  if (rows[0]?.allowed !== true) return null;
  const found = await sql<{ id: string }>`
    SELECT system_identifier::text AS id FROM pg_catalog.pg_control_system()`.execute(db);
  return found.rows[0]?.id ?? null;
}
