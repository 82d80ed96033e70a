import { sql } from "kysely";
import { AppError, ExitCode } from "../errors.ts";
import { setKeepalives } from "../postgres/keepalives.ts";
import { lockHolder } from "../postgres/lock-holder.ts";
import { withMaintenanceSession } from "../postgres/maintenance-session.ts";
import type { ConnectionOptions, Session } from "../postgres/session.ts";
import type { HeldLock } from "./held-lock.ts";

/** "pgtb": the class of the locks on whole databases; those on tenants have another one. */
const lockClass = 0x70677462;
const retryMs = 250;

export interface TargetLockOptions {
  /** How long the session of a run that was killed is waited for, in milliseconds. */
  readonly patienceMs?: number;
}

/**
 * Holds the lock of a database while `work` runs, on whichever host. It is an advisory lock in
 * the maintenance database, keyed by the name: a restore renames the database itself. A holder
 * that dies loses it with its session.
 *
 * @param connection its URL names any database of the server
 * @param operation one word, shown to whoever meets the lock: `backup`, `restore`
 * @throws {AppError} exit 5, naming the holder, when another session holds it; exit 7 when
 *   neither maintenance database can be connected to
 */
export async function withTargetLock<T>(
  connection: ConnectionOptions,
  database: string,
  operation: string,
  work: (held: HeldLock) => Promise<T>,
  options: TargetLockOptions = {},
): Promise<T> {
  const lost = new AbortController();
  // An error of the work must not be read as one of the lock's session.
  let outcome: { readonly value: T } | { readonly thrown: unknown } | undefined;
  // Without the signal: an interrupted run still cleans up, and nobody else may begin meanwhile.
  const { signal, ...unsignalled } = connection;
  signal?.throwIfAborted();
  const own = { ...unsignalled, applicationName: `pgtenant ${operation}` };
  await withMaintenanceSession(own, database, async (session) => {
    await lockOrThrow(session, database, options.patienceMs ?? 3_000);
    session.client.once("end", () => lost.abort(lockLost(database)));
    try {
      outcome = { value: await work({ lost: lost.signal }) };
    } catch (thrown) {
      outcome = { thrown };
    } finally {
      session.client.removeAllListeners("end");
      await unlock(session, database);
    }
  });
  if (outcome === undefined) throw new Error("the work under the lock did not run");
  if ("thrown" in outcome) throw outcome.thrown;
  return outcome.value;
}

/**
 * The same for work that needs no database: where no server answers within five seconds, it is
 * done without the lock, and `warn` is told.
 *
 * @throws {AppError} exit 5 when another session holds the lock
 */
export async function withTargetLockIfReachable<T>(
  connection: ConnectionOptions,
  database: string,
  operation: string,
  warn: (text: string) => void,
  work: (held: HeldLock) => Promise<T>,
  options: TargetLockOptions = {},
): Promise<T> {
  let begun = false;
  try {
    return await withTargetLock(
      { ...connection, connectTimeoutMs: 5_000, startupPatienceMs: 0 },
      database,
      operation,
      (held) => {
        begun = true;
        return work(held);
      },
      options,
    );
  } catch (error) {
    if (begun || !(error instanceof AppError) || error.exitCode !== ExitCode.database) throw error;
    warn(`the database "${database}" could not be locked, and is not needed: ${error.message}`);
    return await work({ lost: new AbortController().signal });
  }
}

async function lockOrThrow(session: Session, database: string, patienceMs: number): Promise<void> {
  await setKeepalives(session);
  const deadline = Date.now() + patienceMs;
  while (!(await tryLock(session, database))) {
    if (Date.now() >= deadline) throw await lockedBy(session, database);
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

async function tryLock(session: Session, database: string): Promise<boolean> {
  const { rows } = await sql<{ locked: boolean }>`
    SELECT pg_try_advisory_lock(${lockClass}, hashtext(${database})) AS locked`.execute(session.db);
  return rows[0]?.locked === true;
}

async function unlock(session: Session, database: string): Promise<void> {
  await sql`SELECT pg_advisory_unlock(${lockClass}, hashtext(${database}))`
    .execute(session.db)
    .catch(() => undefined);
}

async function lockedBy(session: Session, database: string): Promise<AppError> {
  const holder = await lockHolder(session, lockClass, database);
  return new AppError(
    "database-locked",
    ExitCode.locked,
    `another run is at work on the database "${database}": ${holder}`,
    {
      hint: "Wait until it has finished, then run the command again.",
      data: { database, holder },
    },
  );
}

function lockLost(database: string): AppError {
  return new AppError(
    "lock-lost",
    ExitCode.database,
    `the connection that held the lock of the database "${database}" was lost`,
    { hint: "See the server's log for the reason, then run the command again." },
  );
}
