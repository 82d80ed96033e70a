import { createHash } from "node:crypto";
import { checkDocument } from "../../bundle/shipped-schemas.ts";
import { AppError, ExitCode } from "../../errors.ts";
import { isKey } from "../../storage/store-key.ts";
import type { Shard } from "./shard.ts";

/** The snapshot of a run; a set that was resumed has several. */
export interface SetSnapshot {
  readonly lsn: string;
  /** RFC 3339, UTC, by the server's clock. */
  readonly createdAt: string;
}

/** One bundle of a set. */
export interface SetTenant {
  readonly id: string;
  /** As the bundle has it. */
  readonly slug: string | null;
  /** From the manifest's own folder, with slashes. */
  readonly path: string;
  /** As stored, after compression and encryption. */
  readonly bytes: number;
  /** Of the stored bytes. */
  readonly sha256: string;
  readonly rows: number;
  /** Its place in the list of snapshots. */
  readonly snapshot: number;
  /** Present when a later run did not find the tenant in the database any more. */
  readonly gone?: true;
}

export interface SetFailure {
  readonly id: string;
  readonly slug: string | null;
  readonly error: { readonly code: string; readonly message: string; readonly exitCode: number };
}

/** What all bundles of a set have in common. */
export interface SetHeading {
  readonly set: 1;
  readonly id: string;
  readonly tool: string;
  /** When the first run began, by its own clock. */
  readonly createdAt: string;
  readonly database: string;
  readonly profile: { readonly name: string; readonly version: number };
  readonly shard: Shard | null;
  /** A hash of the database and of the options; only a run with the same may go on with a set. */
  readonly series: string;
}

/**
 * What is known of the bundles of `export --all`: `<id>.manifest.json`, in the folder that their
 * paths begin in. Schema: `schemas/tenant-set.schema.json`.
 */
export interface TenantSet extends SetHeading {
  /** When the last run ended; null while one may be at work. */
  readonly finishedAt: string | null;
  /** Each tenant that the last run found has its bundle. */
  readonly complete: boolean;
  readonly snapshots: readonly SetSnapshot[];
  readonly tenants: readonly SetTenant[];
  readonly failed: readonly SetFailure[];
  /** How many tenants have neither bundle nor failure. */
  readonly missing: number;
}

/** The manifest's text: its last member is the SHA-256 of everything before it. */
export function setText(set: TenantSet): string {
  return `${JSON.stringify({ ...set, sha256: digestOf(set) }, null, 1)}\n`;
}

/**
 * @param name how messages call it
 * @throws {AppError} exit 3 when it is not whole, and for a version that is newer than ours
 */
export function parseSet(text: string, name: string): TenantSet {
  const corrupt = (why: string, details: readonly string[] = []) =>
    new AppError("corrupt-set", ExitCode.invalidInput, `the set ${name} ${why}`, {
      hint: "Take the manifest from another copy; each bundle can be verified by its own name.",
      details,
    });
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw corrupt("is corrupt or cut short: it is no JSON");
  }
  if (typeof document !== "object" || document === null) throw corrupt("is no JSON object");
  if ("set" in document && typeof document.set === "number" && document.set > 1) {
    throw new AppError(
      "newer-set",
      ExitCode.invalidInput,
      `the set ${name} has version ${document.set}, and this program knows version 1`,
      { hint: "Use the version of pgtenant that made it, or a newer one." },
    );
  }
  const { valid, problems } = checkDocument("tenant-set", document);
  if (!valid) throw corrupt("is not valid", problems);
  const { sha256, ...set } = document as TenantSet & { readonly sha256: string };
  if (set.tenants.some(({ path }) => !isKey(path))) throw corrupt("names files outside of it");
  if (set.tenants.some(({ snapshot }) => snapshot >= set.snapshots.length)) {
    throw corrupt("names a snapshot that it does not have");
  }
  if (digestOf(set) !== sha256) {
    throw corrupt("is corrupt: its own hash does not hold, so something in it was altered");
  }
  return set;
}

function digestOf(set: TenantSet): string {
  return createHash("sha256").update(JSON.stringify(set)).digest("hex");
}
