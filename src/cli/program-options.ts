import type { ProgramOptions } from "../backup/client-run.ts";
import type { Config } from "../config/config.ts";
import { usage } from "./options.ts";

/** Where PostgreSQL's client programs are, and what they get of our environment. */
export function programsOf(config: Readonly<Config>): ProgramOptions {
  return {
    binDir: config.pgBin,
    path: config.searchPath,
    environment: config.programEnvironment,
  };
}

export const jobsOption = {
  type: "string",
  requiresArg: true,
  describe: "parallel connections, for the formats custom and directory",
} as const;

export const tempDirOption = {
  type: "string",
  requiresArg: true,
  describe: "where an archive lies in plain text while it is made or loaded",
  defaultDescription: "BACKUP_TEMP_DIR, else the system's",
} as const;

/** @throws {AppError} exit 2 when it is no whole number of at least 1 */
export function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\s*\d{1,9}\s*$/.test(text) || Number(text) < 1) {
    throw usage(`--${name} "${text}" is not a whole number of at least 1`, "Write it as 2.");
  }
  return Number(text);
}
