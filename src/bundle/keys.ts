import { readFile, stat } from "node:fs/promises";
import { AppError, ExitCode } from "../errors.ts";

/** What was read from a file, and what the operator should know about it. */
export interface FromFile<T> {
  readonly value: T;
  readonly warning: string | undefined;
}

export interface KeyPair {
  /** `AGE-SECRET-KEY-1…`, which opens. */
  readonly identity: string;
  /** `age1…`, to which is encrypted. */
  readonly recipient: string;
}

export async function generateKeyPair(): Promise<KeyPair> {
  const { generateX25519Identity, identityToRecipient } = await import("age-encryption");
  const identity = await generateX25519Identity();
  return { identity, recipient: await identityToRecipient(identity) };
}

/** The public key to a secret one. */
export async function recipientOf(identity: string): Promise<string> {
  const { identityToRecipient } = await import("age-encryption");
  return await identityToRecipient(identity);
}

export function isIdentity(text: string): boolean {
  return /^AGE-SECRET-KEY-/i.test(text);
}

/**
 * The secret keys of a text as age-keygen writes it: one a line, with comments.
 *
 * @param name how messages call the text, which is never quoted
 * @throws {AppError} exit 2 when a line is something else, or there is no key
 */
export async function parseIdentities(text: string, name: string): Promise<readonly string[]> {
  if (/^(age-encryption\.org\/|-----BEGIN AGE ENCRYPTED FILE)/.test(text)) {
    throw badKey(
      `${name} is itself encrypted`,
      "Decrypt it into a file of mode 0600 first: age -d -o IDENTITY FILE.",
    );
  }
  const { identityToRecipient } = await import("age-encryption");
  const identities: string[] = [];
  for (const [line, number] of keyLines(text)) {
    try {
      await identityToRecipient(line);
    } catch {
      throw badKey(
        `line ${number} of ${name} is not an age identity`,
        "An identity begins with AGE-SECRET-KEY-1; pgtenant keygen and age-keygen write such files.",
      );
    }
    identities.push(line);
  }
  if (identities.length === 0) {
    throw badKey(`${name} holds no age identity`, "pgtenant keygen -o FILE makes one.");
  }
  return identities;
}

/** @throws {AppError} exit 2 when it cannot be read, or holds something else */
export async function readIdentityFile(path: string): Promise<FromFile<readonly string[]>> {
  const { value, warning } = await readSecretFile(path, "the identity file");
  return { value: await parseIdentities(value, `the identity file "${path}"`), warning };
}

/**
 * A passphrase: all of a file but the line end that editors close it with.
 *
 * @throws {AppError} exit 2 when it cannot be read or is empty
 */
export async function readPassphraseFile(path: string): Promise<FromFile<string>> {
  const { value, warning } = await readSecretFile(path, "the key file");
  const passphrase = value.replace(/\r?\n$/, "");
  if (passphrase === "") {
    throw badKey(`the key file "${path}" is empty`, "It must hold the passphrase.");
  }
  return { value: passphrase, warning };
}

/** @throws {AppError} exit 2 when it is no public key of age */
export async function checkRecipient(text: string): Promise<string> {
  const recipient = text.trim();
  // Whoever mixes them up must not find the secret in a log.
  if (isIdentity(recipient)) {
    throw badKey(
      "a secret key is given where a public one is wanted",
      "Give the key that begins with age1; age-keygen -y FILE tells that of a secret one.",
    );
  }
  const { Encrypter } = await import("age-encryption");
  try {
    new Encrypter().addRecipient(recipient);
    return recipient;
  } catch {
    throw badKey(
      `"${recipient}" is not a public key of age`,
      "It begins with age1; pgtenant keygen makes a pair. A file of public keys is given by its path.",
    );
  }
}

/**
 * The public keys that an argument means: one key, or the path of a file with one a line, as
 * `age -R` takes it.
 *
 * @throws {AppError} exit 2 when it is neither
 */
export async function readRecipients(argument: string): Promise<readonly string[]> {
  if (/^(age1|AGE-SECRET-KEY-)/i.test(argument.trim())) return [await checkRecipient(argument)];
  const text = await readFile(argument, "utf8").catch(() => undefined);
  if (text === undefined) {
    throw badKey(
      `"${argument}" is neither a public key of age nor a file that can be read`,
      "A public key begins with age1; pgtenant keygen makes a pair.",
    );
  }
  const recipients: string[] = [];
  for (const [line, number] of keyLines(text)) {
    try {
      recipients.push(await checkRecipient(line));
    } catch {
      throw badKey(
        `line ${number} of the recipients file "${argument}" is not a public key of age`,
        "Each line holds one key that begins with age1, or a comment.",
      );
    }
  }
  if (recipients.length === 0) {
    throw badKey(
      `the recipients file "${argument}" holds no public key`,
      "Each line holds one key that begins with age1, or a comment.",
    );
  }
  return recipients;
}

/** The lines of a file of keys that are no comments, with their numbers. */
function* keyLines(text: string): Generator<readonly [line: string, number: number]> {
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const key = line.trim();
    if (key !== "" && !key.startsWith("#")) yield [key, index + 1];
  }
}

async function readSecretFile(path: string, what: string): Promise<FromFile<string>> {
  try {
    const { mode } = await stat(path);
    const shared = (mode & 0o077) !== 0;
    return {
      value: await readFile(path, "utf8"),
      warning: shared
        ? `${what} "${path}" can be read by others (mode ${(mode & 0o777).toString(8).padStart(4, "0")}); chmod 600 it`
        : undefined,
    };
  } catch (cause) {
    throw new AppError("unreadable-key", ExitCode.usage, `${what} "${path}" cannot be read`, {
      hint: "Check its path, owner and mode.",
      cause,
    });
  }
}

function badKey(message: string, hint: string): AppError {
  return new AppError("invalid-key", ExitCode.usage, message, { hint });
}
