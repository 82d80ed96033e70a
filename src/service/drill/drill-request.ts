import type { ProgramOptions } from "../../backup/client-run.ts";
import type { OpenBackup } from "../../backup/open-backup.ts";
import type { DecryptionKeys } from "../../bundle/encryption.ts";
import type { ConnectionOptions } from "../../postgres/session.ts";
import type { ProgressListener } from "../../progress.ts";
import type { Store } from "../../storage/store.ts";
import type { SchemaOptions } from "../../tenant/open-schema.ts";
import type { DiskSpace } from "./disk-space.ts";
import type { DrillCheck, DrillCheckName } from "./drill-report.ts";
import type { FoundBundle } from "./newest-bundle.ts";

export interface DrillRequest {
  /** The database that is drilled for. */
  readonly database: string;
  /** Of its server; with `embedded` nobody connects to it. */
  readonly connection: ConnectionOptions;
  readonly schema: SchemaOptions;
  /** Where backups lie, the first one first. */
  readonly stores: readonly Store[];
  readonly findBackup: () => Promise<OpenBackup>;
  /** Gives undefined where there is no bundle; null for a drill without one. */
  readonly findBundle: (() => Promise<FoundBundle | undefined>) | null;
  readonly keys: DecryptionKeys;
  readonly programs: ProgramOptions;
  /** Restores into a throwaway server of our own. */
  readonly embedded: boolean;
  readonly jobs: number | undefined;
  readonly tempFolder: string | undefined;
  readonly rtoSeconds: number;
  readonly rpoSeconds: number;
  readonly signal: AbortSignal;
  readonly progress: ProgressListener;
  readonly onStart: (check: DrillCheckName) => void;
  readonly onCheck: (check: DrillCheck) => void;
  readonly warn: (text: string) => void;
}

/** Where a backup is restored to. */
export interface Scratch {
  readonly kind: "server" | "embedded";
  readonly connection: ConnectionOptions;
  readonly version: string;
  readonly database: string;
  readonly signal: AbortSignal;
  /** The disk of its server; undefined where that cannot be seen from here. */
  readonly disk: () => Promise<DiskSpace | undefined>;
}
