import type { DecryptionKeys } from "../bundle/encryption.ts";
import { AppError, ExitCode } from "../errors.ts";
import { type ClientPrograms, findClientPrograms } from "../postgres/client-programs.ts";
import { operatorName } from "../postgres/process-identity.ts";
import { toolVersion } from "../version.ts";
import type { DumpFormat, PartKind } from "./backup-name.ts";
import { type CheckedDump, checkDump } from "./check-dump.ts";
import type { ProgramOptions } from "./client-run.ts";
import { counted } from "./counted.ts";
import { readGlobals } from "./globals.ts";
import type { BackupManifest } from "./manifest.ts";
import type { OpenBackup } from "./open-backup.ts";
import { checkStored, readPart } from "./read-part.ts";
import { readSidecar, writeSidecar } from "./sidecars.ts";
import { listTar } from "./unpack-files.ts";

export interface VerifyBackupOptions {
  readonly keys: DecryptionKeys;
  readonly programs: ProgramOptions;
  /** Compares the stored bytes with the manifest and opens nothing: needs no key. */
  readonly storedOnly: boolean;
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
  readonly warn: (text: string) => void;
}

export interface VerifiedPart {
  readonly kind: PartKind;
  readonly name: string;
  /** Before compression; null when only the stored bytes were looked at. */
  readonly rawBytes: number | null;
  /** What was found inside, for people. */
  readonly content: string;
}

export interface VerifiedBackup {
  readonly name: string;
  readonly place: string;
  readonly manifest: BackupManifest | undefined;
  readonly checked: "all" | "stored";
  readonly format: DumpFormat | undefined;
  /** The version of the server that was dumped. */
  readonly server: string | undefined;
  readonly parts: readonly VerifiedPart[];
  readonly notes: readonly string[];
}

/**
 * Reads every byte of a backup: what is stored is what the manifest says, every layer comes off,
 * and the dump has its end. The result is kept beside the backup, so that lists and retention know.
 *
 * @throws {AppError} exit 3 for what is not whole, 6 when there is no key, 8 as the store has it
 */
export async function verifyBackup(
  backup: OpenBackup,
  options: VerifyBackupOptions,
): Promise<VerifiedBackup> {
  try {
    const verified = await (options.storedOnly
      ? verifyStored(backup, options)
      : verifyAll(backup, options));
    const { checked } = verified;
    await rememberVerified(backup, options, { result: "good", checked });
    return verified;
  } catch (error) {
    if (error instanceof AppError && error.exitCode === ExitCode.invalidInput) {
      const checked = options.storedOnly ? "stored" : "all";
      const problem = error.message;
      await rememberVerified(backup, options, { result: "failed", checked, problem });
    }
    throw error;
  }
}

async function verifyStored(
  backup: OpenBackup,
  { signal }: VerifyBackupOptions,
): Promise<VerifiedBackup> {
  const { manifest } = backup;
  if (manifest === undefined) {
    throw new AppError(
      "no-manifest",
      ExitCode.usage,
      `${backup.name} has no manifest that its bytes could be compared with`,
      { hint: "Leave out --stored-only, and give the key if it is encrypted." },
    );
  }
  const parts: VerifiedPart[] = [];
  for (const { kind, name, bytes } of manifest.parts) {
    const source = backup.part(kind);
    if (source !== undefined) await checkStored(source, signal);
    if (source === undefined) continue;
    parts.push({ kind, name, rawBytes: null, content: `${bytes} stored bytes hold` });
  }
  return {
    ...describe(backup),
    checked: "stored",
    format: manifest.format,
    server: manifest.source.server,
    parts,
    notes: [],
  };
}

async function verifyAll(
  backup: OpenBackup,
  options: VerifyBackupOptions,
): Promise<VerifiedBackup> {
  const dump = await checkDump(backup, {
    keys: options.keys,
    programs: await programsFor(backup, options.programs),
    environment: options.programs.environment,
    signal: options.signal,
    onBytes: options.onBytes,
  });
  const parts: VerifiedPart[] = [
    {
      kind: "database",
      name: dump.part.key,
      rawBytes: dump.rawBytes,
      content: contentOf(dump),
    },
  ];
  for (const kind of ["globals", "files"] as const) {
    const source = backup.part(kind);
    if (source === undefined) continue;
    let rawBytes = 0;
    const all = counted(readPart(source, options.keys, options.signal), (bytes) => {
      rawBytes += bytes;
    });
    const content = await (kind === "globals"
      ? contentOfGlobals(all)
      : contentOfFiles(all, source.name, options.signal));
    for await (const _ of all); // to the end, where the hashes are compared
    parts.push({ kind, name: source.key, rawBytes, content });
  }
  return {
    ...describe(backup),
    checked: "all",
    format: dump.format,
    server: dump.server,
    parts,
    notes: dump.notes,
  };
}

function describe(backup: OpenBackup) {
  return { name: backup.name, place: backup.store.place, manifest: backup.manifest };
}

function contentOf({ format, entries }: CheckedDump): string {
  switch (format) {
    case "plain":
      return "SQL to pg_dump's end marker";
    case "custom":
      return "an archive that pg_restore read as a whole";
    case "directory":
      return `an archive of ${entries ?? "unknown"} entries with all of its files`;
  }
}

async function contentOfGlobals(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const { roles } = await readGlobals(bytes);
  return `${roles.length} role${roles.length === 1 ? "" : "s"} and the database's settings`;
}

async function contentOfFiles(
  bytes: AsyncIterable<Uint8Array>,
  name: string,
  signal: AbortSignal,
): Promise<string> {
  const { files } = await listTar(bytes, { name, signal });
  return `${files} file${files === 1 ? "" : "s"}`;
}

/** Programs that can read what pg_dump of the backup's version wrote; undefined where there are none. */
async function programsFor(
  backup: OpenBackup,
  { binDir, path }: ProgramOptions,
): Promise<ClientPrograms | undefined> {
  const written = backup.manifest?.source.pgDump;
  const serverMajor = Number.parseInt(written ?? "0", 10);
  try {
    return await findClientPrograms({ binDir, path, serverMajor, newest: written === undefined });
  } catch (error) {
    if (error instanceof AppError) return undefined;
    throw error;
  }
}

/**
 * Writes down beside a backup what was found of it. One that is whole stays so, whether or not that
 * could be written.
 */
export async function rememberVerified(
  backup: OpenBackup,
  { signal, warn }: Pick<VerifyBackupOptions, "signal" | "warn">,
  found: {
    readonly result: "good" | "failed";
    readonly checked?: "all" | "stored";
    readonly problem?: string;
  },
): Promise<void> {
  const outcome = { checked: "all" as const, ...found };
  if (backup.manifest === undefined || backup.id === undefined || signal.aborted) return;
  // Not the whole set.
  if (backup.manifest.parts.some(({ kind }) => backup.part(kind) === undefined)) return;
  try {
    if (outcome.checked === "stored" && outcome.result === "good") {
      // What was found when all of it was read says more, and is still true of the same bytes.
      const before = await readSidecar(backup.store, backup.id, "verified").catch(() => undefined);
      if (before?.checked === "all") return;
    }
    await writeSidecar(backup.store, "verified", {
      verified: 1,
      id: backup.id,
      at: new Date().toISOString(),
      by: operatorName(),
      tool: `pgtenant ${toolVersion}`,
      ...outcome,
    });
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    warn(`that it was verified could not be written down: ${error.message}`);
  }
}
