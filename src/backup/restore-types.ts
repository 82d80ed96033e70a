import type { DecryptionKeys } from "../bundle/encryption.ts";
import type { ConnectionOptions } from "../postgres/session.ts";
import type { ProgressListener } from "../progress.ts";
import type { BackupId, DumpFormat } from "./backup-name.ts";
import type { ProgramOptions } from "./client-run.ts";
import type { OpenBackup } from "./open-backup.ts";
import type { Client } from "./swap-databases.ts";

/**
 * `swap`: into a new database that then takes the target's name, the old one is kept. `into`: into
 * a new database of another name. `in-place`: the target's own objects are replaced.
 */
export type RestoreMode = "swap" | "into" | "in-place";

/**
 * What a restore does, one after the other; `swap` is giving the loaded database its name, `files`
 * comes behind a database that is restored.
 */
export type RestoreStep = "check" | "load" | "count" | "swap" | "files";

export interface RestoreRequest {
  readonly backup: OpenBackup;
  /** Of the database to restore. */
  readonly connection: ConnectionOptions;
  readonly keys: DecryptionKeys;
  readonly programs: ProgramOptions;
  readonly mode: RestoreMode;
  /** The name of the new database, in mode `into`. */
  readonly into: string | undefined;
  readonly disconnect: boolean;
  /** Parallel connections of pg_restore; 1 streams an archive without a temporary file. */
  readonly jobs: number | undefined;
  readonly tempFolder: string | undefined;
  readonly signal: AbortSignal;
  readonly progress: ProgressListener;
  /** Hears the plan before anything is touched; what it throws ends the restore. */
  readonly onPlan: (plan: RestorePlan) => Promise<void>;
  /** Hears which roles were made, also of a restore that fails afterwards. */
  readonly onRoles?: (created: readonly string[]) => void;
  /** Hears what is being done, in a word and for people. */
  readonly onStep: (step: RestoreStep, text: string) => void;
}

/** What a restore is going to do. */
export interface RestorePlan {
  readonly backup: {
    readonly name: string;
    readonly id: BackupId | null;
    readonly createdAt: string | null;
    readonly database: string | null;
    readonly format: DumpFormat;
    readonly server: string | null;
    readonly rows: number | null;
  };
  readonly mode: RestoreMode;
  readonly server: string;
  readonly target: string;
  /** False on a fresh server: then nothing can be lost. */
  readonly targetExists: boolean;
  /** What the database that is there now is called afterwards; null when none is renamed. */
  readonly kept: string | null;
  /** Who is connected to it now. */
  readonly clients: readonly Client[];
  readonly warnings: readonly string[];
}

export interface RestoreResult {
  readonly plan: RestorePlan;
  readonly tables: number | null;
  readonly rows: number | null;
  readonly rolesCreated: readonly string[];
  readonly notes: readonly string[];
  readonly seconds: number;
}
