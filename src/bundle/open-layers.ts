import { AppError, ExitCode } from "../errors.ts";
import { ageDecrypted } from "./age.ts";
import { ByteSource } from "./byte-source.ts";
import { compressionOf, decompressed } from "./decompress.ts";
import type { Decrypted, DecryptionKeys, Opener } from "./encryption.ts";
import { longestMagic, magic, startsWith } from "./known-content.ts";
import type { Compression } from "./layers.ts";
import { opensslDecrypted } from "./openssl-enc.ts";

export interface OpenOptions {
  /** How messages call the input. */
  readonly name: string;
  readonly keys: DecryptionKeys;
  /** A sentence on what to do about an input that is damaged. */
  readonly hint?: string;
}

export interface OpenedLayers {
  readonly encryption: "none" | "age" | "openssl";
  readonly opener: Opener;
  readonly compression: Compression;
  /** The content. Read it to its end, or return it: that releases the source. */
  readonly bytes: AsyncGenerator<Uint8Array>;
}

/**
 * Takes off the layers that the first bytes tell of, whatever the input is called: encryption, and
 * compression inside of it.
 *
 * @throws {AppError} exit 3 for an input that is empty, and, there or while `bytes` is read, that
 *   is cut short or altered; exit 6 with the code `missing-key` when no key is given, `wrong-key`
 *   when none fits
 */
export async function openLayers(
  source: AsyncIterable<Uint8Array>,
  { name, keys, hint = "Take another copy of the file." }: OpenOptions,
): Promise<OpenedLayers> {
  const outer = new ByteSource(source);
  try {
    const head = await outer.peek(longestMagic);
    if (head.length === 0) {
      throw new AppError("empty-input", ExitCode.invalidInput, `${name} is empty`, {
        hint: `Nothing was written to it, or a copy was cut short. ${hint}`,
      });
    }
    const encryption = encryptionOf(head, name);
    if (encryption !== "none" && keys.passphrases.length + keys.identities.length === 0) {
      throw missingKey(name, encryption);
    }
    const plain: Decrypted =
      encryption === "age"
        ? await ageDecrypted(outer, keys, name, hint)
        : encryption === "openssl"
          ? await opensslDecrypted(outer, keys, name, hint)
          : { bytes: outer.rest(), opener: { method: "none" } };
    const inner = new ByteSource(plain.bytes);
    const compression = compressionOf(await inner.peek(longestMagic));
    const bytes = releasing(decompressed(inner.rest(), compression, name, hint), outer);
    // A generator that has not begun would skip its end, too, and release nothing.
    await bytes.next();
    return { encryption, opener: plain.opener, compression, bytes };
  } catch (error) {
    await outer.close().catch(() => undefined);
    throw error;
  }
}

async function* releasing(
  bytes: AsyncIterable<Uint8Array>,
  source: ByteSource,
): AsyncGenerator<Uint8Array> {
  try {
    yield Buffer.alloc(0);
    yield* bytes;
  } finally {
    await source.close();
  }
}

function encryptionOf(head: Buffer, name: string): OpenedLayers["encryption"] {
  if (startsWith(head, magic.armoredAge)) {
    throw new AppError(
      "armored-input",
      ExitCode.invalidInput,
      `${name} is an age file in armor, as text`,
      { hint: "Decrypt it first: age -d -i KEYFILE FILE." },
    );
  }
  if (startsWith(head, magic.age)) return "age";
  return startsWith(head, magic.opensslEnc) ? "openssl" : "none";
}

function missingKey(name: string, encryption: "age" | "openssl"): AppError {
  return new AppError("missing-key", ExitCode.key, `${name} is encrypted`, {
    hint:
      encryption === "age"
        ? "Give its key: an age identity with -i FILE or BACKUP_IDENTITY_FILE, or the passphrase in BACKUP_ENCRYPTION_KEY."
        : "Give its passphrase, in BACKUP_ENCRYPTION_KEY or with --key-file FILE.",
    data: { encryption },
  });
}
