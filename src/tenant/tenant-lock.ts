import { sql } from "kysely";
import type { TenantIdentity } from "../bundle/format.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Session } from "../postgres/session.ts";

/** "pgte": the class of the program's advisory locks. */
const lockClass = 0x70677465;
const retryMs = 250;

/**
 * Holds the tenant's lock while `work` runs. A run that was killed keeps the lock until the
 * server notices, so it is asked for again for a while.
 *
 * @throws {AppError} exit 5, naming the session that holds the lock
 */
export async function withTenantLock<T>(
  session: Session,
  tenant: TenantIdentity,
  work: () => Promise<T>,
  patienceMs = 10_000,
): Promise<T> {
  const deadline = Date.now() + patienceMs;
  while (!(await tryLock(session, tenant))) {
    if (Date.now() >= deadline) throw await lockedBy(session, tenant);
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
  try {
    return await work();
  } finally {
    await sql`SELECT pg_advisory_unlock(${lockClass}, hashtext(${tenant.id}))`
      .execute(session.db)
      .catch(() => undefined);
  }
}

async function tryLock(session: Session, tenant: TenantIdentity): Promise<boolean> {
  const { rows } = await sql<{ locked: boolean }>`
    SELECT pg_try_advisory_lock(${lockClass}, hashtext(${tenant.id})) AS locked`.execute(
    session.db,
  );
  return rows[0]?.locked === true;
}

async function lockedBy(session: Session, tenant: TenantIdentity): Promise<AppError> {
  const { rows } = await sql<{ holder: string }>`
    SELECT format('%s (process %s%s, since %s)', a.application_name, a.pid,
                  ' on ' || a.client_addr::text, to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ'))
             AS holder
      FROM pg_locks k JOIN pg_stat_activity a USING (pid)
     WHERE k.locktype = 'advisory' AND k.granted
       AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND k.classid::int8 = ${lockClass}
       AND k.objid::int8 = hashtext(${tenant.id})::int8 & 4294967295`.execute(session.db);
  const holder = rows[0]?.holder ?? "another session";
  return new AppError(
    "tenant-locked",
    ExitCode.locked,
    `another import of tenant "${tenant.slug ?? tenant.id}" is running: ${holder}`,
    {
      hint: "Wait until it has finished, then run the command again.",
      data: { holder },
    },
  );
}
