import type { Compression } from "../bundle/layers.ts";
import { parseSealed, type SealedKind, sealedText } from "../bundle/sealed-document.ts";
import { type BackupId, type DumpFormat, idOfKey, type PartKind } from "./backup-name.ts";

/** One stored object of a backup. */
export interface BackupPart {
  readonly kind: PartKind;
  /** The object's key, beside the manifest. */
  readonly name: string;
  readonly compression: Compression;
  readonly encryption: "none" | "age" | "openssl";
  /** As stored. */
  readonly bytes: number;
  /** Of the stored bytes. */
  readonly sha256: string;
  /** Before compression. */
  readonly rawBytes: number;
  /** HMAC of `sha256` under a key made from the passphrase and the name; with openssl only. */
  readonly hmac?: string;
}

/** What CREATE DATABASE has to be told for the same order of texts. */
export interface DatabaseLocale {
  readonly encoding: string;
  readonly collate: string;
  readonly ctype: string;
  /** `c` libc, `i` ICU, `b` builtin, as pg_database has it. */
  readonly provider: string;
  /** Of ICU or the builtin provider. */
  readonly locale: string | null;
}

export interface TableRows {
  readonly table: string;
  readonly rows: number;
}

/**
 * What is known of a backup, `<id>.manifest.json`. It is written last: a backup exists once its
 * manifest does. Schema: `schemas/backup-manifest.schema.json`.
 */
export interface BackupManifest {
  readonly manifest: 1;
  readonly id: BackupId;
  readonly tool: string;
  /** RFC 3339, UTC: when the snapshot was taken. */
  readonly createdAt: string;
  readonly durationSeconds: number;
  readonly database: string;
  readonly source: {
    readonly server: string;
    /** Of the cluster, as pg_controldata prints it; null where the role may not see it. */
    readonly systemIdentifier: string | null;
    readonly pgDump: string;
    /** How far the WAL was written, or on a standby replayed. */
    readonly snapshotLsn: string;
    /** pg_database_size at that time. */
    readonly databaseBytes: number;
    readonly locale: DatabaseLocale;
  };
  readonly format: DumpFormat;
  readonly parts: readonly BackupPart[];
  /** Who can read it: recipients of age, or a fingerprint of the passphrase. */
  readonly keyIds: readonly string[];
  /** Exact, from the dump's own snapshot. */
  readonly tables: readonly TableRows[];
  readonly warnings: readonly string[];
}

const kind: SealedKind = {
  schema: "backup-manifest",
  word: "manifest",
  version: "manifest",
  hint: "Take the manifest and its files from another copy, S3 for example; a dump alone can be restored by its path.",
};

/** The manifest's text: its last member is the SHA-256 of everything before it. */
export function manifestText(manifest: BackupManifest): string {
  return sealedText(manifest, 2);
}

/**
 * @param name how messages call it
 * @throws {AppError} exit 3 when it is not whole, and for a version that is newer than ours
 */
export function parseManifest(text: string, name: string): BackupManifest {
  return parseSealed<BackupManifest>(kind, text, name, ({ id, parts }) =>
    parts.some((part) => idOfKey(part.name) !== id)
      ? "names files that are not its own"
      : undefined,
  );
}

export function partOf(manifest: BackupManifest, kind: PartKind): BackupPart | undefined {
  return manifest.parts.find((part) => part.kind === kind);
}

/** What a backup takes in all, its parts together. */
export function totalsOf(manifest: BackupManifest): {
  readonly storedBytes: number;
  readonly rawBytes: number;
  readonly rows: number;
} {
  const { parts, tables } = manifest;
  return {
    storedBytes: parts.reduce((sum, part) => sum + part.bytes, 0),
    rawBytes: parts.reduce((sum, part) => sum + part.rawBytes, 0),
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
  };
}
