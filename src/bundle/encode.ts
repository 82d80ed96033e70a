import { ageEncrypted } from "./age.ts";
import { compressed } from "./compress.ts";
import type { Encryption } from "./encryption.ts";
import type { Compression } from "./layers.ts";
import { opensslEncrypted } from "./openssl-enc.ts";

export interface Layers {
  readonly compression: Compression;
  readonly encryption: Encryption;
}

/**
 * The bytes to store: compressed, then encrypted. Holds a few megabytes however much there is,
 * and reads only as fast as it is read; whoever stops early releases the source.
 */
export async function* encode(
  source: AsyncIterable<Uint8Array>,
  { compression, encryption }: Layers,
): AsyncGenerator<Uint8Array> {
  const bytes = compressed(source, compression);
  switch (encryption.method) {
    case "none":
      return yield* bytes;
    case "age":
      return yield* ageEncrypted(bytes, encryption);
    case "openssl":
      return yield* opensslEncrypted(bytes, encryption.passphrase);
  }
}
