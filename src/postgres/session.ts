import { Kysely, PostgresDialect, type PostgresPoolClient, type RawBuilder, sql } from "kysely";
import pg from "pg";
import { AppError, ExitCode } from "../errors.ts";
import { connectionError } from "./connection-errors.ts";
import { databaseError } from "./database-errors.ts";
import { SqlState, sqlStateOf } from "./sqlstates.ts";
import { type Encryption, encryptionsOf, isRefusedEncryption, withoutEncryption } from "./tls.ts";

/** One connection, once as Kysely for queries and once as the client that COPY needs. */
export interface Session {
  readonly client: pg.Client;
  readonly db: Kysely<unknown>;
  readonly serverVersion: string;
  /** The server's version number as `server_version_num` has it: 150018. */
  readonly serverVersionNumber: number;
  readonly database: string;
  /** Whether a pooler stands between us and the server. */
  readonly pooled: boolean;
  /** Looks at what others have committed since, from a connection of its own. */
  readonly beside: <T>(look: (session: Session) => Promise<T>) => Promise<T>;
}

/**
 * A pooler that hands a session to other clients between two transactions would hand them our
 * settings and temporary tables, and us theirs. `session` says that the one in between does not.
 */
export type PoolerPolicy = "refuse" | "session";

export interface ConnectionOptions {
  /** A PostgreSQL URL; `sslmode` means what libpq means by it. */
  readonly databaseUrl: string;
  /** What `pg_stat_activity` shows, so that a waiting operator can tell who holds a lock. */
  readonly applicationName: string;
  /** Ends the connection, and with it what the server is doing, when it fires. */
  readonly signal?: AbortSignal;
  /** How long the server may take to answer at all, in milliseconds; 15,000 by default. */
  readonly connectTimeoutMs?: number;
  /** How long a starting or recovering server is waited for, in milliseconds. */
  readonly startupPatienceMs?: number;
  /** `refuse` by default. */
  readonly pooler?: PoolerPolicy | undefined;
}

const oldestServer = 140000;

/**
 * Settings that make output and input independent of the role's and the database's own: the
 * JSON of a row is the same bytes everywhere, and nothing is filtered or cut short in silence.
 */
const sessionSettings: Readonly<Record<string, string>> = {
  TimeZone: "UTC",
  DateStyle: "ISO, MDY",
  IntervalStyle: "iso_8601",
  bytea_output: "hex",
  extra_float_digits: "1",
  lc_monetary: "C",
  standard_conforming_strings: "on",
  row_security: "off",
  statement_timeout: "0",
  idle_in_transaction_session_timeout: "0",
  idle_session_timeout: "0",
  client_min_messages: "warning",
  jit: "off",
};

/** Types that arrive as JavaScript values; everything else stays the text the server sent. */
const parsedTypes = new Set<number>([
  pg.types.builtins.BOOL,
  pg.types.builtins.INT2,
  pg.types.builtins.INT4,
  pg.types.builtins.OID,
  pg.types.builtins.JSON,
  pg.types.builtins.JSONB,
  1009 /* text[] */,
  1003 /* name[] */,
  1005 /* int2[] */,
  1007 /* int4[] */,
]);

/**
 * Opens one connection, gives it the settings that the bundle format demands, and closes it
 * when `use` is done.
 *
 * @throws {AppError} exit 7 when the server cannot be reached, refuses the login, is too old or is
 *   behind a pooler; exit 2 when the URL cannot be read. No message holds the password.
 */
export async function withSession<T>(
  options: ConnectionOptions,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const client = await connect(options);
  const cut = () => client.connection.stream.destroy();
  options.signal?.addEventListener("abort", cut, { once: true });
  try {
    const beside: Session["beside"] = (look) => withSession(options, look);
    return await use({ ...(await prepareSession(client, options.pooler ?? "refuse")), beside });
  } catch (error) {
    throw databaseError(error);
  } finally {
    options.signal?.removeEventListener("abort", cut);
    if (options.signal?.aborted !== true) await client.end().catch(() => undefined);
  }
}

