import type { Encryption } from "../../bundle/encryption.ts";
import type { ExitCode } from "../../errors.ts";

/** What a drill looks at, in this order. */
export type DrillCheckName =
  | "found"
  | "off-site"
  | "server"
  | "read"
  | "space"
  | "restored"
  | "rows"
  | "foreign-keys"
  | "chain"
  | "files"
  | "tenant"
  | "rto"
  | "cleared";

export interface DrillCheck {
  readonly check: DrillCheckName;
  /** `not-checked` says in its message why, and is no failure. */
  readonly state: "passed" | "failed" | "not-checked";
  /** What was found, for people. */
  readonly message: string;
  readonly hint: string | null;
  /** Everything the message could only summarise; at most 100 lines. */
  readonly details: readonly string[];
  readonly seconds: number;
  /** Of a failure, else null. */
  readonly error: { readonly code: string; readonly exitCode: ExitCode } | null;
}

/** One line of the guide's quarterly checklist. */
export interface ChecklistItem {
  readonly item: string;
  /** `by-hand` is what no program can tick. */
  readonly state: "passed" | "failed" | "not-checked" | "by-hand";
  readonly why: string;
}

export interface DrilledBackup {
  readonly id: string;
  readonly place: string;
  /** RFC 3339, UTC. */
  readonly createdAt: string | null;
  readonly database: string | null;
  readonly format: string | null;
  readonly encryption: Encryption["method"] | null;
  readonly storedBytes: number | null;
  readonly tables: number | null;
  readonly rows: number | null;
}

/** A measured time and what it must not exceed, in seconds. */
export interface Measured {
  /** Null where it could not be measured. */
  readonly seconds: number | null;
  readonly targetSeconds: number;
  readonly kept: boolean | null;
}

/**
 * What a drill has done and found: `drills/<id>.json` below the folder of the backups, with a page
 * of the same name beside it. Schema: `schemas/drill-report.schema.json`.
 */
export interface DrillReport {
  readonly drill: 1;
  /** `drill_20260101_020000`, UTC. */
  readonly id: string;
  readonly tool: string;
  /** `user@host` */
  readonly by: string;
  /** RFC 3339, UTC. */
  readonly startedAt: string;
  readonly seconds: number;
  readonly passed: boolean;
  readonly exitCode: ExitCode;
  /** The first failure. */
  readonly problem: string | null;
  readonly hint: string | null;
  /** The database that is drilled for. */
  readonly database: string;
  readonly backup: DrilledBackup | null;
  /** Where it was restored. */
  readonly scratch: {
    readonly kind: "server" | "embedded";
    readonly version: string | null;
    readonly database: string;
  };
  /** From the search for the backup until its rows were there, counted. */
  readonly rto: Measured;
  /** The backup's age when the drill began: what would have been lost. */
  readonly rpo: Measured;
  readonly checks: readonly DrillCheck[];
  readonly checklist: readonly ChecklistItem[];
  readonly notes: readonly string[];
}
