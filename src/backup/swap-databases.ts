import { sql } from "kysely";
import { AppError, ExitCode } from "../errors.ts";
import { databaseError } from "../postgres/database-errors.ts";
import { type ConnectionOptions, type Session, withSession } from "../postgres/session.ts";
import { SqlState, sqlStateOf } from "../postgres/sqlstates.ts";

/** A session that is connected to a database. */
export interface Client {
  readonly pid: number;
  /** Application, user and address, as far as they are known. */
  readonly description: string;
}

const attempts = 5;
const lookAgainMs = 100;
/** A restore of hours waits for a monitor that looks in, or for somebody who is told that he is in the way. */
const clientsPatienceMs = 60_000;

export async function databaseExists(admin: Session, name: string): Promise<boolean> {
  const { rows } = await sql`SELECT FROM pg_catalog.pg_database WHERE datname = ${name}`.execute(
    admin.db,
  );
  return rows.length > 0;
}

/**
 * Who else is connected to a database: clients, and in the way of its renaming those of logical
 * replication and workers of extensions as well. The server ends its own autovacuum workers then. Of
 * others' sessions a role without pg_read_all_stats is not told the kind, but that a user has them.
 */
export async function clientsOf(
  admin: Session,
  database: string,
  inTheWayOf: "renaming" | "replacing" = "renaming",
): Promise<readonly Client[]> {
  const kinds =
    inTheWayOf === "renaming"
      ? sql`backend_type NOT IN ('autovacuum worker', 'parallel worker')`
      : sql`backend_type = 'client backend'`;
  const { rows } = await sql<Client>`
    SELECT pid, concat_ws(', ', nullif(application_name, ''), 'user ' || usename,
                          CASE WHEN backend_type <> 'client backend' THEN backend_type
                               ELSE 'from ' || coalesce(client_addr::text, 'this host') END)
           AS description
      FROM pg_catalog.pg_stat_activity
     WHERE datname = ${database} AND pid <> pg_backend_pid()
       AND (${kinds} OR backend_type IS NULL AND usesysid IS NOT NULL)
     ORDER BY pid`.execute(admin.db);
  return rows;
}

/** @throws {AppError} exit 4 for transactions that were prepared and are still open: no session holds them */
export async function refusePrepared(admin: Session, database: string): Promise<void> {
  const { rows } = await sql<{ gid: string }>`
    SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = ${database}
     ORDER BY prepared`.execute(admin.db);
  const { length } = rows;
  if (length === 0) return;
  throw new AppError(
    "prepared-transactions",
    ExitCode.refused,
    `${length} prepared transaction${length === 1 ? " is" : "s are"} open in database "${database}"`,
    {
      hint: "End each in that database, with COMMIT PREPARED or ROLLBACK PREPARED; pg_prepared_xacts shows them.",
      details: rows.map(({ gid }) => gid),
    },
  );
}

const beforehand =
  "Stop the control plane first (docker compose stop control-plane), or end the connections with --disconnect.";
const staying =
  "End what connects to it again and again, such as a monitor or a pooler, then restore again. To end sessions of other roles, this one needs pg_signal_backend.";

/** @throws {AppError} exit 4, naming who is connected */
export function refuseClients(
  database: string,
  clients: readonly Client[],
  hint = beforehand,
): void {
  if (clients.length === 0) return;
  throw new AppError(
    "clients-connected",
    ExitCode.refused,
    `${clients.length} client${clients.length === 1 ? " is" : "s are"} connected to database "${database}"`,
    {
      hint,
      details: clients.map((client) => `process ${client.pid}: ${client.description}`),
      data: { clients },
    },
  );
}

export interface Swap {
  /** The name that the restored database gets. */
  readonly name: string;
  /** What it is called until then. */
  readonly restored: string;
  /** What the database of that name is called afterwards; undefined when there is none. */
  readonly kept: string | undefined;
  /** Ends others' connections to the one that has the name; without it they are a reason to refuse. */
  readonly disconnect: boolean;
  /** Hears once who is waited for. */
  readonly onWait?: (clients: readonly Client[]) => void;
  /** How long clients are waited for that may not be disconnected. */
  readonly patienceMs?: number;
}

