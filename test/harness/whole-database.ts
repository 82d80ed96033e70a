import { mkdir, symlink, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type BackupRequest, type BackupResult, backUp } from "../../src/backup/backup.ts";
import type { ProgramOptions } from "../../src/backup/client-run.ts";
import { type OpenBackup, openBackup } from "../../src/backup/open-backup.ts";
import { restoreDatabase } from "../../src/backup/restore.ts";
import type { RestoreRequest, RestoreResult } from "../../src/backup/restore-types.ts";
import { type VerifiedBackup, verifyBackup } from "../../src/backup/verify-backup.ts";
import { type DecryptionKeys, noKeys } from "../../src/bundle/encryption.ts";
import { type ClientProgram, findClientPrograms } from "../../src/postgres/client-programs.ts";
import { noProgress } from "../../src/progress.ts";
import type { Store } from "../../src/storage/store.ts";

const { PATH = "", HOME = "" } = process.env;

/** The programs of this machine, with nothing else of our environment. */
export const ourPrograms: ProgramOptions = {
  binDir: undefined,
  path: PATH,
  environment: { PATH, HOME },
};

/** The programs of this machine, but for those that are scripts, in a folder that is made for them. */
export async function withScripts(
  folder: string,
  scripts: Readonly<Partial<Record<ClientProgram, string>>>,
  version = "",
): Promise<ProgramOptions> {
  await mkdir(folder);
  const { binDir } = await findClientPrograms({ path: PATH, serverMajor: 14 });
  for (const program of ["pg_dump", "pg_dumpall", "pg_restore", "psql"] as const) {
    const real = join(binDir, program);
    const ours = join(folder, program);
    const script = scripts[program] ?? (version === "" ? undefined : `exec ${real} "$@"`);
    if (script === undefined) await symlink(real, ours);
    else {
      const says =
        version === ""
          ? `exec ${real} --version`
          : `echo "${program} (PostgreSQL) ${version}"; exit`;
      const text = `#!/bin/sh\nif [ "$1" = --version ]; then ${says}; fi\n${script}\n`;
      await writeFile(ours, text, { mode: 0o755 });
    }
  }
  return { ...ourPrograms, binDir: folder };
}

const never = new AbortController().signal;

/** Backs a database up in this process: plain, gzip, not encrypted, unless it is said otherwise. */
export async function makeBackup(
  databaseUrl: string,
  stores: readonly Store[],
  changes: Partial<BackupRequest> = {},
): Promise<BackupResult> {
  return await backUp({
    connection: { databaseUrl, applicationName: "pgtenant backup" },
    stores,
    programs: ourPrograms,
    format: "plain",
    compression: "gzip",
    encryption: { method: "none" },
    jobs: Math.min(2, availableParallelism()),
    tempFolder: undefined,
    included: undefined,
    rolePasswords: false,
    timeoutMinutes: 5,
    signal: never,
    progress: noProgress,
    ...changes,
  });
}

/** Opens a backup by its id, its path or as `latest`, of one database or of any. */
export async function openMade(
  wanted: string,
  stores: readonly Store[],
  database?: string,
): Promise<OpenBackup> {
  return await openBackup(wanted, {
    loneDumps: true,
    stores,
    openS3: () => Promise.reject(new Error("no bucket is expected")),
    database,
    signal: never,
  });
}

export async function verifyMade(
  backup: OpenBackup,
  keys: DecryptionKeys = noKeys,
  programs = ourPrograms,
): Promise<VerifiedBackup> {
  return await verifyBackup(backup, {
    keys,
    programs,
    storedOnly: false,
    signal: never,
    onBytes: () => undefined,
    warn: () => undefined,
  });
}

/** Restores in this process, into the database of the URL by the swap unless it is said otherwise. */
export async function restoreMade(
  databaseUrl: string,
  backup: OpenBackup,
  changes: Partial<RestoreRequest> = {},
): Promise<RestoreResult> {
  return await restoreDatabase({
    backup,
    connection: { databaseUrl, applicationName: "pgtenant restore" },
    keys: noKeys,
    programs: ourPrograms,
    mode: changes.into === undefined ? "swap" : "into",
    into: undefined,
    disconnect: false,
    jobs: undefined,
    tempFolder: undefined,
    signal: never,
    progress: noProgress,
    onPlan: () => Promise.resolve(),
    onStep: () => undefined,
    ...changes,
  });
}
