import { scryptSync } from "node:crypto";
import type { Encryption } from "./encryption.ts";

const cost = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };

/**
 * Who can read what is encrypted so, without telling any secret: the recipients, or
 * `passphrase:` with eight hex digits that are the same for the same passphrase; nothing where
 * nothing is encrypted. Whoever guesses passphrases by the digits pays for scrypt each time.
 */
export function keyIdOf(encryption: Encryption): readonly string[] {
  if (encryption.method === "none") return [];
  if ("recipients" in encryption) return encryption.recipients;
  const digits = scryptSync(encryption.passphrase, "pgtenant key id", 4, cost).toString("hex");
  return [`passphrase:${digits}`];
}
