import { type RawBuilder, sql } from "kysely";
import type { Session } from "./session.ts";

/**
 * Picks the rows of `pg_locks AS k` that are a granted advisory lock of a class and a name in this
 * database. The name is hashed as the lock's key is.
 */
export function isHeld(lockClass: number, name: string): RawBuilder<boolean> {
  return sql<boolean>`k.locktype = 'advisory' AND k.granted
       AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND k.classid::int8 = ${lockClass}
       AND k.objid::int8 = hashtext(${name})::int8 & 4294967295`;
}

/**
 * Who holds the advisory lock of a class and a name, for people: `pgtenant backup (server process
 * 4711 on 10.0.0.7, since 2026-01-01 02:00:00 UTC)`.
 */
export async function lockHolder(
  session: Session,
  lockClass: number,
  name: string,
): Promise<string> {
  const { rows } = await sql<{ holder: string }>`
    SELECT format('%s (server process %s%s, since %s)', a.application_name, a.pid,
                  ' on ' || a.client_addr::text,
                  to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ')) AS holder
      FROM pg_locks k JOIN pg_stat_activity a USING (pid)
     WHERE ${isHeld(lockClass, name)}`.execute(session.db);
  return rows[0]?.holder ?? "another session";
}
