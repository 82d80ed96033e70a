import { createHmac, scryptSync } from "node:crypto";

const cost = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 ** 2 } as const;

/**
 * What proves that a stored file was written by somebody who knows the passphrase, and under this
 * name: OpenSSL's encryption proves nothing. It is the HMAC-SHA-256, in hexadecimal, of the file's
 * SHA-256 in hexadecimal, since hashing all of it twice would be felt; the key is made of the
 * passphrase and the name by scrypt (N 32,768, r 8, p 1), which takes about 0.1 s.
 */
export function partHmac(passphrase: string, name: string, sha256: string): string {
  const key = scryptSync(passphrase, `pgtenant hmac ${name}`, 32, cost);
  return createHmac("sha256", key).update(sha256).digest("hex");
}
