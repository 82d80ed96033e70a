import { encryptionSuffix } from "../bundle/encryption.ts";
import type { Compression } from "../bundle/layers.ts";
import { compressionSuffix } from "../bundle/layers.ts";

/** `backup_20260101_020000`: the UTC second at which its snapshot was taken, at the earliest. */
export type BackupId = string;

export type DumpFormat = "plain" | "custom" | "directory";
/** The parts of a set: the dump, the server's roles and settings, and files from outside. */
export type PartKind = "database" | "globals" | "files";

const formatSuffix: Readonly<Record<DumpFormat, string>> = {
  plain: ".sql",
  custom: ".dump",
  directory: ".tar",
};

const idPattern = /^backup_(\d{4})(\d{2})(\d{2})_(\d{2})(\d{2})(\d{2})$/;

export function backupIdAt(time: Date): BackupId {
  const [date = "", clock = ""] = time.toISOString().slice(0, 19).split("T");
  return `backup_${date.replaceAll("-", "")}_${clock.replaceAll(":", "")}`;
}

/** The time in an id, or undefined for what is no id. */
export function timeOfId(id: string): Date | undefined {
  const match = idPattern.exec(id);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const time = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(time.getTime()) || backupIdAt(time) !== id ? undefined : time;
}

export interface PartLayers {
  readonly kind: PartKind;
  readonly format: DumpFormat;
  readonly compression: Compression;
  readonly encryption: keyof typeof encryptionSuffix;
}

/** `backup_….sql.gz.enc`, `backup_….globals.sql.gz.enc`, `backup_….files.tar.zst.age` */
export function partName(id: BackupId, part: PartLayers): string {
  const stem = {
    database: formatSuffix[part.format],
    globals: ".globals.sql",
    files: ".files.tar",
  }[part.kind];
  return `${id}${stem}${compressionSuffix[part.compression]}${encryptionSuffix[part.encryption]}`;
}

/** What lies beside the parts of a backup, each a small JSON document. */
export type SidecarKind = "manifest" | "pending" | "verified" | "pinned";

export function sidecarName(id: BackupId, kind: SidecarKind): string {
  return `${id}.${kind}.json`;
}

/** The id that a key begins with, if it is a name that a backup of ours can have. */
export function idOfKey(key: string): BackupId | undefined {
  const [stem = ""] = key.split(".", 1);
  return timeOfId(stem) === undefined || key.includes("/") ? undefined : stem;
}
