import { sql } from "kysely";
import { AppError, ExitCode } from "../../errors.ts";
import { lockHolder } from "../../postgres/lock-holder.ts";
import type { Session } from "../../postgres/session.ts";
import type { Shard } from "./shard.ts";

/** "pgts": the class of the locks on sets; those on tenants and databases have others. */
const lockClass = 0x70677473;
/** The server may take a moment to notice that a run was killed. */
const patienceMs = 3_000;
const retryMs = 250;

/**
 * Sees to it that one run at a time exports this database's tenants into this place, or this shard
 * of them. The lock is the database's and ends with the transaction, so that whatever becomes of
 * the run, of its machine or of its container, the next one finds it free.
 *
 * @throws {AppError} exit 5, naming the holder
 */
export async function lockSet(session: Session, place: string, shard: Shard | null): Promise<void> {
  const name = `${place}#${shard === null ? "" : `${shard.index}/${shard.of}`}`;
  const deadline = Date.now() + patienceMs;
  while (!(await tryLock(session, name))) {
    if (Date.now() >= deadline) throw await lockedBy(session, name, place, shard);
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

async function tryLock(session: Session, name: string): Promise<boolean> {
  const { rows } = await sql<{ locked: boolean }>`
    SELECT pg_try_advisory_xact_lock(${lockClass}, hashtext(${name})) AS locked`.execute(
    session.db,
  );
  return rows[0]?.locked === true;
}

async function lockedBy(
  session: Session,
  name: string,
  place: string,
  shard: Shard | null,
): Promise<AppError> {
  const holder = await lockHolder(session, lockClass, name);
  const what = shard === null ? "every tenant" : `shard ${shard.index}/${shard.of}`;
  return new AppError(
    "set-locked",
    ExitCode.locked,
    `another run exports ${what} of the database "${session.database}" into "${place}": ${holder}`,
    {
      hint: "Wait until it has finished, then run the command again; or export to another place with -o.",
      data: { place, holder },
    },
  );
}