/**
 * Gives a restored database its name, and the one that had it another, in one transaction: whenever
 * we are killed, the name belongs to a whole database.
 *
 * A rename waits a few seconds for the sessions of the database to leave while new ones wait for
 * the rename; so sessions are ended while it waits, and nobody slips in between. Those in the
 * restored database are ended in any case: a monitor that looks into every database, or a pooler
 * that keeps what it has opened, must not cost a restore of hours.
 *
 * @throws {AppError} exit 4 when clients are connected and may not be disconnected
 */
export async function swapDatabases(
  admin: Session,
  connection: ConnectionOptions,
  swap: Swap,
): Promise<void> {
  const waiting = new Waiting(admin, swap);
  for (let attempt = 1; ; attempt += 1) {
    if (swap.kept !== undefined && !swap.disconnect) await waiting.untilClientsLeave();
    const ending = swap.disconnect && swap.kept !== undefined ? [swap.name] : [];
    try {
      await endingClients(connection, [...ending, swap.restored], () => rename(admin, swap));
      return;
    } catch (error) {
      if (sqlStateOf(error) !== SqlState.objectInUse) throw databaseError(error);
      if (attempt < attempts) continue;
      for (const database of [swap.name, swap.restored]) {
        refuseClients(database, await clientsOf(admin, database), staying);
      }
      throw databaseError(error);
    }
  }
}

/** One patience for all attempts. */
class Waiting {
  readonly #admin: Session;
  readonly #swap: Swap;
  readonly #deadline: number;
  #told = false;

  constructor(admin: Session, swap: Swap) {
    this.#admin = admin;
    this.#swap = swap;
    this.#deadline = performance.now() + (swap.patienceMs ?? clientsPatienceMs);
  }

  async untilClientsLeave(): Promise<void> {
    const { name, onWait } = this.#swap;
    for (;;) {
      const clients = await clientsOf(this.#admin, name);
      if (clients.length === 0) return;
      if (performance.now() >= this.#deadline) refuseClients(name, clients);
      if (!this.#told) onWait?.(clients);
      this.#told = true;
      await new Promise((resolve) => setTimeout(resolve, lookAgainMs));
    }
  }
}

async function rename(admin: Session, swap: Swap): Promise<void> {
  await admin.client.query("BEGIN");
  try {
    if (swap.kept !== undefined) {
      await sql`ALTER DATABASE ${sql.id(swap.name)} RENAME TO ${sql.id(swap.kept)}`.execute(
        admin.db,
      );
    }
    await sql`ALTER DATABASE ${sql.id(swap.restored)} RENAME TO ${sql.id(swap.name)}`.execute(
      admin.db,
    );
    await admin.client.query("COMMIT");
  } catch (error) {
    await admin.client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

/** Ends the sessions of databases, again and again, while `work` is under way. */
async function endingClients<T>(
  connection: ConnectionOptions,
  databases: readonly string[],
  work: () => Promise<T>,
): Promise<T> {
  let working = true;
  const done = work().finally(() => {
    working = false;
  });
  const settled = done.catch(() => undefined); // it is awaited below
  // Where no further session is to be had, or others may not be ended, the work says what is in its way.
  await withSession(connection, async (other) => {
    while (working) {
      for (const database of databases) await endClients(other, database).catch(() => undefined);
      await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, lookAgainMs))]);
    }
  }).catch(() => undefined);
  return await done;
}

/**
 * Ends everybody else's sessions of a database, as far as this role may; they may come back.
 *
 * @throws the server's error for the first one that may not be ended, when the others are
 */
export async function endClients(
  admin: Session,
  database: string,
  inTheWayOf: "renaming" | "replacing" = "renaming",
): Promise<void> {
  const refused: unknown[] = [];
  for (const { pid } of await clientsOf(admin, database, inTheWayOf)) {
    await sql`SELECT pg_terminate_backend(${pid})`
      .execute(admin.db)
      .catch((error: unknown) => refused.push(error));
  }
  if (refused.length > 0) throw refused[0];
}
