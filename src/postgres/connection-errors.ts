import { AppError, ExitCode } from "../errors.ts";
import { SqlState, sqlStateOf } from "./sqlstates.ts";
import { tlsError } from "./tls.ts";

/**
 * Turns what went wrong while connecting into an error an operator can act on. The URL is
 * named without its password and without its parameters.
 *
 * @param tried whether the server was asked for an encrypted connection, too
 */
export function connectionError(
  error: unknown,
  databaseUrl: string,
  tried: { readonly encrypted: boolean },
): AppError {
  if (error instanceof AppError) return error;
  const target = describeTarget(databaseUrl);
  const fail = (code: string, message: string, hint: string) =>
    new AppError(code, ExitCode.database, message, { hint, cause: error });
  if (isPasswordMissing(error)) {
    return fail(
      "login-refused",
      `the server at ${target.server} wants a password of user "${target.user}", and none is given`,
      "Put it into DATABASE_URL or DATABASE_URL_FILE.",
    );
  }
  const tls = tlsError(error, target.server);
  if (tls !== undefined) return tls;
  switch (sqlStateOf(error)) {
    case SqlState.invalidPassword:
    case SqlState.invalidAuthorization:
      if (!tried.encrypted && error instanceof Error && error.message.endsWith("no encryption")) {
        return fail(
          "encryption-wanted",
          `the server at ${target.server} refused a connection of user "${target.user}" that is not encrypted`,
          "Leave sslmode=disable out of DATABASE_URL, or write sslmode=require. If that does not help, look at the server's pg_hba.conf.",
        );
      }
      return fail(
        "login-refused",
        `the server at ${target.server} refused the login of user "${target.user}"`,
        "Check user and password in DATABASE_URL, and the server's pg_hba.conf.",
      );
    case SqlState.invalidCatalogName:
      return fail(
        "no-such-database",
        `the server at ${target.server} has no database "${target.database}"`,
        "Check the database name at the end of DATABASE_URL.",
      );
    case SqlState.tooManyConnections:
      return fail(
        "too-many-connections",
        `the server at ${target.server} takes no more connections`,
        "Stop clients that are not needed, or connect as a superuser, for whom some are kept free.",
      );
    case SqlState.cannotConnectNow:
      return fail(
        "server-starting",
        `the server at ${target.server} is still starting or recovering`,
        "Wait until its recovery has finished, then run the command again.",
      );
    default:
      return fail(
        "server-unreachable",
        `no connection to ${target.server}: ${reasonOf(error)}`,
        "Check host and port in DATABASE_URL, that the server runs, and that a firewall lets you through.",
      );
  }
}

function describeTarget(databaseUrl: string) {
  try {
    const url = new URL(databaseUrl);
    const host = url.searchParams.get("host") ?? decodeURIComponent(url.hostname);
    return {
      server: host.startsWith("/")
        ? `the socket in ${host}`
        : `${host || "localhost"}:${url.port || "5432"}`,
      user: decodeURIComponent(url.username) || "(none given)",
      database: decodeURIComponent(url.pathname.slice(1)),
    };
  } catch {
    return { server: "the server", user: "(unreadable)", database: "(unreadable)" };
  }
}

/** Told by the client itself, before it answers the server. */
function isPasswordMissing(error: unknown): boolean {
  return error instanceof Error && /^SASL: .*client password must be/.test(error.message);
}

/** Several addresses of one name fail together as an AggregateError with an empty message. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  return error.message || error.name;
}
