import { sql } from "kysely";
import { AppError, ExitCode } from "../errors.ts";
import type { Session } from "./session.ts";

const defaultHint =
  "Connect to the primary. Where it is gone for good, make this server the primary first: SELECT pg_promote().";

/**
 * For work that writes, if only into temporary tables.
 *
 * @throws {AppError} exit 7 when the server is a standby
 */
export async function refuseStandby(session: Session, hint = defaultHint): Promise<void> {
  const { rows } = await sql<{ standby: boolean }>`
    SELECT pg_is_in_recovery() AS standby`.execute(session.db);
  if (rows[0]?.standby !== true) return;
  throw new AppError(
    "standby",
    ExitCode.database,
    "the server is a standby, which takes no writes and has no temporary tables",
    { hint },
  );
}
