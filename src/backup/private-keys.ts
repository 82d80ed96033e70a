import { AppError, ExitCode } from "../errors.ts";
import type { IncludedFiles } from "./scan-files.ts";

/** How much of each file is searched for a key: keys stand at the beginning, or in small files. */
export const keyScanBytes = 1 << 20;

/** Key stores, which are binary; whether their password is worth anything, nobody can tell. */
const keyStoreName = /\.(p12|pfx|jks|keystore)$/i;
const derName = /\.(key|der|pk8)$/i;
const pem = /-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----/g;
/** Right behind the first line of an older, encrypted PEM. */
const encryptedPem = /^\s*Proc-Type:\s*4\s*,\s*ENCRYPTED/;
const ageIdentity = /AGE-SECRET-KEY-1/i;

/**
 * Whether a file holds a private key that whoever reads it can use. What is encrypted by a
 * passphrase of its own (`ENCRYPTED PRIVATE KEY`) does not count.
 *
 * @param head the beginning of the file, as far as it is searched
 */
export function holdsPrivateKey(path: string, head: Buffer): boolean {
  if (keyStoreName.test(path)) return true;
  const text = head.toString("latin1");
  for (const match of text.matchAll(pem)) {
    const encrypted =
      match[0].includes("ENCRYPTED") ||
      encryptedPem.test(text.slice(match.index + match[0].length, match.index + 200));
    if (!encrypted) return true;
  }
  if (ageIdentity.test(text)) return true;
  return derName.test(path) && isDerKey(head);
}

/** PKCS #8, PKCS #1 and SEC 1 without PEM around them: a sequence that begins with a version. */
function isDerKey(head: Buffer): boolean {
  if (head[0] !== 0x30 /*sequence*/) return false;
  const lengthBytes = (head[1] ?? 0) < 0x80 ? 0 : (head[1] ?? 0) - 0x80;
  const [type, length, version] = head.subarray(2 + lengthBytes);
  return type === 0x02 /*integer*/ && length === 1 && (version === 0 || version === 1);
}

/**
 * Private keys may lie beside a backup only when nobody but their owners can read it.
 *
 * @param encrypted whether the archive is going to be encrypted
 * @param allow what `--allow-plaintext-keys` says
 * @throws {AppError} exit 4 that names the files
 */
export function refusePlaintextKeys(
  included: Pick<IncludedFiles, "privateKeys">,
  encrypted: boolean,
  allow: boolean,
): void {
  const { privateKeys } = included;
  if (encrypted || allow || privateKeys.length === 0) return;
  const [first = ""] = privateKeys;
  throw new AppError(
    "plaintext-keys",
    ExitCode.refused,
    privateKeys.length === 1
      ? `the included file "${first}" holds a private key, and the backup would not be encrypted`
      : `${privateKeys.length} of the included files hold private keys, and the backup would not be encrypted`,
    {
      hint: "Add --encrypt, or --allow-plaintext-keys if the backup lies where the keys may lie.",
      details: privateKeys.map((path) => `"${path}"`),
      data: { files: privateKeys },
    },
  );
}
