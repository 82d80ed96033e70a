import { sql } from "kysely";
import type { TenantIdentity } from "../bundle/format.ts";
import { AppError, ExitCode } from "../errors.ts";
import { lockHolder } from "../postgres/lock-holder.ts";
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
  const holder = await lockHolder(session, lockClass, tenant.id);
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
