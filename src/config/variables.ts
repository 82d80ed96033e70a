import { AppError, ExitCode } from "../errors.ts";

/** One environment variable that pgtenant knows. */
export interface Variable {
  readonly name: string;
  /** Undefined when the absence of a value means something by itself. */
  readonly default?: string;
  /** May come from the file that `<name>_FILE` names, and is never printed. */
  readonly secret?: true;
  /** What a value must be, for the message about one that is not. */
  readonly form: string;
  readonly accepts: (value: string) => boolean;
}

const anything = () => true;
const booleans: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  "1": true,
  false: false,
  no: false,
  off: false,
  "0": false,
};

/** How many backups of a kind retention keeps, beside those of BACKUP_RETENTION_DAYS. */
function keepNumber<Word extends string>(word: Word) {
  return {
    name: `BACKUP_KEEP_${word}`,
    form: "a whole number, at least 1",
    accepts: isPositiveInteger,
  } as const;
}

/** The names, defaults and meanings of the disaster recovery guide, then pgtenant's own. */
export const variables = {
  databaseUrl: {
    name: "DATABASE_URL",
    default: "postgres://postgres:postgres@localhost:5432/nkudo",
    secret: true,
    form: "a PostgreSQL URL",
    accepts: anything,
  },
  schedule: {
    name: "BACKUP_SCHEDULE",
    default: "0 2 * * *",
    form: "a cron expression of five fields, such as 0 2 * * *",
    accepts: (value) => /^(@[a-z]+|[\w*/,?#-]+(\s+[\w*/,?#-]+){4,5})$/.test(value.trim()),
  },
  directory: {
    name: "BACKUP_DIR",
    default: "/var/backups/n-kudo",
    form: "the path of a folder",
    accepts: anything,
  },
  retentionDays: {
    name: "BACKUP_RETENTION_DAYS",
    default: "30",
    form: "a whole number of days, at least 1",
    accepts: isPositiveInteger,
  },
  compress: {
    name: "BACKUP_COMPRESS",
    default: "true",
    form: "true or false",
    accepts: isBoolean,
  },
  encrypt: {
    name: "BACKUP_ENCRYPT",
    default: "false",
    form: "true or false",
    accepts: isBoolean,
  },
  encryptionKey: {
    name: "BACKUP_ENCRYPTION_KEY",
    secret: true,
    form: "a passphrase",
    accepts: anything,
  },
  s3Bucket: { name: "BACKUP_S3_BUCKET", form: "the name of a bucket", accepts: anything },
  s3Prefix: { name: "BACKUP_S3_PREFIX", form: "the beginning of keys", accepts: anything },
  s3Region: { name: "BACKUP_S3_REGION", form: "the name of a region", accepts: anything },
  s3Endpoint: {
    name: "BACKUP_S3_ENDPOINT",
    form: "a URL that begins with http:// or https://",
    accepts: (value) => /^https?:\/\//.test(value) && URL.canParse(value),
  },
  timeoutMinutes: {
    name: "BACKUP_TIMEOUT_MINUTES",
    default: "60",
    form: "a whole number of minutes, at least 1",
    accepts: isPositiveInteger,
  },
  format: {
    name: "BACKUP_FORMAT",
    default: "plain",
    form: "plain, custom or directory",
    accepts: (value) => ["plain", "custom", "directory"].includes(value),
  },
  compression: {
    name: "BACKUP_COMPRESSION",
    form: "gzip, zstd or none",
    accepts: (value) => ["gzip", "zstd", "none"].includes(value),
  },
  encryption: {
    name: "BACKUP_ENCRYPTION",
    form: "age or openssl",
    accepts: (value) => value === "age" || value === "openssl",
  },
  recipients: {
    name: "BACKUP_RECIPIENTS",
    form: "age public keys with commas or spaces between them",
    accepts: anything,
  },
  identityFile: {
    name: "BACKUP_IDENTITY_FILE",
    form: "the path of a file with age identities",
    accepts: anything,
  },
  includePaths: {
    name: "BACKUP_INCLUDE_PATHS",
    form: "paths of files and folders with commas between them",
    accepts: anything,
  },
  keepLast: keepNumber("LAST"),
  keepDaily: keepNumber("DAILY"),
  keepWeekly: keepNumber("WEEKLY"),
  keepMonthly: keepNumber("MONTHLY"),
  keepYearly: keepNumber("YEARLY"),
  tempDirectory: {
    name: "BACKUP_TEMP_DIR",
    form: "the path of a folder",
    accepts: anything,
  },
  profile: {
    name: "PGTENANT_PROFILE",
    default: "n-kudo",
    form: "the name or the path of a profile",
    accepts: anything,
  },
  pgBin: { name: "PGTENANT_PG_BIN", form: "the path of a folder", accepts: anything },
} as const satisfies Readonly<Record<string, Variable>>;

/** Every name that may stand in the environment, `_FILE` twins included. */
export const knownNames: readonly string[] = Object.values(variables).flatMap(
  (variable: Variable) =>
    variable.secret === true ? [variable.name, `${variable.name}_FILE`] : [variable.name],
);

/**
 * @param from the variable to name in the message, when the value comes from its `_FILE` twin
 * @throws {AppError} exit 2 when the value does not have the variable's form
 */
export function requireForm(variable: Variable, value: string, from?: string): string {
  if (value !== "" && variable.accepts(value)) return value;
  const shown = variable.secret === true ? "" : ` "${value}"`;
  throw new AppError(
    "invalid-variable",
    ExitCode.usage,
    value === ""
      ? from === undefined
        ? `the environment variable ${variable.name} is empty`
        : `the file that ${from} names is empty`
      : `the environment variable ${variable.name} has a value that cannot be used:${shown}`,
    {
      hint: `It must be ${variable.form}${
        variable.default === undefined || variable.secret === true
          ? ""
          : `; without the variable it is ${variable.default}`
      }.`,
      data: { variable: variable.name },
    },
  );
}

export function parseBoolean(value: string): boolean {
  return booleans[value.trim().toLowerCase()] ?? false;
}

function isBoolean(value: string): boolean {
  return Object.hasOwn(booleans, value.trim().toLowerCase());
}

function isPositiveInteger(value: string): boolean {
  return /^\s*\d{1,9}\s*$/.test(value) && Number(value) >= 1;
}
