import { readFileSync } from "node:fs";
import { type ConnectionOptions, getCACertificates } from "node:tls";
import { AppError, ExitCode } from "../errors.ts";
import { SqlState, sqlStateOf } from "./sqlstates.ts";

/** How one attempt to connect is encrypted: not at all, or with these options. */
export type Encryption = false | ConnectionOptions;

const modes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;
type Mode = (typeof modes)[number];

/** As pg says it. */
const unsupported = "The server does not support SSL connections";
const parameters = ["ssl", "sslmode", "sslrootcert", "sslcert", "sslkey"];

/**
 * What libpq tries for a URL, in its order: without `sslmode` encryption is preferred, and nobody's
 * certificate is looked at before `verify-ca`, or where a root certificate is named.
 *
 * @throws {AppError} exit 2 for a mode that there is not, and a file that cannot be read
 */
export function encryptionsOf(url: URL): readonly Encryption[] {
  const mode = modeOf(url);
  // Nobody listens in on a socket's file.
  if ((url.searchParams.get("host") ?? decodeURIComponent(url.hostname)).startsWith("/")) {
    return [false];
  }
  const root = url.searchParams.get("sslrootcert");
  const own: ConnectionOptions = {
    ...optional("cert", fileOf(url, "sslcert")),
    ...optional("key", fileOf(url, "sslkey")),
  };
  const unverified = { ...own, rejectUnauthorized: false };
  const ca = root === "system" ? getCACertificates("system") : fileOf(url, "sslrootcert");
  const verified = { ...own, ...optional("ca", ca) };
  switch (mode) {
    case "disable":
      return [false];
    case "allow":
      return [false, unverified];
    case "prefer":
      return [unverified, false];
    case "require":
      return [root === null ? unverified : withAnyName(verified)];
    case "verify-ca":
      return [withAnyName(verified)];
    case "verify-full":
      return [verified];
  }
}

/** The URL for pg, which would make something else of these parameters. */
export function withoutEncryption(url: URL): URL {
  const rest = new URL(url);
  for (const name of parameters) rest.searchParams.delete(name);
  return rest;
}

/** Whether the next way may work where one has failed: the server has refused this one as such. */
export function isRefusedEncryption(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = "code" in error ? String(error.code) : "";
  return (
    error.message === unsupported ||
    sqlStateOf(error) === SqlState.invalidAuthorization ||
    /^(ERR_SSL|EPROTO)/.test(code)
  );
}

/** What went wrong with TLS, for people; undefined when it was something else. */
export function tlsError(error: unknown, server: string): AppError | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = "code" in error ? String(error.code) : "";
  const fail = (name: string, message: string, hint: string) =>
    new AppError(name, ExitCode.database, message, { hint, cause: error });
  if (error.message === unsupported) {
    return fail(
      "tls-unsupported",
      `the server at ${server} takes no encrypted connections, and sslmode demands one`,
      "Turn ssl on there; where the network is trusted, sslmode=prefer or disable in DATABASE_URL will do.",
    );
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return fail(
      "tls-wrong-host",
      `the certificate of the server at ${server} is made for another name: ${error.message}`,
      "Name the server in DATABASE_URL as its certificate does; sslmode=verify-ca does not look at the name.",
    );
  }
  if (/CERT|UNABLE_TO_(GET|VERIFY)/.test(code)) {
    const [reason] = error.message.split(";");
    return fail(
      "tls-untrusted",
      `the certificate of the server at ${server} is not trusted: ${reason}`,
      "Name its CA's certificate in DATABASE_URL: sslrootcert=FILE, or sslrootcert=system for this machine's.",
    );
  }
  if (/^(ERR_SSL|EPROTO)/.test(code)) {
    return fail(
      "tls-failed",
      `no encrypted connection to ${server}: ${error.message}`,
      "Look at the versions of TLS that the server takes: ssl_min_protocol_version.",
    );
  }
  return undefined;
}

function modeOf(url: URL): Mode {
  const given = url.searchParams.get("sslmode");
  // As pg's own URLs have it.
  if (given === null) return url.searchParams.get("ssl") === "true" ? "require" : "prefer";
  const mode = modes.find((one) => one === given);
  if (mode !== undefined) return mode;
  throw new AppError(
    "invalid-sslmode",
    ExitCode.usage,
    `the database URL has an sslmode that there is not: "${given}"`,
    { hint: `It is one of ${modes.join(", ")}.` },
  );
}

function withAnyName(options: ConnectionOptions): ConnectionOptions {
  return { ...options, checkServerIdentity: () => undefined };
}

function fileOf(url: URL, parameter: string): Buffer | undefined {
  const path = url.searchParams.get(parameter);
  if (path === null) return undefined;
  try {
    return readFileSync(path);
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    throw new AppError(
      "unreadable-certificate",
      ExitCode.usage,
      `the file "${path}", which ${parameter} in the database URL names, cannot be read: ${reason}`,
      { hint: "Check the path and its rights.", cause },
    );
  }
}

function optional<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: V };
}
