import { createHash } from "node:crypto";
import type { DecryptionKeys } from "../bundle/encryption.ts";
import { openLayers } from "../bundle/open-layers.ts";
import { partHmac } from "../bundle/part-hmac.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { BackupPart } from "./manifest.ts";

/** The stored bytes of one part of a backup, or of a dump without a manifest. */
export interface PartSource {
  /** As messages name it. */
  readonly name: string;
  /** The name under which it was stored, which its HMAC is bound to. */
  readonly key: string;
  open(signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** What the manifest says of it; undefined where there is none. */
  readonly expected: BackupPart | undefined;
}

/** What was found of the stored bytes, once all have been read. */
export interface StoredFacts {
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * The bytes of a part as they were before encryption and compression. Everything is checked on
 * the way: an error at the end, too, means that what was read is worth nothing.
 *
 * @throws {AppError} exit 3 when the stored bytes are not those of the manifest, or cannot be
 *   decoded; 6 when no key fits
 */
export async function* readPart(
  source: PartSource,
  keys: DecryptionKeys,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const stored = new StoredBytes(await source.open(signal), source, keys);
  try {
    const opened = await openLayers(stored.bytes(), { name: source.name, keys });
    let rawBytes = 0;
    for await (const chunk of opened.bytes) {
      rawBytes += chunk.length;
      yield chunk;
    }
    await stored.check();
    const { expected } = source;
    if (expected !== undefined && rawBytes !== expected.rawBytes) {
      throw altered(
        source,
        `it holds ${rawBytes} bytes where the manifest says ${expected.rawBytes}`,
      );
    }
  } catch (error) {
    signal.throwIfAborted();
    // That bytes were altered explains more than what a decoder made of them. A wrong passphrase
    // makes a wrong HMAC, too, which explains nothing.
    if (error instanceof AppError && error.exitCode !== ExitCode.storage) {
      await stored.check({ hmac: error.exitCode !== ExitCode.key });
    }
    throw error;
  } finally {
    await stored.close();
  }
}

/** Reads the stored bytes alone, which needs no key. */
export async function checkStored(source: PartSource, signal: AbortSignal): Promise<StoredFacts> {
  const stored = new StoredBytes(await source.open(signal), source, {
    passphrases: [],
    identities: [],
  });
  try {
    return await stored.check();
  } finally {
    await stored.close();
  }
}

/** Hashes what passes through, and can read what nobody wanted. */
class StoredBytes {
  readonly #source: PartSource;
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #sha256 = createHash("sha256");
  readonly #passphrases: readonly string[];
  #bytes = 0;
  #ended = false;
  #facts: StoredFacts | undefined;

  constructor(stream: AsyncIterable<Uint8Array>, source: PartSource, keys: DecryptionKeys) {
    this.#source = source;
    this.#iterator = stream[Symbol.asyncIterator]();
    this.#passphrases = keys.passphrases;
  }

  /** Leaving it early does not close what is below, so that `check` can read on. */
  async *bytes(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = await this.#next();
      if (chunk === undefined) return;
      yield chunk;
    }
  }

  async #next(): Promise<Uint8Array | undefined> {
    if (this.#ended) return undefined;
    const next = await this.#iterator.next();
    if (next.done === true) {
      this.#ended = true;
      return undefined;
    }
    this.#sha256.update(next.value);
    this.#bytes += next.value.length;
    return next.value;
  }

  /** Reads what is left, and compares all of it with the manifest. */
  async check(compare = { hmac: true }): Promise<StoredFacts> {
    if (this.#facts !== undefined) return this.#facts;
    while ((await this.#next()) !== undefined);
    const facts = { bytes: this.#bytes, sha256: this.#sha256.digest("hex") };
    this.#facts = facts;
    const { expected } = this.#source;
    if (expected === undefined) return facts;
    if (facts.bytes !== expected.bytes) {
      throw altered(
        this.#source,
        `it has ${facts.bytes} bytes where the manifest says ${expected.bytes}`,
      );
    }
    if (facts.sha256 !== expected.sha256) {
      throw altered(this.#source, "its SHA-256 is not the one in the manifest");
    }
    if (compare.hmac && !this.#isAuthentic(facts.sha256)) {
      throw altered(
        this.#source,
        "its HMAC is not the one in the manifest: it was not written with this passphrase, or the manifest was forged",
      );
    }
    return facts;
  }

  #isAuthentic(sha256: string): boolean {
    const { expected, key } = this.#source;
    const proof = expected?.hmac;
    if (proof === undefined || this.#passphrases.length === 0) return true;
    return this.#passphrases.some((passphrase) => partHmac(passphrase, key, sha256) === proof);
  }

  async close(): Promise<void> {
    this.#ended = true;
    await this.#iterator.return?.();
  }
}

function altered(source: PartSource, why: string): AppError {
  return new AppError(
    "corrupt-backup",
    ExitCode.invalidInput,
    `${source.name} is corrupt: ${why}`,
    {
      hint: "Take another copy, from S3 for example, or an older backup; pgtenant list shows them.",
      data: { file: source.name },
    },
  );
}
