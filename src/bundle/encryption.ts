/** How a file is encrypted when it is written. */
export type Encryption =
  | { readonly method: "none" }
  /** Whoever has one of the identities of these recipients (`age1…`) can read it. */
  | { readonly method: "age"; readonly recipients: readonly string[] }
  | { readonly method: "age"; readonly passphrase: string }
  /** `openssl enc -aes-256-cbc`, as the guide's own commands read it. */
  | { readonly method: "openssl"; readonly passphrase: string };

/** Everything that may open what is encrypted; each is tried. */
export interface DecryptionKeys {
  readonly passphrases: readonly string[];
  /** Secret keys of age: `AGE-SECRET-KEY-1…`. */
  readonly identities: readonly string[];
}

/** What has opened a file. */
export type Opener =
  | { readonly method: "none" }
  | { readonly method: "passphrase"; readonly passphrase: string }
  | { readonly method: "identity"; readonly identity: string };

/** What is inside of an encrypted file, and what has opened it. */
export interface Decrypted {
  readonly bytes: AsyncGenerator<Uint8Array>;
  readonly opener: Opener;
}

export const noKeys: DecryptionKeys = Object.freeze({ passphrases: [], identities: [] });

export const encryptionSuffix = { none: "", age: ".age", openssl: ".enc" } as const;
