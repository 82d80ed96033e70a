import { createHmac, type Hmac, scryptSync } from "node:crypto";

/** 32 MiB and a tenth of a second; Node refuses to take more than it is allowed. */
const cost = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };

/**
 * An HMAC-SHA-256, to be fed with the stored bytes of a file that carries no authentication of its
 * own. Its key comes from the passphrase and the file's name, so that files cannot change places.
 */
export function partHmac(passphrase: string, name: string): Hmac {
  return createHmac("sha256", scryptSync(passphrase, `pgtenant hmac ${name}`, 32, cost));
}
