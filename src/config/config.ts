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
    readonly compress: boolean;
    readonly encrypt: boolean;
    readonly encryptionKey: string | undefined;
    readonly s3Bucket: string | undefined;
    readonly s3Prefix: string | undefined;
    readonly s3Endpoint: string | undefined;
    readonly timeoutMinutes: number;
  };
  /** The folder of PostgreSQL's server programs; undefined to search for them. */
  readonly pgBin: string | undefined;
  /** `PATH`, to search for programs. */
  readonly searchPath: string | undefined;
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
  const databaseUrl = options.databaseUrl ?? fromEnvironment ?? variables.databaseUrl.default;
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
      compress: parseBoolean(withDefault(variables.compress)),
      encrypt: parseBoolean(withDefault(variables.encrypt)),
      encryptionKey,
      s3Bucket: read(variables.s3Bucket),
      s3Prefix: read(variables.s3Prefix),
      s3Endpoint: read(variables.s3Endpoint),
      timeoutMinutes: Number(withDefault(variables.timeoutMinutes)),
    }),
    pgBin: read(variables.pgBin),
    searchPath: environment.PATH,
    secrets: [
      ...secretsOfUrl(databaseUrl),
      ...[encryptionKey, environment.PGPASSWORD].flatMap((secret) =>
        secret === undefined || secret === "" ? [] : writtenForms(secret),
      ),
    ],
    warnings,
  });
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
