import { createHash } from "node:crypto";
import type { Compression } from "../bundle/layers.ts";
import { checkDocument } from "../bundle/shipped-schemas.ts";
import { AppError, ExitCode } from "../errors.ts";
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
    /** Null on a standby, from which no snapshot can be shared. */
    readonly snapshotLsn: string | null;
    /** pg_database_size at that time. */
    readonly databaseBytes: number;
    readonly locale: DatabaseLocale;
  };
  readonly format: DumpFormat;
  readonly parts: readonly BackupPart[];
  /** Who can read it: recipients of age, or a fingerprint of the passphrase. */
  readonly keyIds: readonly string[];
  /** Exact, from the dump's own snapshot; null on a standby. */
  readonly tables: readonly TableRows[] | null;
  readonly warnings: readonly string[];
}

/** The manifest's text: its last member is the SHA-256 of everything before it. */
export function manifestText(manifest: BackupManifest): string {
  return `${JSON.stringify({ ...manifest, sha256: digestOf(manifest) }, null, 2)}\n`;
}

/**
 * @param name how messages call it
 * @throws {AppError} exit 3 when it is not whole, and for a version that is newer than ours
 */
export function parseManifest(text: string, name: string): BackupManifest {
  const corrupt = (why: string, details: readonly string[] = []) =>
    new AppError("corrupt-manifest", ExitCode.invalidInput, `the manifest ${name} ${why}`, {
      hint: "Take the manifest and its files from another copy, S3 for example; a dump alone can be restored by its path.",
      details,
    });
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw corrupt("is corrupt or cut short: it is no JSON");
  }
  if (typeof document !== "object" || document === null) throw corrupt("is no JSON object");
  if ("manifest" in document && typeof document.manifest === "number" && document.manifest > 1) {
    throw new AppError(
      "newer-manifest",
      ExitCode.invalidInput,
      `the manifest ${name} has version ${document.manifest}, and this program knows version 1`,
      { hint: "Use the version of pgtenant that made it, or a newer one." },
    );
  }
  const { valid, problems } = checkDocument("backup-manifest", document);
  if (!valid) throw corrupt("is not valid", problems);
  const { sha256, ...manifest } = document as BackupManifest & { readonly sha256: string };
  if (manifest.parts.some((part) => idOfKey(part.name) !== manifest.id)) {
    throw corrupt("names files that are not its own");
  }
  if (digestOf(manifest) !== sha256) {
    throw corrupt("is corrupt: its own hash does not hold, so something in it was altered");
  }
  return Object.freeze(manifest);
}

function digestOf(manifest: BackupManifest): string {
  return createHash("sha256").update(JSON.stringify(manifest)).digest("hex");
}

export function partOf(manifest: BackupManifest, kind: PartKind): BackupPart | undefined {
  return manifest.parts.find((part) => part.kind === kind);
}

/** What a backup takes in all, its parts together. */
export function totalsOf(manifest: BackupManifest): {
  readonly storedBytes: number;
  readonly rawBytes: number;
  /** Null where they were not counted. */
  readonly rows: number | null;
} {
  const { parts, tables } = manifest;
  return {
    storedBytes: parts.reduce((sum, part) => sum + part.bytes, 0),
    rawBytes: parts.reduce((sum, part) => sum + part.rawBytes, 0),
    rows: tables === null ? null : tables.reduce((sum, table) => sum + table.rows, 0),
  };
}
