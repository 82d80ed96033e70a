import { sql } from "kysely";
import type { Session } from "./session.ts";

/** What tells a cluster, and its standbys, from every other; null where the role may not ask. */
export async function systemIdentifier({ db }: Session): Promise<string | null> {
  const { rows } = await sql<{ id: string | null }>`
    SELECT CASE WHEN pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
                THEN (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) END AS id`.execute(
    db,
  );
  return rows[0]?.id ?? null;
}
