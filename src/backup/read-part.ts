import type { DecryptionKeys } from "../bundle/encryption.ts";
import { HashedStream, type StreamFacts } from "../bundle/hashed-stream.ts";
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
export async function checkStored(source: PartSource, signal: AbortSignal): Promise<StreamFacts> {
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

/** The stored bytes of a part, to be compared with what the manifest says of them. */
class StoredBytes {
  readonly #source: PartSource;
  readonly #stream: HashedStream;
  readonly #passphrases: readonly string[];
  #checked: StreamFacts | undefined;

  constructor(stream: AsyncIterable<Uint8Array>, source: PartSource, keys: DecryptionKeys) {
    this.#source = source;
    this.#stream = new HashedStream(stream);
    this.#passphrases = keys.passphrases;
  }

  bytes(): AsyncGenerator<Uint8Array> {
    return this.#stream.bytes();
  }

  /** Reads what is left, and compares all of it with the manifest. */
  async check(compare = { hmac: true }): Promise<StreamFacts> {
    if (this.#checked !== undefined) return this.#checked;
    const facts = await this.#stream.facts();
    this.#checked = facts;
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
    await this.#stream.close();
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
