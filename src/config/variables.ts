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

const cronForm = "a cron expression of five fields, such as 0 2 * * *";

/** How many backups of a kind retention keeps, beside those of BACKUP_RETENTION_DAYS. */
function keepNumber<Word extends string>(word: Word) {
  return {
    name: `BACKUP_KEEP_${word}`,
    form: "a whole number, at least 1",
    accepts: isPositiveInteger,
  } as const;
}

/** When a job of the service runs that is off unless somebody wants it. */
function schedule<Name extends string>(name: Name) {
  return { name, form: cronForm, accepts: isCron } as const;
}

/** A URL that may hold a token of its own. */
function noticeUrl<Name extends string>(name: Name) {
  return {
    name,
    secret: true,
    form: "a URL that begins with http:// or https://",
    accepts: (value: string) => /^https?:\/\//.test(value) && URL.canParse(value),
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
    form: cronForm,
    accepts: isCron,
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
  timezone: {
    name: "BACKUP_TIMEZONE",
    default: "UTC",
    form: "a time zone, such as UTC or Europe/Berlin",
    accepts: isTimezone,
  },
  tenantSchedule: schedule("BACKUP_TENANT_SCHEDULE"),
  tenants: {
    name: "BACKUP_TENANTS",
    default: "all",
    form: "all, or slugs of tenants with commas between them (one that begins with - by its id)",
    accepts: isListOfTenants,
  },
  verifySchedule: schedule("BACKUP_VERIFY_SCHEDULE"),
  drillSchedule: schedule("BACKUP_DRILL_SCHEDULE"),
  drillEmbedded: {
    name: "BACKUP_DRILL_EMBEDDED",
    default: "false",
    form: "true or false",
    accepts: isBoolean,
  },
  rpoHours: {
    name: "BACKUP_RPO_HOURS",
    default: "24",
    form: "a number of hours, greater than 0",
    accepts: isPositiveNumber,
  },
  rtoHours: {
    name: "BACKUP_RTO_HOURS",
    default: "4",
    form: "a number of hours, greater than 0",
    accepts: isPositiveNumber,
  },
  onSuccessUrl: noticeUrl("BACKUP_ON_SUCCESS_URL"),
  onFailureUrl: noticeUrl("BACKUP_ON_FAILURE_URL"),
  onSuccessCommand: {
    name: "BACKUP_ON_SUCCESS_COMMAND",
    form: "a command for the shell",
    accepts: anything,
  },
  onFailureCommand: {
    name: "BACKUP_ON_FAILURE_COMMAND",
    form: "a command for the shell",
    accepts: anything,
  },
  metricsFile: {
    name: "PGTENANT_METRICS_FILE",
    form: "the path of a file that ends with .prom",
    accepts: (value) => value.endsWith(".prom"),
  },
  httpListen: {
    name: "PGTENANT_HTTP_LISTEN",
    default: "127.0.0.1:9187",
    form: "an address and a port, such as 127.0.0.1:9187, or off",
    accepts: (value) => value === "off" || /^(\[[0-9a-f:.]+\]|[\w.-]+):\d{1,5}$/i.test(value),
  },
  httpToken: {
    name: "PGTENANT_HTTP_TOKEN",
    secret: true,
    form: "a token of at least 16 characters",
    accepts: (value) => value.length >= 16,
  },
  profile: {
    name: "PGTENANT_PROFILE",
    default: "n-kudo",
    form: "the name or the path of a profile",
    accepts: anything,
  },
  pooler: {
    name: "PGTENANT_POOLER",
    default: "refuse",
    form: "refuse, or session where the pooler in between gives each client a session of its own",
    accepts: (value) => value === "refuse" || value === "session",
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

function isCron(value: string): boolean {
  return /^(@[a-z]+|[\w*/,?#-]+(\s+[\w*/,?#-]+){4,5})$/.test(value.trim());
}

/** A name that begins with a hyphen would be an option of the command that exports it. */
function isListOfTenants(value: string): boolean {
  const names = value.split(",").map((name) => name.trim());
  return names.some((name) => name !== "") && names.every((name) => !name.startsWith("-"));
}

function isTimezone(value: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: value });
    return true;
  } catch {
    return false;
  }
}

function isPositiveNumber(value: string): boolean {
  return /^\s*\d{1,6}(\.\d{1,6})?\s*$/.test(value) && Number(value) > 0;
}
