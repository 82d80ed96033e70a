import type { Argv } from "yargs";
import type { DecryptionKeys, Encryption } from "../bundle/encryption.ts";
import type { Config } from "../config/config.ts";
import { writtenForms } from "../config/secrets.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Context } from "./command.ts";
import { usage } from "./options.ts";

/** What says how something is encrypted when it is written. */
export interface EncryptArguments {
  encrypt?: boolean | undefined;
  encryption?: "age" | "openssl" | undefined;
  recipient?: string | readonly string[] | undefined;
}

/** What says how something that is encrypted is opened. */
export interface KeyArguments {
  key?: string | readonly string[] | undefined;
  keyFile?: string | readonly string[] | undefined;
  identity?: string | readonly string[] | undefined;
}

/** Those of them that may be given several times, as a command's `repeatable` wants them. */
export const repeatableRecipients: readonly string[] = ["recipient"];
export const repeatableKeys: readonly string[] = [
  ...["key", "k", "key-file", "keyFile"],
  ...["identity", "i"],
];

export function withEncryptOptions<T>(yargs: Argv<T>): Argv<T & EncryptArguments> {
  return yargs
    .option("encrypt", {
      type: "boolean",
      describe: "encrypt what is written",
      defaultDescription: "BACKUP_ENCRYPT",
    })
    .option("encryption", {
      choices: ["age", "openssl"] as const,
      requiresArg: true,
      describe: "the kind of encryption; openssl for backups only",
      defaultDescription: "BACKUP_ENCRYPTION, else by the kind of key",
    })
    .option("recipient", {
      type: "string",
      requiresArg: true,
      describe: "encrypt to this age public key, or to those of this file (repeatable)",
      defaultDescription: "BACKUP_RECIPIENTS",
    });
}

export function withKeyOptions<T>(yargs: Argv<T>): Argv<T & KeyArguments> {
  return yargs
    .option("key", {
      alias: "k",
      type: "string",
      requiresArg: true,
      describe: "a passphrase; better in BACKUP_ENCRYPTION_KEY or a file (repeatable)",
    })
    .option("key-file", {
      type: "string",
      requiresArg: true,
      describe: "a file that holds a passphrase (repeatable)",
    })
    .option("identity", {
      alias: "i",
      type: "string",
      requiresArg: true,
      describe: "a file of age identities (repeatable)",
      defaultDescription: "BACKUP_IDENTITY_FILE",
    });
}

export interface EncryptionChoice {
  readonly encryption: Encryption;
  /** What may not be as it was meant. */
  readonly warnings: readonly string[];
  /** What would be better, and is no fault. */
  readonly advice: readonly string[];
}

type Method = "age" | "openssl";

/**
 * How to encrypt, from the flags and the settings: recipients mean age; a passphrase means
 * OpenSSL's encryption for a backup unless age is asked for, and age for a bundle.
 *
 * @throws {AppError} exit 2 for what contradicts itself or is no public key, 6 when there is to be
 *   encryption and no key for it
 */
export async function encryptionOf(
  args: EncryptArguments,
  config: Readonly<Config>,
  purpose: "bundle" | "backup",
): Promise<EncryptionChoice> {
  const { backup } = config;
  const named = several(args.recipient);
  if (args.encrypt === false && named.length > 0) {
    throw usage("--recipient is given with --encrypt=false", "Give one of them.");
  }
  const wanted =
    args.encrypt ??
    (backup.encrypt ||
      named.length > 0 ||
      backup.recipients.length > 0 ||
      (args.encryption ?? backup.encryption) !== undefined);
  if (!wanted) return plain(backup.encryptionKey);

  const warnings: string[] = [];
  const method = methodOf(args, config, purpose, warnings);
  const recipients = method === "openssl" ? [] : named.length > 0 ? named : backup.recipients;
  if (recipients.length > 0) {
    if (backup.encryptionKey !== undefined) {
      warnings.push(
        "recipients and BACKUP_ENCRYPTION_KEY are both given: what is written is encrypted to the recipients, and the passphrase does not open it",
      );
    }
    const { readRecipients } = await import("../bundle/keys.ts");
    const keys = (await Promise.all(recipients.map(readRecipients))).flat();
    return choice({ method: "age", recipients: [...new Set(keys)] }, warnings);
  }
  const passphrase = backup.encryptionKey;
  if (passphrase === undefined) throw noKey(method);
  if (method === "age" || purpose === "bundle") {
    return choice({ method: "age", passphrase }, warnings);
  }
  const advice =
    method === undefined
      ? [
          "encrypted for openssl enc, as the guide's commands read it; --encryption age, or better --recipient, also protects against alteration",
        ]
      : [];
  return choice({ method: "openssl", passphrase }, warnings, advice);
}

