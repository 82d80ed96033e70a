import { AppError, ExitCode } from "../errors.ts";

/** How a program of PostgreSQL's is told which database it is for. */
export interface ClientConnection {
  /** A URL without a password, for `--dbname`. */
  readonly url: string;
  /** What must not stand on a command line. */
  readonly env: Readonly<Record<string, string>>;
}

/** What libpq takes behind the `?`; it refuses a URL with anything else. */
const libpqParameters = new Set(
  `application_name channel_binding client_encoding connect_timeout dbname fallback_application_name
   gssdelegation gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle
   keepalives_interval krbsrvname load_balance_hosts options passfile port require_auth requirepeer
   service ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode sslcompression
   sslcrl sslcrldir sslkey sslmode sslnegotiation sslrootcert sslsni target_session_attrs
   tcp_user_timeout user`
    .trim()
    .split(/\s+/),
);

/**
 * @param databaseUrl one that a Session could be opened with
 * @throws {AppError} exit 2 for the passphrase of a TLS key, which libpq takes from a command line only
 */
export function clientConnection(databaseUrl: string, applicationName: string): ClientConnection {
  const url = new URL(databaseUrl);
  const password = url.password || (url.searchParams.get("password") ?? "");
  if (url.searchParams.has("sslpassword")) {
    throw new AppError(
      "sslpassword-in-url",
      ExitCode.usage,
      "the database URL holds the passphrase of a TLS key (sslpassword), which PostgreSQL's programs take on their command line only",
      { hint: "Use a key without a passphrase, in a file that only its owner can read." },
    );
  }
  const decoded = url.password === "" ? password : decodeURIComponent(password);
  url.password = "";
  for (const name of [...url.searchParams.keys()]) {
    if (!libpqParameters.has(name)) url.searchParams.delete(name);
  }
  return {
    // libpq takes a + for itself and not for a space.
    url: url.href.replaceAll("+", "%20"),
    env: {
      PGAPPNAME: applicationName,
      ...(decoded === "" ? {} : { PGPASSWORD: decoded }),
    },
  };
}
