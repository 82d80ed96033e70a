import { randomBytes } from "node:crypto";
import type { Stanza } from "age-encryption";
import { AppError, ExitCode } from "../errors.ts";
import { passphraseIdentity, passphraseRecipient } from "./age-passphrase.ts";
import { payloadKey, payloadNonceBytes, sealed, unsealed } from "./age-payload.ts";
import type { ByteSource } from "./byte-source.ts";
import type { Decrypted, DecryptionKeys, Encryption, Opener } from "./encryption.ts";
import { corruptEncryption, cutShort } from "./layer-errors.ts";

type AgeEncryption = Extract<Encryption, { readonly method: "age" }>;

/** A header with hundreds of recipients; without an end, what is read is not an age file. */
const longestHeader = 1 << 20;

/** An age file, as `age -d` reads it. */
export async function* ageEncrypted(
  source: AsyncIterable<Uint8Array>,
  encryption: AgeEncryption,
): AsyncGenerator<Uint8Array> {
  const { header, fileKey } = await headerOf(encryption);
  const nonce = randomBytes(payloadNonceBytes);
  yield Buffer.concat([header, nonce]);
  yield* sealed(source, payloadKey(fileKey, nonce));
}

interface AgeHeader {
  readonly header: Uint8Array;
  readonly fileKey: Uint8Array;
}

const stretched = new WeakMap<AgeEncryption, Promise<AgeHeader>>();

/**
 * Stretching a passphrase takes 256 MiB and half a second, so all files that are written under the
 * same choice share a header and the key in it; each is sealed under its own key, made of that one
 * and the file's nonce. For recipients a header costs nothing, and each file has its own.
 */
function headerOf(encryption: AgeEncryption): Promise<AgeHeader> {
  if (!("passphrase" in encryption)) return newHeader(encryption);
  const known = stretched.get(encryption) ?? newHeader(encryption);
  stretched.set(encryption, known);
  return known;
}

/** The package hands out the key of a file only to recipients, so one of them keeps it. */
async function newHeader(encryption: AgeEncryption): Promise<AgeHeader> {
  const { Encrypter, Stanza } = await import("age-encryption");
  const encrypter = new Encrypter();
  if ("passphrase" in encryption) {
    encrypter.addRecipient(passphraseRecipient(encryption.passphrase, Stanza));
  } else for (const recipient of encryption.recipients) encrypter.addRecipient(recipient);
  let fileKey: Uint8Array | undefined;
  encrypter.addRecipient({
    wrapFileKey(key) {
      fileKey = key;
      return [];
    },
  });
  const file = await encrypter.encrypt(new Uint8Array());
  if (fileKey === undefined) throw new Error("age made no key for the file");
  const emptyPayload = payloadNonceBytes + 16;
  return { header: file.subarray(0, -emptyPayload), fileKey };
}

/**
 * The content of an age file, under the first key that fits.
 *
 * @throws {AppError} exit 6 when none fits, 3 when the file is cut short or altered
 */
export async function ageDecrypted(
  source: ByteSource,
  keys: DecryptionKeys,
  name: string,
  hint: string,
): Promise<Decrypted> {
  const header = await readHeader(source, name, hint);
  const { fileKey, opener } = await openHeader(header, keys, name, hint);
  const before = header.length + payloadNonceBytes;
  const nonce = (await source.peek(payloadNonceBytes)).subarray(0, payloadNonceBytes);
  if (nonce.length < payloadNonceBytes) throw cutShort(name, header.length + nonce.length, hint);
  source.skip(payloadNonceBytes);
  const bytes = unsealed(source.rest(), payloadKey(fileKey, nonce), before, name, hint);
  return { bytes, opener };
}

async function readHeader(source: ByteSource, name: string, hint: string): Promise<Buffer> {
  for (let wanted = 1024; ; wanted *= 2) {
    const head = await source.peek(wanted);
    const mark = head.indexOf("\n---");
    const end = mark < 0 ? -1 : head.indexOf("\n", mark + 1);
    if (end >= 0) {
      const header = Buffer.from(head.subarray(0, end + 1));
      source.skip(header.length);
      return header;
    }
    if (source.ended) throw cutShort(name, head.length, hint);
    if (wanted >= longestHeader) {
      throw corruptEncryption(name, "is corrupt: the header of its encryption has no end", hint);
    }
  }
}

interface OpenedHeader {
  readonly fileKey: Uint8Array;
  readonly opener: Opener;
}

const lastOpened = new WeakMap<
  DecryptionKeys,
  { readonly header: Buffer; readonly opened: OpenedHeader }
>();

/** The bundles of a set may have one header; its passphrase is then stretched once. */
async function openHeader(
  header: Buffer,
  keys: DecryptionKeys,
  name: string,
  hint: string,
): Promise<OpenedHeader> {
  const last = lastOpened.get(keys);
  if (last?.header.equals(header) === true) return last.opened;
  const opened = await fileKeyOf(header, keys, name, hint);
  lastOpened.set(keys, { header, opened });
  return opened;
}

async function fileKeyOf(
  header: Buffer,
  keys: DecryptionKeys,
  name: string,
  hint: string,
): Promise<OpenedHeader> {
  const { Decrypter } = await import("age-encryption");
  const openers: readonly Opener[] = [
    ...keys.identities.map((identity) => ({ method: "identity" as const, identity })),
    ...keys.passphrases.map((passphrase) => ({ method: "passphrase" as const, passphrase })),
  ];
  let wantsPassphrase = false;
  // One at a time, since a decrypter does not tell which of its keys has fitted.
  for (const opener of openers) {
    const decrypter = new Decrypter();
    if (opener.method === "identity") decrypter.addIdentity(opener.identity);
    else if (opener.method === "passphrase") {
      decrypter.addIdentity(passphraseIdentity(opener.passphrase));
    }
    // It is asked last, so only when the key before it has not opened the file.
    let fits = true;
    decrypter.addIdentity({
      unwrapFileKey(stanzas: readonly Stanza[]) {
        fits = false;
        wantsPassphrase = stanzas.some(({ args }) => args[0] === "scrypt");
        return null;
      },
    });
    try {
      return { fileKey: await decrypter.decryptHeader(new Uint8Array(header)), opener };
    } catch (cause) {
      if (!fits) continue;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw corruptEncryption(
        name,
        `is corrupt: the header of its encryption cannot be read (${why})`,
        hint,
        cause,
      );
    }
  }
  throw wrongKey(name, wantsPassphrase);
}

function wrongKey(name: string, wantsPassphrase: boolean): AppError {
  return new AppError(
    "wrong-key",
    ExitCode.key,
    `${name} is encrypted with age, and no key that was given opens it`,
    {
      hint: wantsPassphrase
        ? "It wants the passphrase it was written with: BACKUP_ENCRYPTION_KEY or --key-file."
        : "It wants the identity of one of its recipients: -i FILE or BACKUP_IDENTITY_FILE.",
    },
  );
}
