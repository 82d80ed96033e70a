import { AppError, ExitCode } from "../errors.ts";
import { oneChunk } from "../storage/one-chunk.ts";
import type { Store, WriteOptions } from "../storage/store.ts";
import { type BackupId, type SidecarKind, sidecarName } from "./backup-name.ts";
import { type BackupManifest, manifestText, parseManifest } from "./manifest.ts";

/**
 * `<id>.pending.json`: the first thing that a backup writes and, after its manifest, the last
 * that it removes. Parts without a manifest are known to be ours by it.
 */
export interface PendingBackup {
  readonly pending: 1;
  readonly id: BackupId;
  readonly database: string;
  /** RFC 3339, UTC. */
  readonly startedAt: string;
  readonly host: string;
  readonly pid: number;
  /** The keys of everything that the backup may write before its manifest. */
  readonly parts: readonly string[];
}

/** `<id>.verified.json`: what the latest verification of the backup found. */
export interface Verification {
  readonly verified: 1;
  readonly id: BackupId;
  /** RFC 3339, UTC. */
  readonly at: string;
  readonly result: "good" | "failed";
  /** `user@host` */
  readonly by: string;
  readonly tool: string;
  /** `all`: down to the rows' text; `stored`: the stored bytes alone, for want of a key. */
  readonly checked: "all" | "stored";
  readonly problem?: string;
}

/** `<id>.pinned.json`: retention leaves the backup alone. */
export interface Pin {
  readonly pinned: 1;
  readonly id: BackupId;
  /** RFC 3339, UTC. */
  readonly at: string;
  /** `user@host` */
  readonly by: string;
  readonly reason: string;
}

export interface Sidecars {
  readonly pending: PendingBackup;
  readonly verified: Verification;
  readonly pinned: Pin;
}

/** A manifest names every table of the database, and each may have partitions by the thousand. */
export const largestManifest = 64 * 1024 ** 2;
const largestSidecar = 1024 ** 2;

/**
 * @throws {AppError} exit 3 when the manifest is not whole or not the one of `id`; exit 8 when
 *   there is none or it cannot be read
 */
export async function readManifest(
  store: Store,
  id: BackupId,
  signal?: AbortSignal,
): Promise<BackupManifest> {
  const key = sidecarName(id, "manifest");
  const name = `"${store.nameOf(key)}"`;
  const manifest = parseManifest(await readText(store, key, largestManifest, signal), name);
  if (manifest.id !== id) {
    throw corruptSidecar(name, `belongs to the backup "${manifest.id}" by what stands in it`);
  }
  return manifest;
}

/** Makes the backup exist, so it is written when everything else is. */
export async function writeManifest(
  store: Store,
  manifest: BackupManifest,
  signal?: AbortSignal,
): Promise<void> {
  await store.write(sidecarName(manifest.id, "manifest"), oneChunk(manifestText(manifest)), {
    signal,
  });
}

/**
 * @throws {AppError} exit 3 when it is not whole or belongs to another backup; exit 8 when there
 *   is none or it cannot be read
 */
export async function readSidecar<Kind extends keyof Sidecars>(
  store: Store,
  id: BackupId,
  kind: Kind,
  signal?: AbortSignal,
): Promise<Sidecars[Kind]> {
  const key = sidecarName(id, kind);
  const name = `"${store.nameOf(key)}"`;
  let document: unknown;
  const text = await readText(store, key, largestSidecar, signal);
  try {
    document = JSON.parse(text);
  } catch {
    throw corruptSidecar(name, "is corrupt or cut short: it is no JSON");
  }
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw corruptSidecar(name, "is no JSON object");
  }
  const members = document as Readonly<Record<string, unknown>>;
  if (members[kind] !== 1) throw corruptSidecar(name, `is no version 1 of such a file`);
  if (members.id !== id) throw corruptSidecar(name, "belongs to another backup");
  const wrong = requiredMembers[kind].find(([member, fits]) => !fits(members[member]));
  if (wrong !== undefined) throw corruptSidecar(name, `has no usable "${wrong[0]}"`);
  return document as Sidecars[Kind];
}

/**
 * Replaces the one that is there, unless it is told to leave that.
 *
 * @throws {AppError} exit 8, code `object-exists`, when there is one that is to be left
 */
export async function writeSidecar<Kind extends keyof Sidecars>(
  store: Store,
  kind: Kind,
  content: Sidecars[Kind],
  { overwrite = true, signal }: WriteOptions = {},
): Promise<void> {
  const text = `${JSON.stringify(content, null, 2)}\n`;
  await store.write(sidecarName(content.id, kind), oneChunk(text), { overwrite, signal });
}

/** That there is none is no error. */
export async function removeSidecar(store: Store, id: BackupId, kind: SidecarKind): Promise<void> {
  await store.remove(sidecarName(id, kind));
}

type Members = readonly (readonly [string, (value: unknown) => boolean])[];

const isText = (value: unknown) => typeof value === "string";
const isTime = (value: unknown) => typeof value === "string" && !Number.isNaN(Date.parse(value));
const isOneOf =
  (...words: readonly string[]) =>
  (value: unknown) =>
    typeof value === "string" && words.includes(value);

const requiredMembers: Readonly<Record<keyof Sidecars, Members>> = {
  pending: [
    ["database", isText],
    ["startedAt", isTime],
    ["host", isText],
    ["pid", (value) => typeof value === "number"],
    ["parts", (value) => Array.isArray(value) && value.length <= 1000 && value.every(isText)],
  ],
  verified: [
    ["at", isTime],
    ["result", isOneOf("good", "failed")],
    ["by", isText],
    ["checked", isOneOf("all", "stored")],
    ["problem", (value) => value === undefined || isText(value)],
  ],
  pinned: [
    ["at", isTime],
    ["by", isText],
    ["reason", isText],
  ],
};

/**
 * Whoever can write to the store could leave a file of any size there.
 *
 * @throws {AppError} exit 3 when it is larger; exit 8 when it cannot be read
 */
export async function readText(
  store: Store,
  key: string,
  largest: number,
  signal: AbortSignal | undefined,
): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of await store.read(key, { signal })) {
    bytes += chunk.length;
    if (bytes > largest) {
      throw corruptSidecar(`"${store.nameOf(key)}"`, `is larger than ${largest} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function corruptSidecar(name: string, why: string): AppError {
  return new AppError("corrupt-sidecar", ExitCode.invalidInput, `the file ${name} ${why}`, {
    hint: "Take it from another copy of the backups, or remove it by hand if it is of no use.",
  });
}
