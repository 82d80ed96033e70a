import type { Argv } from "yargs";
import { AppError, ExitCode } from "../errors.ts";
import type { ConnectionOptions } from "../postgres/session.ts";
import type { SchemaOptions } from "../tenant/open-schema.ts";
import type { Context, GlobalArguments } from "./command.ts";

export function globalOptions(yargs: Argv): Argv<GlobalArguments> {
  return yargs
    .option("database-url", {
      type: "string",
      requiresArg: true,
      describe: "the database; better in DATABASE_URL or DATABASE_URL_FILE",
    })
    .option("profile", {
      type: "string",
      requiresArg: true,
      describe: "a profile's name or file, for a schema other than N-Kudo's",
    })
    .option("json", {
      type: "boolean",
      default: false,
      describe: "one JSON object on the standard output, text on stderr",
    })
    .option("quiet", { type: "boolean", default: false, describe: "no progress and no advice" })
    .option("accept-unclassified", {
      type: "boolean",
      default: false,
      describe: "go on without tables that nothing classifies, and name them",
    });
}

export const bundleArgument = {
  type: "string",
  demandOption: true,
  describe: "a bundle's file, an s3:// URL, or - for the standard input",
} as const;

export const maxRowSizeOption = {
  type: "string",
  requiresArg: true,
  default: "64MiB",
  describe: "the longest row that is accepted",
} as const;

const unitBytes: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["b", 1],
  ["kb", 1e3],
  ["mb", 1e6],
  ["gb", 1e9],
  ["k", 1024],
  ["kib", 1024],
  ["m", 1024 ** 2],
  ["mib", 1024 ** 2],
  ["g", 1024 ** 3],
  ["gib", 1024 ** 3],
]);

/** PostgreSQL itself cannot make a longer text value. */
const largestRow = 1024 ** 3;

/** @throws {AppError} exit 2 when it is not a size such as 64MiB */
export function parseRowSize(text: string): number {
  const [, digits = "", unit = ""] = /^\s*(\d+)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const bytes = digits === "" ? 0 : Number(digits) * (unitBytes.get(unit.toLowerCase()) ?? 0);
  if (bytes < 1024 || bytes > largestRow) {
    throw usage(
      `--max-row-size "${text}" is not a size between 1KiB and 1GiB`,
      "Write it as 64MiB.",
    );
  }
  return bytes;
}

/** `table.column=value`, each once. */
export function parseAssignments(pairs: readonly string[]): ReadonlyMap<string, string> {
  const assignments = new Map<string, string>();
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    const column = pair.slice(0, at).trim();
    if (at < 0 || !/[^.]\.[^.]/.test(column)) {
      throw usage(
        `--set "${at < 0 ? pair : column}" does not have the form table.column=value`,
        "For example: --set public.users.password_hash=!",
      );
    }
    if (assignments.has(column)) {
      throw usage(`--set names "${column}" twice`, "Give one value for each column.");
    }
    assignments.set(column, pair.slice(at + 1));
  }
  return assignments;
}

/** What a command line that cannot be understood ends with. */
export function usage(message: string, hint?: string): AppError {
  return new AppError("usage", ExitCode.usage, message, hint === undefined ? {} : { hint });
}

/** @param doing shown in pg_stat_activity, after the program's name */
export function connectionOf(context: Context, doing: string): ConnectionOptions {
  return {
    databaseUrl: context.config.databaseUrl,
    // PostgreSQL cuts it at 63 bytes, and complains about what is not ASCII.
    applicationName: `pgtenant ${doing}`.replace(/[^\x20-\x7e]/g, "?").slice(0, 63),
    signal: context.signal,
    pooler: context.config.pooler,
  };
}

export function schemaOptionsOf(context: Context): SchemaOptions {
  const { profile, acceptUnclassified } = context.config;
  return { profile, acceptUnclassified };
}
