import { AppError, ExitCode } from "../errors.ts";
import { SqlState, sqlStateOf } from "./sqlstates.ts";

/**
 * Turns an error of the server or of the connection into one an operator can act on; anything
 * else is given back as it is. The server's `detail` is left out: it quotes values of rows.
 */
export function databaseError(error: unknown): unknown {
  if (error instanceof AppError || !(error instanceof Error)) return error;
  const state = sqlStateOf(error);
  if (state === undefined) return isConnectionLoss(error) ? connectionLost(error) : error;
  const fail = (code: string, exitCode: ExitCode, message: string, hint: string) =>
    new AppError(code, exitCode, message, { hint, cause: error, data: { sqlState: state } });
  switch (state) {
    case SqlState.insufficientPrivilege:
      return error.message.includes("row-level security")
        ? fail(
            "row-level-security",
            ExitCode.database,
            `row-level security would hide rows: ${error.message}`,
            "Connect as a role that sees every row: the tables' owner, a superuser, or one with BYPASSRLS.",
          )
        : fail(
            "insufficient-privilege",
            ExitCode.database,
            `the role has too few rights: ${error.message}`,
            "Connect as the tables' owner, or GRANT the role what it lacks; pgtenant doctor lists it.",
          );
    case SqlState.readOnlyTransaction:
      return fail(
        "read-only",
        ExitCode.database,
        `the server takes no writes from this role: ${error.message}`,
        "It is a standby, or default_transaction_read_only is on; pgtenant doctor tells which, and what to do.",
      );
    case SqlState.lockNotAvailable:
      return fail(
        "lock-timeout",
        ExitCode.locked,
        `another session holds a lock for too long: ${error.message}`,
        "Look into pg_stat_activity for long transactions on these tables, then run the command again.",
      );
    case SqlState.serializationFailure:
    case SqlState.deadlockDetected:
      if (/conflict with recovery/.test(error.message)) {
        return fail(
          "standby-conflict",
          ExitCode.database,
          `the standby had to replay a change that this read stood in the way of: ${error.message}`,
          "Run the command again. Where it happens often: hot_standby_feedback = on, or a longer max_standby_streaming_delay, on the standby.",
        );
      }
      return fail(
        "changed-meanwhile",
        ExitCode.refused,
        "another session changed the same rows at the same time; nothing was written",
        "Run the command again. Where something changes them all the time, as heartbeats do, stop it meanwhile, or leave its tables out with --exclude.",
      );
    case SqlState.adminShutdown:
    case SqlState.crashShutdown:
    case SqlState.cannotConnectNow:
      return connectionLost(error);
    default:
      return fail(
        "database-error",
        ExitCode.database,
        `the database refused a statement: ${error.message} (SQLSTATE ${state})`,
        "Nothing was changed. The server's log has the statement.",
      );
  }
}

function isConnectionLoss(error: Error): boolean {
  const code = "code" in error ? error.code : undefined;
  return (
    /^Connection terminated|Client has encountered a connection error|Client was closed/.test(
      error.message,
    ) ||
    (typeof code === "string" &&
      ["ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNREFUSED"].includes(code))
  );
}

function connectionLost(cause: Error): AppError {
  return new AppError(
    "connection-lost",
    ExitCode.database,
    "the connection to the database was lost",
    {
      cause,
      hint: "An open transaction is rolled back by the server. See the server's log for the reason, then run the command again.",
    },
  );
}
