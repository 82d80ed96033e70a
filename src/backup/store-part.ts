import { createHash } from "node:crypto";
import { encode } from "../bundle/encode.ts";
import type { Encryption } from "../bundle/encryption.ts";
import type { Compression } from "../bundle/layers.ts";
import { partHmac } from "../bundle/part-hmac.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Store } from "../storage/store.ts";
import { type BackupId, type DumpFormat, type PartKind, partName } from "./backup-name.ts";
import { counted } from "./counted.ts";
import { fanOut } from "./fan-out.ts";
import type { BackupPart } from "./manifest.ts";

/** A store that a backup is written to; one that has failed gets nothing more. */
export interface Target {
  readonly store: Store;
  failure: AppError | undefined;
}

export interface PartOptions {
  readonly id: BackupId;
  readonly kind: PartKind;
  readonly format: DumpFormat;
  readonly compression: Compression;
  readonly encryption: Encryption;
  readonly signal: AbortSignal;
  /** Hears of every chunk before compression. */
  readonly onRaw: (bytes: number) => void;
}

/**
 * Compresses, encrypts and writes one part to every target that has not failed, all at the same
 * time, and hashes what is stored.
 *
 * @throws whatever the source throws; the failure of the last target that was left
 */
export async function storePart(
  targets: readonly Target[],
  source: AsyncIterable<Uint8Array>,
  options: PartOptions,
): Promise<BackupPart> {
  const { id, kind, format, compression, encryption, signal } = options;
  const name = partName(id, { kind, format, compression, encryption: encryption.method });
  const sha256 = createHash("sha256");
  let rawBytes = 0;
  let bytes = 0;
  let failed: { readonly error: unknown } | undefined;
  const raw = counted(source, (more) => {
    rawBytes += more;
    options.onRaw(more);
  });
  async function* stored(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of encode(raw, { compression, encryption })) {
        sha256.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    } catch (error) {
      failed = { error };
      throw error;
    }
  }
  const live = working(targets);
  const results = await fanOut(
    stored(),
    live.map(
      ({ store }) =>
        (chunks) =>
          store.write(name, chunks, { signal }),
    ),
  );
  signal.throwIfAborted();
  if (failed !== undefined) throw failed.error;
  for (const [i, result] of results.entries()) {
    const target = live[i];
    if (result.status === "rejected" && target !== undefined) fail(target, result.reason);
  }
  working(targets);
  const digest = sha256.digest("hex");
  return {
    kind,
    name,
    compression,
    encryption: encryption.method,
    bytes,
    sha256: digest,
    rawBytes,
    ...(encryption.method === "openssl"
      ? { hmac: partHmac(encryption.passphrase, name, digest) }
      : {}),
  };
}

/**
 * Does something to every target that has not failed; one that fails at it is left behind.
 *
 * @throws the failure of the last target that was left
 */
export async function onTargets(
  targets: readonly Target[],
  work: (store: Store) => Promise<unknown>,
): Promise<void> {
  await Promise.all(
    working(targets).map((target) =>
      work(target.store).catch((error: unknown) => fail(target, error)),
    ),
  );
  working(targets);
}

function working(targets: readonly Target[]): readonly Target[] {
  const live = targets.filter((target) => target.failure === undefined);
  const [first] = targets;
  if (live.length === 0) throw first?.failure ?? noPlace();
  return live;
}

function noPlace(): AppError {
  return new AppError("no-place", ExitCode.usage, "no place is named to keep backups in", {
    hint: "Name a folder with -d or BACKUP_DIR, or a bucket with --s3-bucket or BACKUP_S3_BUCKET.",
  });
}

/** Errors that are not a store's own are defects, and are not to be taken for a failed disk. */
function fail(target: Target, error: unknown): void {
  if (!(error instanceof AppError)) throw error;
  target.failure = error;
}
