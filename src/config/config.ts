import { readFileSync } from "node:fs";
import { AppError, ExitCode } from "../errors.ts";
import { holdsPassword, secretsOfUrl, writtenForms } from "./secrets.ts";
import { unknownVariables } from "./unknown-variables.ts";
import { parseBoolean, requireForm, type Variable, variables } from "./variables.ts";

/** What every command takes from its command line, as it was typed. */
export interface RawOptions {
  readonly databaseUrl?: string | undefined;
  readonly profile?: string | undefined;
  readonly acceptUnclassified?: boolean | undefined;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Whom to tell of a run's end. */
export interface Notice {
  readonly url: string | undefined;
  readonly command: string | undefined;
}

/** Flags over environment over defaults, resolved once. */
export interface Config {
  readonly databaseUrl: string;
  readonly databaseUrlFrom: "flag" | "environment" | "default";
  /** A built-in profile's name or the path of a profile file. */
  readonly profile: string;
  readonly acceptUnclassified: boolean;
  readonly backup: {
    readonly directory: string;
    readonly schedule: string;
    readonly retentionDays: number;
    /** Whether nobody has set them. */
    readonly retentionDaysByDefault: boolean;
    readonly compress: boolean;
    readonly encrypt: boolean;
    readonly encryptionKey: string | undefined;
    readonly s3Bucket: string | undefined;
    readonly s3Prefix: string | undefined;
    readonly s3Endpoint: string | undefined;
    readonly s3Region: string | undefined;
    readonly timeoutMinutes: number;
    readonly format: "plain" | "custom" | "directory";
    /** Undefined where `compress` alone decides. */
    readonly compression: "gzip" | "zstd" | "none" | undefined;
    /** Undefined where the kind of key decides. */
    readonly encryption: "age" | "openssl" | undefined;
    /** Public keys of age, as they were given. */
    readonly recipients: readonly string[];
    readonly identityFiles: readonly string[];
    readonly includePaths: readonly string[];
    readonly keep: {
      readonly last: number | undefined;
      readonly daily: number | undefined;
      readonly weekly: number | undefined;
      readonly monthly: number | undefined;
      readonly yearly: number | undefined;
    };
    /** For what has to lie in a file for a while; the system's own by default. */
    readonly tempDirectory: string | undefined;
  };
  readonly service: {
    /** What the schedules' times are in. */
    readonly timezone: string;
    /** Cron expressions; undefined for a job that is off. */
    readonly tenantSchedule: string | undefined;
    readonly verifySchedule: string | undefined;
    readonly drillSchedule: string | undefined;
    /** Drills restore into a throwaway server of their own. */
    readonly drillEmbedded: boolean;
    /** Slugs or keys; undefined for all. */
    readonly tenants: readonly string[] | undefined;
    readonly rpoHours: number;
    readonly rtoHours: number;
    readonly onSuccess: Notice;
    readonly onFailure: Notice;
    /** Where one-shot runs leave their metrics for node_exporter. */
    readonly metricsFile: string | undefined;
    /** Undefined for no HTTP at all. */
    readonly http: { readonly host: string; readonly port: number } | undefined;
    readonly httpToken: string | undefined;
  };
  /** The folder of PostgreSQL's server programs; undefined to search for them. */
  readonly pgBin: string | undefined;
  /** What to make of a connection pooler that is found in between. */
  readonly pooler: "refuse" | "session";
  /** `PATH`, to search for programs. */
  readonly searchPath: string | undefined;
  /** What PostgreSQL's client programs get of the environment: its own variables, and the paths. */
  readonly programEnvironment: Readonly<Record<string, string>>;
  /** Everything that must never be printed, in each of its written forms. */
  readonly secrets: readonly string[];
  readonly warnings: readonly string[];
}

/**
 * @throws {AppError} exit 2 for a value that does not parse, a variable that looks like a known
 *   one, or a secret's file that cannot be read
 */
export function resolveConfig(
  options: RawOptions,
  environment: Environment = process.env,
): Readonly<Config> {
  const given = Object.keys(environment).filter((name) => environment[name] !== undefined);
  const warnings = unknownVariables(given).map(
    (name) => `the environment variable ${name} is unknown and has no effect`,
  );
  const read = (variable: Variable) => readVariable(variable, environment);
  const withDefault = (variable: Variable & { readonly default: string }) =>
    read(variable) ?? variable.default;

  const fromEnvironment =
    options.databaseUrl === undefined ? read(variables.databaseUrl) : undefined;
  const databaseUrl = withTlsOf(
    environment,
    options.databaseUrl ?? fromEnvironment ?? variables.databaseUrl.default,
  );
  const encryptionKey = read(variables.encryptionKey);
  if (options.databaseUrl !== undefined && holdsPassword(options.databaseUrl)) {
    warnings.push(
      "a password on the command line can be seen by other users of this machine until pgtenant has started; use DATABASE_URL or DATABASE_URL_FILE",
    );
  }
  return Object.freeze({
    databaseUrl,
    databaseUrlFrom:
      options.databaseUrl !== undefined
        ? "flag"
        : fromEnvironment !== undefined
          ? "environment"
          : "default",
    profile: options.profile ?? withDefault(variables.profile),
    acceptUnclassified: options.acceptUnclassified ?? false,
    backup: Object.freeze({
      directory: withDefault(variables.directory),
      schedule: withDefault(variables.schedule),
      retentionDays: Number(withDefault(variables.retentionDays)),
      retentionDaysByDefault: read(variables.retentionDays) === undefined,
      compress: parseBoolean(withDefault(variables.compress)),
      encrypt: parseBoolean(withDefault(variables.encrypt)),
      encryptionKey,
      s3Bucket: read(variables.s3Bucket),
      s3Prefix: read(variables.s3Prefix),
      s3Endpoint: read(variables.s3Endpoint),
      s3Region: read(variables.s3Region) ?? environment.AWS_REGION,
      timeoutMinutes: Number(withDefault(variables.timeoutMinutes)),
      format: withDefault(variables.format) as Config["backup"]["format"],
      compression: read(variables.compression) as Config["backup"]["compression"],
      encryption: read(variables.encryption) as Config["backup"]["encryption"],
      recipients: listOf(read(variables.recipients), /[\s,]+/),
      identityFiles: listOf(read(variables.identityFile), /,/),
      includePaths: listOf(read(variables.includePaths), /,/),
      keep: Object.freeze({
        last: optionalNumber(read(variables.keepLast)),
        daily: optionalNumber(read(variables.keepDaily)),
        weekly: optionalNumber(read(variables.keepWeekly)),
        monthly: optionalNumber(read(variables.keepMonthly)),
        yearly: optionalNumber(read(variables.keepYearly)),
      }),
      tempDirectory: read(variables.tempDirectory),
    }),
    service: Object.freeze({
      timezone: withDefault(variables.timezone),
      tenantSchedule: read(variables.tenantSchedule),
      verifySchedule: read(variables.verifySchedule),
      drillSchedule: read(variables.drillSchedule),
      drillEmbedded: parseBoolean(withDefault(variables.drillEmbedded)),
      tenants: tenantsOf(withDefault(variables.tenants)),
      rpoHours: Number(withDefault(variables.rpoHours)),
      rtoHours: Number(withDefault(variables.rtoHours)),
      onSuccess: Object.freeze({
        url: read(variables.onSuccessUrl),
        command: read(variables.onSuccessCommand),
      }),
      onFailure: Object.freeze({
        url: read(variables.onFailureUrl),
        command: read(variables.onFailureCommand),
      }),
      metricsFile: read(variables.metricsFile),
      http: addressOf(withDefault(variables.httpListen)),
      httpToken: read(variables.httpToken),
    }),
    pgBin: read(variables.pgBin),
    pooler: withDefault(variables.pooler) === "session" ? "session" : "refuse",
    searchPath: environment.PATH,
    programEnvironment: programEnvironment(environment),
    secrets: [
      ...secretsOfUrl(databaseUrl),
      ...[
        encryptionKey,
        read(variables.httpToken),
        read(variables.onSuccessUrl),
        read(variables.onFailureUrl),
        environment.PGPASSWORD,
        environment.AWS_SECRET_ACCESS_KEY,
        environment.AWS_SESSION_TOKEN,
      ].flatMap((secret) => (secret === undefined || secret === "" ? [] : writtenForms(secret))),
    ],
    warnings,
  });
}

const tlsVariables = {
  PGSSLMODE: "sslmode",
  PGSSLROOTCERT: "sslrootcert",
  PGSSLCERT: "sslcert",
  PGSSLKEY: "sslkey",
} as const;

/** libpq reads these itself; our own connections are to be no less safe than those of pg_dump. */
function withTlsOf(environment: Environment, databaseUrl: string): string {
  if (!URL.canParse(databaseUrl)) return databaseUrl;
  const { searchParams } = new URL(databaseUrl);
  // As drivers write it, and JDBC; libpq takes it for this.
  const demanded = searchParams.get("ssl") === "true" ? { PGSSLMODE: "require" } : {};
  const values: Environment = { ...environment, ...demanded };
  const added = Object.entries(tlsVariables).flatMap(([variable, parameter]) => {
    const value = values[variable] ?? "";
    return value === "" || searchParams.has(parameter)
      ? []
      : [`${parameter}=${encodeURIComponent(value)}`];
  });
  if (added.length === 0) return databaseUrl;
  return `${databaseUrl}${databaseUrl.includes("?") ? "&" : "?"}${added.join("&")}`;
}

/** `PG…` as libpq reads them, and what a program needs to be found and to find its files. */
function programEnvironment(environment: Environment): Readonly<Record<string, string>> {
  const wanted = /^(PG[A-Z]+|PATH|HOME|TMPDIR|LD_LIBRARY_PATH|KRB5\w*)$/;
  return Object.freeze(
    Object.fromEntries(
      Object.entries(environment).filter(
        (entry): entry is [string, string] =>
          wanted.test(entry[0]) && !entry[0].startsWith("PGTENANT") && entry[1] !== undefined,
      ),
    ),
  );
}

function tenantsOf(value: string): readonly string[] | undefined {
  return value.trim() === "all" ? undefined : listOf(value, /,/);
}

function addressOf(value: string): Config["service"]["http"] {
  if (value === "off") return undefined;
  const at = value.lastIndexOf(":");
  const host = value.slice(0, at).replace(/^\[(.*)\]$/, "$1");
  return Object.freeze({ host, port: Number(value.slice(at + 1)) });
}

function listOf(value: string | undefined, separator: RegExp): readonly string[] {
  return (value ?? "")
    .split(separator)
    .map((word) => word.trim())
    .filter((word) => word !== "");
}

function optionalNumber(value: string | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

/**
 * The value of a variable or of its file. An empty value counts as absent only where absence
 * has a meaning of its own: nobody means the default by BACKUP_RETENTION_DAYS="".
 */
function readVariable(variable: Variable, environment: Environment): string | undefined {
  const direct = environment[variable.name];
  const file = variable.secret === true ? environment[`${variable.name}_FILE`] : undefined;
  if (file !== undefined && file !== "") {
    if (direct !== undefined && direct !== "") throw bothGiven(variable);
    return requireForm(variable, readSecret(variable, file), `${variable.name}_FILE`);
  }
  if (direct === undefined) return undefined;
  if (direct === "" && variable.default === undefined) return undefined;
  return requireForm(variable, direct);
}

/** Editors end a file with a line end, which is not part of the secret. */
function readSecret(variable: Variable, file: string): string {
  try {
    return readFileSync(file, "utf8").replace(/\r?\n$/, "");
  } catch (cause) {
    throw new AppError(
      "unreadable-secret",
      ExitCode.usage,
      `the file "${file}" that ${variable.name}_FILE names cannot be read`,
      { hint: "Check its path, owner and mode.", cause },
    );
  }
}

function bothGiven(variable: Variable): AppError {
  return new AppError(
    "ambiguous-variable",
    ExitCode.usage,
    `${variable.name} and ${variable.name}_FILE are both set`,
    { hint: "Unset one of them.", data: { variable: variable.name } },
  );
}
