import { parseSealed, type SealedKind, sealedText } from "../../bundle/sealed-document.ts";
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

const kind: SealedKind = {
  schema: "tenant-set",
  word: "set",
  version: "set",
  hint: "Take the manifest from another copy; each bundle can be verified by its own name.",
};

/** The manifest's text: its last member is the SHA-256 of everything before it. */
export function setText(set: TenantSet): string {
  return sealedText(set, 1);
}

/**
 * @param name how messages call it
 * @throws {AppError} exit 3 when it is not whole, and for a version that is newer than ours
 */
export function parseSet(text: string, name: string): TenantSet {
  return parseSealed<TenantSet>(kind, text, name, ({ tenants, snapshots }) => {
    if (tenants.some(({ path }) => !isKey(path))) return "names files outside of it";
    if (tenants.some(({ snapshot }) => snapshot >= snapshots.length)) {
      return "names a snapshot that it does not have";
    }
    return undefined;
  });
}
