import {
  createCipheriv,
  createDecipheriv,
  createHash,
  pbkdf2 as pbkdf2WithCallback,
  randomBytes,
} from "node:crypto";
import { promisify } from "node:util";
import { AppError, ExitCode } from "../errors.ts";
import type { ByteSource } from "./byte-source.ts";
import type { Decrypted, DecryptionKeys } from "./encryption.ts";
import { isKnownContent } from "./known-content.ts";
import { corruptEncryption, cutShort } from "./layer-errors.ts";

const pbkdf2 = promisify(pbkdf2WithCallback);

const magic = Buffer.from("Salted__");
const saltBytes = 8;
const headerBytes = magic.length + saltBytes;
const blockBytes = 16;
const keyBytes = 32;
const cipherName = "aes-256-cbc";
/** Enough to see that a tar archive is one. */
const sampleBytes = 1024;

interface CipherKey {
  readonly key: Buffer;
  readonly iv: Buffer;
}

type Derivation = (passphrase: string, salt: Buffer) => CipherKey | Promise<CipherKey>;

/** How `openssl enc` makes a key, in the order in which they are worth trying. */
const derivations: readonly Derivation[] = [
  (passphrase, salt) => bytesToKey("sha256", passphrase, salt),
  // With -pbkdf2.
  async (passphrase, salt) =>
    split(await pbkdf2(passphrase, salt, 10_000, keyBytes + blockBytes, "sha256")),
  // Before OpenSSL 1.1, or with -md md5.
  (passphrase, salt) => bytesToKey("md5", passphrase, salt),
];

/**
 * What `openssl enc -aes-256-cbc -d -pass pass:…` of OpenSSL 1.1 or newer reads without further
 * options. It carries no authentication: whoever stores it needs an HMAC beside it.
 */
export async function* opensslEncrypted(
  source: AsyncIterable<Uint8Array>,
  passphrase: string,
): AsyncGenerator<Uint8Array> {
  const salt = randomBytes(saltBytes);
  const { key, iv } = bytesToKey("sha256", passphrase, salt);
  const cipher = createCipheriv(cipherName, key, iv);
  yield Buffer.concat([magic, salt]);
  for await (const chunk of source) {
    const bytes = cipher.update(chunk);
    if (bytes.length > 0) yield bytes;
  }
  yield cipher.final();
}

/**
 * The content, under the first passphrase and derivation of a key with which it begins like
 * something that is known.
 *
 * @throws {AppError} exit 6 when none fits, 3 when the source is cut short or altered
 */
export async function opensslDecrypted(
  source: ByteSource,
  { passphrases }: DecryptionKeys,
  name: string,
  hint: string,
): Promise<Decrypted> {
  const head = await source.peek(headerBytes + sampleBytes);
  const salt = head.subarray(magic.length, headerBytes);
  const sample = head.subarray(headerBytes);
  if (sample.length < blockBytes) throw cutShort(name, head.length, hint);
  for (const passphrase of passphrases) {
    for (const derive of derivations) {
      const candidate = await derive(passphrase, salt);
      if (!isKnownContent(firstBytes(candidate, sample, source.ended))) continue;
      source.skip(headerBytes);
      return {
        bytes: decrypted(source.rest(), candidate, name, hint),
        opener: { method: "passphrase", passphrase },
      };
    }
  }
  throw new AppError(
    "wrong-key",
    ExitCode.key,
    `${name} is encrypted with OpenSSL, and no passphrase that was given opens it`,
    {
      hint:
        passphrases.length === 0
          ? "Its passphrase is needed, an age identity is not: BACKUP_ENCRYPTION_KEY or --key-file."
          : "Check BACKUP_ENCRYPTION_KEY, --key-file or -k; a file that was written before a change of the key needs the old one.",
    },
  );
}

function firstBytes({ key, iv }: CipherKey, sample: Buffer, whole: boolean): Buffer {
  const decipher = createDecipheriv(cipherName, key, iv).setAutoPadding(false);
  const bytes = decipher.update(sample.subarray(0, sample.length - (sample.length % blockBytes)));
  const padding = bytes.at(-1) ?? 0;
  const padded =
    whole &&
    padding >= 1 &&
    padding <= blockBytes &&
    bytes.subarray(-padding).every((byte) => byte === padding);
  return padded ? bytes.subarray(0, -padding) : bytes;
}

async function* decrypted(
  source: AsyncIterable<Uint8Array>,
  { key, iv }: CipherKey,
  name: string,
  hint: string,
): AsyncGenerator<Uint8Array> {
  const decipher = createDecipheriv(cipherName, key, iv);
  let received = headerBytes;
  for await (const chunk of source) {
    received += chunk.length;
    const bytes = decipher.update(chunk);
    if (bytes.length > 0) yield bytes;
  }
  if (received % blockBytes !== 0) throw cutShort(name, received, hint);
  let end: Buffer;
  try {
    end = decipher.final();
  } catch (cause) {
    throw corruptEncryption(
      name,
      `is corrupt or cut short: its encrypted data ends wrongly, after ${received} bytes`,
      hint,
      cause,
    );
  }
  if (end.length > 0) yield end;
}

/** OpenSSL's EVP_BytesToKey with one round. */
function bytesToKey(digest: "sha256" | "md5", passphrase: string, salt: Buffer): CipherKey {
  let made: Buffer = Buffer.alloc(0);
  for (let last: Buffer = made; made.length < keyBytes + blockBytes; ) {
    last = createHash(digest).update(last).update(passphrase).update(salt).digest();
    made = Buffer.concat([made, last]);
  }
  return split(made);
}

function split(made: Buffer): CipherKey {
  return { key: made.subarray(0, keyBytes), iv: made.subarray(keyBytes, keyBytes + blockBytes) };
}
