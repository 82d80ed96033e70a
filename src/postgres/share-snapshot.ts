import { sql } from "kysely";
import type { Session } from "./session.ts";

/** How far the WAL is written, or on a standby replayed, as text such as `0/35B7A20`. */
export const walPosition = sql<string>`
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text`;

/** The name under which other sessions can see what this one's transaction sees; on a standby, too. */
export async function shareSnapshot(session: Session): Promise<string> {
  const { rows } = await sql<{ id: string }>`SELECT pg_export_snapshot() AS id`.execute(session.db);
  const [row] = rows;
  if (row === undefined) throw new Error("the server has not named the snapshot");
  return row.id;
}