/** The kind that is asked for; undefined where the kind of key decides. */
function methodOf(
  args: EncryptArguments,
  { backup }: Readonly<Config>,
  purpose: "bundle" | "backup",
  warnings: string[],
): Method | undefined {
  const named = several(args.recipient).length > 0;
  if (purpose === "bundle") {
    if (args.encryption === "openssl") {
      throw usage("bundles are encrypted with age only", "Leave --encryption openssl out.");
    }
    if (backup.encryption === "openssl" && args.encryption === undefined) {
      warnings.push(
        "BACKUP_ENCRYPTION is openssl, and bundles are always encrypted with age: this one is, too",
      );
    }
    return "age";
  }
  if (args.encryption === "openssl") {
    if (named) {
      throw usage(
        "--recipient is given with --encryption openssl, which knows no public keys",
        "Use --encryption age, or a passphrase alone.",
      );
    }
    if (backup.recipients.length > 0) {
      warnings.push("BACKUP_RECIPIENTS has no effect: --encryption openssl takes the passphrase");
    }
    return "openssl";
  }
  if (args.encryption !== undefined || named) return "age";
  if (backup.encryption === "openssl" && backup.recipients.length > 0) {
    throw usage(
      "BACKUP_ENCRYPTION is openssl, which knows no public keys, and BACKUP_RECIPIENTS is set",
      "Unset one of them, or set BACKUP_ENCRYPTION=age.",
    );
  }
  return backup.encryption;
}

function plain(passphrase: string | undefined): EncryptionChoice {
  return choice(
    { method: "none" },
    passphrase === undefined
      ? []
      : [
          "BACKUP_ENCRYPTION_KEY is set, and encryption is off: what is written can be read by whoever gets it; add --encrypt or BACKUP_ENCRYPT=true",
        ],
  );
}

function choice(
  encryption: Encryption,
  warnings: readonly string[],
  advice: readonly string[] = [],
): EncryptionChoice {
  return Object.freeze({ encryption, warnings, advice });
}

function noKey(method: Method | undefined): AppError {
  return new AppError("missing-key", ExitCode.key, "encryption is on, and there is no key for it", {
    hint:
      method === "openssl"
        ? "Set BACKUP_ENCRYPTION_KEY or BACKUP_ENCRYPTION_KEY_FILE."
        : "Set BACKUP_ENCRYPTION_KEY to a passphrase, or make a key pair with pgtenant keygen and give its public key with --recipient.",
  });
}

/**
 * Everything that was given to open what is encrypted; it is kept out of all output.
 *
 * @throws {AppError} exit 2 when a file that a flag names cannot be read, or holds no key
 */
export async function keysOf(
  args: KeyArguments,
  { config, output }: Pick<Context, "config" | "output">,
): Promise<DecryptionKeys> {
  const { isIdentity, parseIdentities, readIdentityFile, readPassphraseFile } = await import(
    "../bundle/keys.ts"
  );
  const passphrases: string[] = [];
  const identities: string[] = [];
  const typed = several(args.key);
  if (typed.length > 0) {
    output.hide(typed.flatMap((key) => writtenForms(key)));
    output.warn(
      "a key on the command line can be seen by other users of this machine until pgtenant has started, and stays in the shell's history; use BACKUP_ENCRYPTION_KEY, --key-file or -i",
    );
  }
  for (const key of typed) {
    if (key === "") throw usage("-k names nothing", "Give the passphrase, or leave -k out.");
    if (isIdentity(key)) identities.push(...(await parseIdentities(key, "the value of -k")));
    else passphrases.push(key);
  }
  for (const path of several(args.keyFile)) {
    const { value, warning } = await readPassphraseFile(path);
    if (warning !== undefined) output.warn(warning);
    passphrases.push(value);
  }
  for (const path of several(args.identity)) {
    const { value, warning } = await readIdentityFile(path);
    if (warning !== undefined) output.warn(warning);
    identities.push(...value);
  }
  const { encryptionKey, identityFiles } = config.backup;
  if (encryptionKey !== undefined) passphrases.push(encryptionKey);
  for (const path of identityFiles) {
    try {
      const { value, warning } = await readIdentityFile(path);
      if (warning !== undefined) output.warn(warning);
      identities.push(...value);
    } catch (error) {
      // It stands there for every command; this one may well need no key.
      if (!(error instanceof AppError)) throw error;
      output.warn(`${error.message}, so BACKUP_IDENTITY_FILE has no effect`);
    }
  }
  output.hide([...passphrases, ...identities].flatMap((secret) => writtenForms(secret)));
  return { passphrases: [...new Set(passphrases)], identities: [...new Set(identities)] };
}

function several(value: string | readonly string[] | undefined): readonly string[] {
  return [value ?? []].flat();
}
