import { sql } from "kysely";
import type { Session } from "./session.ts";

/** The name under which other sessions can see what this one's transaction sees; on a standby, too. */
export async function shareSnapshot(session: Session): Promise<string> {
  const { rows } = await sql<{ id: string }>`SELECT pg_export_snapshot() AS id`.execute(session.db);
  const [row] = rows;
  if (row === undefined) throw new Error("the server has not named the snapshot");
  return row.id;
}
