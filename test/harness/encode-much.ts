/**
 * Encodes this many megabytes, or opens the standard input, and prints the peak of resident
 * memory in megabytes: `encode-much.ts COMPRESSION recipient|passphrase|openssl MEGABYTES`, with
 * the encoded bytes on stdout, or `encode-much.ts open`, with the identity in IDENTITY.
 */
import { randomFillSync } from "node:crypto";
import { once } from "node:events";
import { encode } from "../../src/bundle/encode.ts";
import type { Encryption } from "../../src/bundle/encryption.ts";
import type { Compression } from "../../src/bundle/layers.ts";
import { openLayers } from "../../src/bundle/open-layers.ts";

const [compression = "open", how = "", megabytes = "0"] = process.argv.slice(2);
const { RECIPIENT = "", IDENTITY = "" } = process.env;

async function* content(): AsyncGenerator<Uint8Array> {
  // Half of it compresses away. Each chunk is its own memory, as those of a pipe are.
  for (let chunk = 0; chunk < Number(megabytes) * 16; chunk += 1) {
    yield randomFillSync(Buffer.alloc(64 * 1024, "text\n"), 0, 32 * 1024);
  }
}

const encryptions: Readonly<Record<string, Encryption>> = {
  recipient: { method: "age", recipients: [RECIPIENT] },
  passphrase: { method: "age", passphrase: "a passphrase" },
  openssl: { method: "openssl", passphrase: "a passphrase" },
};

if (compression === "open") {
  const keys = { passphrases: ["a passphrase"], identities: [IDENTITY] };
  const opened = await openLayers(process.stdin, { name: "it", keys });
  for await (const _ of opened.bytes);
} else {
  const encryption = encryptions[how] ?? { method: "none" };
  const layers = { compression: compression as Compression, encryption };
  for await (const bytes of encode(content(), layers)) {
    if (!process.stdout.write(bytes)) await once(process.stdout, "drain");
  }
}
process.stderr.write(`${Math.round((process.resourceUsage().maxRSS * 1024) / 1e6)}\n`);
