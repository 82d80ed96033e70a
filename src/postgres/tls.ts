import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, getCACertificates } from "node:tls";
import { AppError, ExitCode } from "../errors.ts";
import { SqlState, sqlStateOf } from "./sqlstates.ts";

/** How one attempt to connect is encrypted: not at all, or with these options. */
export type Encryption = false | ConnectionOptions;

const modes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;
type Mode = (typeof modes)[number];

/** As pg says it. */
const unsupported = "The server does not support SSL connections";
const parameters = ["ssl", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation"];

/**
 * What libpq tries for a URL, in its order. Without `sslmode` encryption is preferred; a
 * certificate is looked at from `verify-ca` on, with `require` where there is a root certificate:
 * the one that is named, or that of `~/.postgresql`.
 *
 * @throws {AppError} exit 2 for a mode that there is not, one that is too weak for what it is given,
 *   and a file that cannot be read
 */
export function encryptionsOf(url: URL): readonly Encryption[] {
  const mode = modeOf(url);
  // Nobody listens in on a socket's file.
  if ((url.searchParams.get("host") ?? decodeURIComponent(url.hostname)).startsWith("/")) {
    return [false];
  }
  switch (mode) {
    case "disable":
      return [false];
    case "allow":
      return [false, { ...ownCertificate(url, "where-it-is"), rejectUnauthorized: false }];
    case "prefer":
      return [{ ...ownCertificate(url, "where-it-is"), rejectUnauthorized: false }, false];
    case "require":
    case "verify-ca":
    case "verify-full": {
      const own = ownCertificate(url, "demanded");
      const ca = rootOf(url);
      if (ca === undefined) {
        if (mode === "require") return [{ ...own, rejectUnauthorized: false }];
        throw noRoot(mode);
      }
      const anyName = mode === "verify-full" ? {} : { checkServerIdentity: () => undefined };
      return [{ ...own, ca, ...anyName }];
    }
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
  if (/ALERT_.*(CERT|UNKNOWN_CA)/.test(code)) {
    return fail(
      "tls-own-certificate",
      `the server at ${server} does not take our certificate: ${error.message}`,
      "Name one that it trusts in DATABASE_URL: sslcert=FILE and sslkey=FILE.",
    );
  }
  if (/^ERR_OSSL/.test(code)) {
    return new AppError(
      "unreadable-certificate",
      ExitCode.usage,
      `the certificates that the database URL names cannot be used: ${error.message}`,
      {
        hint: "Check that sslcert and sslrootcert are PEM files, and that sslkey is sslcert's.",
        cause: error,
      },
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
  const system = url.searchParams.get("sslrootcert") === "system";
  if (given === null) return system ? "verify-full" : "prefer";
  const mode = modes.find((one) => one === given);
  if (mode === undefined) {
    throw new AppError(
      "invalid-sslmode",
      ExitCode.usage,
      `the database URL has an sslmode that there is not: "${given}"`,
      { hint: `It is one of ${modes.join(", ")}.` },
    );
  }
  if (system && mode !== "verify-full") {
    throw new AppError(
      "weak-sslmode",
      ExitCode.usage,
      `sslmode=${mode} is too weak for sslrootcert=system: anybody has a certificate that this machine trusts`,
      { hint: "Use sslmode=verify-full, or leave sslmode out." },
    );
  }
  return mode;
}

function noRoot(mode: Mode): AppError {
  return new AppError(
    "no-root-certificate",
    ExitCode.usage,
    `sslmode=${mode} needs a root certificate, and there is none in "${ofHome("root.crt")}"`,
    {
      hint: "Name one in DATABASE_URL: sslrootcert=FILE, or sslrootcert=system for those that this machine trusts.",
    },
  );
}

/** The certificates to trust; undefined where none is named and there is none of the user's. */
function rootOf(url: URL): Buffer | string[] | undefined {
  const named = url.searchParams.get("sslrootcert");
  if (named === "system") return getCACertificates("system");
  if (named !== null) return readNamed("sslrootcert", named);
  const usual = ofHome("root.crt");
  return existsSync(usual) ? readNamed("sslrootcert", usual) : undefined;
}

/** What we show the server, if it asks: what is named, or the user's own. */
function ownCertificate(url: URL, named: "demanded" | "where-it-is"): ConnectionOptions {
  const pathOf = (parameter: string, usual: string): string | undefined => {
    const given = url.searchParams.get(parameter);
    const path = given ?? ofHome(usual);
    return (given !== null && named === "demanded") || existsSync(path) ? path : undefined;
  };
  const cert = pathOf("sslcert", "postgresql.crt");
  const key = pathOf("sslkey", "postgresql.key");
  if (cert === undefined || key === undefined) return {};
  return { cert: readNamed("sslcert", cert), key: readNamed("sslkey", key) };
}

function ofHome(name: string): string {
  return join(homedir(), ".postgresql", name);
}

function readNamed(parameter: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    throw new AppError(
      "unreadable-certificate",
      ExitCode.usage,
      `the file "${path}", which is ${parameter} of the database URL, cannot be read: ${reason}`,
      { hint: "Check the path and its rights.", cause },
    );
  }
}
