import { execFileSync, spawnSync } from "node:child_process";
import { encode } from "../../src/bundle/encode.ts";
import type { DecryptionKeys, Encryption } from "../../src/bundle/encryption.ts";
import { generateKeyPair } from "../../src/bundle/keys.ts";
import type { Compression } from "../../src/bundle/layers.ts";
import { type OpenedLayers, openLayers } from "../../src/bundle/open-layers.ts";
import { inChunks } from "./tenant-bundle.ts";

export const passphrase = "correct horse – battery 'staple'";
export const pair = await generateKeyPair();
export const otherPair = await generateKeyPair();

export const toPair: Encryption = { method: "age", recipients: [pair.recipient] };
export const agePassphrase: Encryption = { method: "age", passphrase };
export const openssl: Encryption = { method: "openssl", passphrase };

export const bothKeys: DecryptionKeys = { passphrases: [passphrase], identities: [pair.identity] };

export const sql = "--\n-- PostgreSQL database dump\n--\n\n";

/** What begins like a dump, and does not compress. */
export function noise(bytes: number): Buffer {
  const out = Buffer.alloc(bytes, sql);
  // A generator of its own, so that every run sees the same.
  for (let i = sql.length, state = 1; i < bytes; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
}

export async function encoded(
  content: Uint8Array,
  compression: Compression,
  encryption: Encryption,
  chunk = 60_000,
): Promise<Buffer> {
  const layers = { compression, encryption };
  return Buffer.concat(await Array.fromAsync(encode(inChunks(content, chunk), layers)));
}

export async function opened(
  bytes: Uint8Array,
  keys: DecryptionKeys = bothKeys,
  chunk = 60_000,
): Promise<Omit<OpenedLayers, "bytes" | "opener"> & { readonly content: Buffer }> {
  const layers = await openLayers(inChunks(bytes, chunk), { name: '"x"', keys });
  const content = Buffer.concat(await Array.fromAsync(layers.bytes));
  return { encryption: layers.encryption, compression: layers.compression, content };
}

/** Why a test cannot be run here, or false. */
export function without(program: string): string | false {
  const found = spawnSync(program, ["--help"], { stdio: "ignore" }).error === undefined;
  return found ? false : `the program ${program} is not installed`;
}

export function filtered(program: string, args: readonly string[], input: Uint8Array): Buffer {
  return execFileSync(program, args, {
    input,
    maxBuffer: 1 << 28,
    stdio: ["pipe", "pipe", "ignore"],
  });
}
