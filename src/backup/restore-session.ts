import { sql } from "kysely";
import { AppError, ExitCode } from "../errors.ts";
import { isHeld, lockHolder } from "../postgres/lock-holder.ts";
import type { Session } from "../postgres/session.ts";

/** What the sessions of a restore are called on the server. */
export const restoreApplication = "pgtenant restore";

/** "pgtr": the class of the locks by which the sessions that make and rename databases are known. */
const lockClass = 0x70677472;
const patienceMs = 10_000;
const lookAgainMs = 50;

/**
 * Makes this session the one that makes and renames databases for a target, and ends what a restore
 * of it that was killed has left at work on the server: the server notices the end of a program only
 * when it has something to tell it, and of a machine after hours, so that a database may still be
 * made for it, and rows be loaded. The caller holds the lock of the target: no other restore is alive.
 *
 * @param admin a session in the maintenance database; the mark lasts as long as it does
 * @throws {AppError} exit 7 when what was left does not end
 */
export async function takeOverRestores(admin: Session, target: string): Promise<void> {
  await endSessionsIn(admin, target);
  const deadline = Date.now() + patienceMs;
  while (!(await tryMark(admin, target))) {
    if (Date.now() >= deadline) throw await doesNotEnd(admin, target);
    await endMarked(admin, target);
    await new Promise((resolve) => setTimeout(resolve, lookAgainMs));
  }
}

/** Waits for their end, or they would be taken for clients that have to be disconnected. */
async function endSessionsIn(admin: Session, database: string): Promise<void> {
  await sql`SELECT pg_terminate_backend(pid, ${patienceMs}) FROM pg_catalog.pg_stat_activity
             WHERE datname = ${database} AND application_name = ${restoreApplication}
               AND usename = current_user AND pid <> pg_backend_pid()`.execute(admin.db);
}

async function tryMark(admin: Session, target: string): Promise<boolean> {
  const { rows } = await sql<{ marked: boolean }>`
    SELECT pg_try_advisory_lock(${lockClass}, hashtext(${target})) AS marked`.execute(admin.db);
  return rows[0]?.marked === true;
}

async function endMarked(admin: Session, target: string): Promise<void> {
  await sql`SELECT pg_terminate_backend(a.pid)
              FROM pg_catalog.pg_locks k JOIN pg_catalog.pg_stat_activity a USING (pid)
             WHERE ${isHeld(lockClass, target)} AND a.usename = current_user`.execute(admin.db);
}

async function doesNotEnd(admin: Session, target: string): Promise<AppError> {
  const holder = await lockHolder(admin, lockClass, target);
  return new AppError(
    "restore-left-behind",
    ExitCode.database,
    `a session of an earlier restore of "${target}" does not end: ${holder}`,
    {
      hint: "End it with pg_terminate_backend, as a role that may, then run the command again.",
      data: { target, holder },
    },
  );
}
