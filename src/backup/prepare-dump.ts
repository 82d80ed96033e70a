import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { openTempFolder } from "../postgres/temp-folder.ts";
import type { DumpFormat } from "./backup-name.ts";
import { type CheckedDump, type CheckOptions, checkDump, noDump } from "./check-dump.ts";
import { counted } from "./counted.ts";
import { type DumpSource, needsFiles, unpackArchive } from "./load-dump.ts";
import type { OpenBackup } from "./open-backup.ts";
import { readPart } from "./read-part.ts";

export interface PrepareOptions extends CheckOptions {
  readonly inPlace: boolean;
  /** Parallel connections of pg_restore; 1 streams an archive without a temporary file. */
  readonly jobs: number | undefined;
  /** Where an archive lies that several connections read. */
  readonly tempFolder: string | undefined;
}

/** A dump that was read to its end, is whole, and can be loaded. */
export interface PreparedDump extends CheckedDump {
  readonly jobs: number;
  /** Bytes that are read and checked once more, or files in a temporary folder. */
  source(): DumpSource;
  /** Removes the temporary files. */
  remove(): Promise<void>;
}

const defaultJobs = 2;

/**
 * Reads a dump to its end before anything is touched. An archive that pg_restore reads over several
 * connections is written into a temporary folder on the way; others are read again when they are loaded.
 *
 * @throws {AppError} exit 3 when it is not whole, 6 when no key fits, 8 when the temporary folder is full
 */
export async function prepareDump(
  backup: OpenBackup,
  options: PrepareOptions,
): Promise<PreparedDump> {
  const jobs = options.jobs ?? defaultJobs;
  const format = backup.manifest?.format;
  if (format !== undefined && needsFiles({ format, inPlace: options.inPlace, jobs })) {
    return await unpacked(backup, format, jobs, options);
  }
  const checked = await checkDump(backup, options);
  // A dump without a manifest tells its format only now.
  if (needsFiles({ format: checked.format, inPlace: options.inPlace, jobs })) {
    const again = await unpacked(backup, checked.format, jobs, options);
    return { ...again, server: checked.server };
  }
  return {
    ...checked,
    jobs,
    source: () => ({ bytes: readPart(checked.part, options.keys, options.signal) }),
    remove: async () => undefined,
  };
}

async function unpacked(
  backup: OpenBackup,
  format: DumpFormat,
  jobs: number,
  options: PrepareOptions,
): Promise<PreparedDump> {
  const part = backup.part("database");
  if (part === undefined || format === "plain") throw noDump(backup.name, "it has no archive");
  const temp = await openTempFolder(options.tempFolder, options.environment.PATH);
  try {
    let rawBytes = 0;
    const bytes = counted(readPart(part, options.keys, options.signal), (more) => {
      rawBytes += more;
      options.onBytes(more);
    });
    const folder = join(temp.path, "dump");
    await mkdir(folder, { mode: 0o700 });
    const path = await unpackArchive(bytes, format, folder, part.name);
    return {
      part,
      format,
      server: backup.manifest?.source.server,
      rawBytes,
      entries: undefined,
      notes: [],
      jobs,
      source: () => ({ path }),
      remove: () => temp.remove(),
    };
  } catch (error) {
    await temp.remove();
    throw error;
  }
}
