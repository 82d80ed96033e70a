import { AppError, ExitCode } from "../errors.ts";
import { maintenanceDatabases, maintenanceUrl } from "./maintenance-url.ts";
import { type ConnectionOptions, type Session, withSession } from "./session.ts";
import { sqlStateOf } from "./sqlstates.ts";

/**
 * A session in a database of the same server that is not the one to be looked after: it can be
 * renamed, or made, meanwhile.
 *
 * @param use also gets the URL of the database that the session is in
 * @throws {AppError} exit 7 when no such database can be connected to
 */
export async function withMaintenanceSession<T>(
  connection: ConnectionOptions,
  database: string,
  use: (session: Session, databaseUrl: string) => Promise<T>,
): Promise<T> {
  const candidates = maintenanceDatabases(database);
  for (const [at, name] of candidates.entries()) {
    const databaseUrl = maintenanceUrl(connection.databaseUrl, name);
    let reached = false;
    try {
      return await withSession({ ...connection, databaseUrl }, (session) => {
        reached = true;
        return use(session, databaseUrl);
      });
    } catch (error) {
      // Dropped or closed to this role: the other one may not be.
      const closed = error instanceof AppError && error.exitCode === ExitCode.database;
      if (reached || !closed) throw error;
      if (at < candidates.length - 1) continue;
      // Who does not answer at all is not waited for once more.
      if (sqlStateOf(error.cause) !== undefined) await refusePooler(connection);
      throw error;
    }
  }
  throw new Error("there is no candidate for the maintenance database");
}

/**
 * A pooler may know the URL's own database only, which then explains why no other one was found.
 *
 * @throws {AppError} exit 7 when there is one in between
 */
async function refusePooler(connection: ConnectionOptions): Promise<void> {
  await withSession(connection, async () => undefined).catch((error: unknown) => {
    if (error instanceof AppError && error.code === "pooler") throw error;
  });
}
