import { createHash } from "node:crypto";
import { type BackupId, partName, sidecarName, timeOfId } from "../../src/backup/backup-name.ts";
import type { CatalogueEntry } from "../../src/backup/catalogue.ts";
import { type BackupManifest, manifestText } from "../../src/backup/manifest.ts";
import type { PendingBackup, Pin, Verification } from "../../src/backup/sidecars.ts";
import type { MemoryStore } from "./memory-store.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** The manifest of a backup with a dump and, beside it, the globals. */
export function manifestOf(
  id: BackupId,
  changes: Partial<BackupManifest> = {},
  dump = "the dump",
  globals = "the roles",
): BackupManifest {
  const layers = { format: "plain", compression: "gzip", encryption: "none" } as const;
  const part = (kind: "database" | "globals", text: string) => ({
    kind,
    name: partName(id, { kind, ...layers }),
    compression: layers.compression,
    encryption: layers.encryption,
    bytes: Buffer.byteLength(text),
    sha256: sha256(text),
    rawBytes: 100,
  });
  return {
    manifest: 1,
    id,
    tool: "pgtenant 1.0.0",
    createdAt: timeOfId(id)?.toISOString().replace(".000Z", "Z") ?? "",
    durationSeconds: 1,
    database: "nkudo",
    source: {
      server: "15.1",
      systemIdentifier: null,
      pgDump: "15.1",
      snapshotLsn: "0/15D2C48",
      databaseBytes: 1000,
      locale: { encoding: "UTF8", collate: "C", ctype: "C", provider: "c", locale: null },
    },
    format: "plain",
    parts: [part("database", dump), part("globals", globals)],
    keyIds: [],
    tables: [{ table: "public.tenants", rows: 3 }],
    warnings: [],
    ...changes,
  };
}

/** Puts a whole backup into a store. */
export function putBackup(
  store: MemoryStore,
  id: BackupId,
  changes: Partial<BackupManifest> = {},
): BackupManifest {
  const manifest = manifestOf(id, changes);
  store.put(manifest.parts[0]?.name ?? "", "the dump");
  store.put(manifest.parts[1]?.name ?? "", "the roles");
  store.put(sidecarName(id, "manifest"), manifestText(manifest));
  return manifest;
}

export function pendingOf(id: BackupId, changes: Partial<PendingBackup> = {}): PendingBackup {
  return {
    pending: 1,
    id,
    database: "nkudo",
    startedAt: timeOfId(id)?.toISOString() ?? "",
    host: "db1",
    pid: 123,
    parts: manifestOf(id).parts.map((part) => part.name),
    ...changes,
  };
}

export function verificationOf(id: BackupId, changes: Partial<Verification> = {}): Verification {
  const at = timeOfId(id)?.toISOString() ?? "";
  const by = "root@db1";
  const tool = "pgtenant 1.0.0";
  return { verified: 1, id, at, result: "good", by, tool, checked: "all", ...changes };
}

export function pinOf(id: BackupId, reason = "before the migration"): Pin {
  return { pinned: 1, id, at: "2026-01-01T00:00:00Z", by: "root@db1", reason };
}

/** An entry as a catalogue has it, for what only decides about entries. */
export function entryOf(id: BackupId, changes: Partial<CatalogueEntry> = {}): CatalogueEntry {
  return {
    id,
    state: "good",
    createdAt: timeOfId(id) ?? new Date(Number.NaN),
    database: "nkudo",
    bytes: 1000,
    keys: [sidecarName(id, "manifest")],
    ...changes,
  };
}