async function connect(options: ConnectionOptions): Promise<pg.Client> {
  const deadline = Date.now() + (options.startupPatienceMs ?? 30_000);
  const url = parseUrl(options.databaseUrl);
  const encryptions = encryptionsOf(url);
  const tried: unknown[] = [];
  for (let at = 0; ; ) {
    const encryption = encryptions[at];
    if (encryption === undefined) throw new Error("there is no way left to connect");
    const client = makeClient(url, options, encryption);
    // Without a listener a connection that dies between two queries would end the process;
    // the next query reports it.
    client.on("error", () => undefined);
    try {
      await client.connect();
      return client;
    } catch (error) {
      await client.end().catch(() => undefined);
      if (at + 1 < encryptions.length && isRefusedEncryption(error)) {
        tried.push(error);
        at += 1;
        continue;
      }
      if (sqlStateOf(error) !== SqlState.cannotConnectNow || Date.now() > deadline) {
        throw connectionError(tellingOf([...tried, error]), options.databaseUrl, {
          encrypted: encryptions.some((one) => one !== false),
        });
      }
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}

/** Where the server refuses us either way, what it says of the first, which is preferred. */
function tellingOf(errors: readonly unknown[]): unknown {
  const refused = errors.every((error) => sqlStateOf(error) === SqlState.invalidAuthorization);
  return refused ? errors[0] : errors.at(-1);
}

function makeClient(url: URL, options: ConnectionOptions, ssl: Encryption): pg.Client {
  const client = new pg.Client(clientConfig(url, options, ssl));
  // pg leaves %3A, %2F and the like in a database's name as they are, and libpq does not.
  const { connectionParameters } = client as unknown as {
    readonly connectionParameters: { database?: string };
  };
  const name = url.pathname.slice(1);
  if (name !== "") connectionParameters.database = decodeName(name);
  return client;
}

function decodeName(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    throw invalidUrl();
  }
}

function parseUrl(databaseUrl: string): URL {
  let url: URL;
  try {
    url = new URL(databaseUrl);
  } catch {
    throw invalidUrl();
  }
  if (url.protocol !== "postgres:" && url.protocol !== "postgresql:") throw invalidUrl();
  if (hasLoosePassword(url)) throw invalidUrl();
  return url;
}

function clientConfig(url: URL, options: ConnectionOptions, ssl: Encryption): pg.ClientConfig {
  return {
    connectionString: withoutEncryption(url).href,
    ssl,
    // Every server understands it, whatever PGSSLNEGOTIATION says.
    sslnegotiation: "postgres",
    application_name: options.applicationName,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 15_000,
    keepAlive: true,
    // A session waits for hours while a program loads; what lies in between forgets it sooner.
    keepAliveInitialDelayMillis: 60_000,
    types: {
      getTypeParser: ((oid: number, format?: "text" | "binary") =>
        parsedTypes.has(oid)
          ? pg.types.getTypeParser(oid, format as "text")
          : (value: string) => value) as typeof pg.types.getTypeParser,
    },
  };
}

/** Whether an unescaped / ? or # has split the password, a part of which would pass for a host. */
function hasLoosePassword(url: URL): boolean {
  const split = url.pathname + url.hash + (url.username === "" ? url.search : "");
  return split.includes("@");
}

export function invalidUrl(): AppError {
  return new AppError("invalid-database-url", ExitCode.usage, "the database URL cannot be read", {
    hint: "It has the form postgres://user:password@host:5432/database; characters such as @ or / in the password are written as %40 and %2F.",
  });
}

async function prepareSession(
  client: pg.Client,
  pooler: PoolerPolicy,
): Promise<Omit<Session, "beside">> {
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: poolOf(client) }) });
  const { rows } = await sql<{ version: string; number: string; database: string; pid: number }>`
    SELECT current_setting('server_version') AS version,
           pg_backend_pid() AS pid,
           current_setting('server_version_num') AS number,
           current_database() AS database`.execute(db);
  const [row] = rows;
  if (row === undefined) throw new Error("the server did not tell its version");
  const serverVersionNumber = Number(row.number);
  if (serverVersionNumber < oldestServer) {
    throw new AppError(
      "server-too-old",
      ExitCode.database,
      `the server is PostgreSQL ${row.version}, older than 14`,
      { hint: "PostgreSQL 14 to 18 are supported; upgrade the server first." },
    );
  }
  const pooled = isPooled(client, row.pid);
  if (pooled && pooler === "refuse") throw behindPooler();
  const ofVersion = serverVersionNumber >= 170_000 ? { transaction_timeout: "0" } : {};
  const settings = Object.entries({ ...sessionSettings, ...ofVersion }).map(
    ([name, value]) => sql`set_config(${name}, ${value}, false)`,
  );
  await sql`SELECT ${sql.join(settings)}`.execute(db);
  await noticeVanishedClients(client);
  return {
    client,
    db,
    serverVersion: row.version.split(" ")[0] ?? row.version,
    serverVersionNumber,
    database: row.database,
    pooled,
  };
}

/** A pooler makes up the process number that it tells its clients; the server tells its own. */
function isPooled(client: pg.Client, pid: number): boolean {
  const { processID: announced } = client as { readonly processID?: number | null };
  return typeof announced === "number" && announced !== pid;
}

function behindPooler(): AppError {
  return new AppError(
    "pooler",
    ExitCode.database,
    "a connection pooler such as PgBouncer stands between us and the server",
    {
      hint: "Name the server itself in DATABASE_URL: other clients of the pooler would get our settings, and we theirs. Where it gives each client a session of its own (pool_mode = session), PGTENANT_POOLER=session says so.",
    },
  );
}

/**
 * A client that is killed leaves the server working for it; this lets the server find out. Not
 * every platform can, and there it stays off.
 */
async function noticeVanishedClients(client: pg.Client): Promise<void> {
  await client.query("SET client_connection_check_interval = '250ms'").catch(() => undefined);
}

/** Kysely asks a pool for connections; here it always gets the one of this session. */
function poolOf(client: pg.Client) {
  const query = client.query.bind(client) as PostgresPoolClient["query"];
  const lent = { query, release: () => undefined };
  return { options: {}, connect: async () => lent, end: async () => undefined };
}

/** Runs `work` in a transaction: COMMIT when it returns, ROLLBACK when it throws. */
export async function withTransaction<T>(
  session: Session,
  characteristics: "REPEATABLE READ" | "REPEATABLE READ READ ONLY",
  work: () => Promise<T>,
): Promise<T> {
  await session.client.query(`BEGIN ISOLATION LEVEL ${characteristics}`);
  try {
    const result = await work();
    await session.client.query("COMMIT");
    return result;
  } catch (error) {
    // A dead connection cannot roll back; the server does it by itself then.
    await session.client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

/** The text of a statement for COPY, which takes no bound parameters: literals are inlined. */
export function statementText(session: Session, statement: RawBuilder<unknown>): string {
  const compiled = statement.compile(session.db);
  if (compiled.parameters.length > 0) throw new Error("a COPY statement cannot have parameters");
  return compiled.sql;
}
