import assert from "node:assert/strict";
import { suite, test } from "node:test";
import zlib from "node:zlib";
import fc from "fast-check";
import { type Compression, withoutLayers } from "../../../src/bundle/layers.ts";
import { inChunks } from "../../harness/tenant-bundle.ts";

async function opened(bytes: Uint8Array, chunk = 1 << 16): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(withoutLayers(inChunks(bytes, chunk), '"x"')));
}

const packed: Readonly<Record<Compression, (bytes: Buffer) => Buffer>> = {
  zstd: (bytes) => zlib.zstdCompressSync(bytes),
  gzip: (bytes) => zlib.gzipSync(bytes),
  none: (bytes) => bytes,
};

suite("the layers around a bundle", () => {
  test("come off by their first bytes, in whatever chunks they come", async () => {
    const content = fc
      .uint8Array({ maxLength: 2000 })
      .map((bytes) => Buffer.from([0x7b, ...bytes]));
    const form = fc.constantFrom<Compression>("zstd", "gzip", "none");
    await fc.assert(
      fc.asyncProperty(
        content,
        form,
        fc.integer({ min: 1, max: 500 }),
        async (bytes, kind, chunk) => {
          assert.deepEqual(await opened(packed[kind](bytes), chunk), bytes);
        },
      ),
    );
  });

  const refusals: readonly (readonly [string, Buffer, number, RegExp])[] = [
    ["an empty input", Buffer.alloc(0), 3, /^"x" is empty$/],
    ["age encryption", Buffer.from("age-encryption.org/v1\n-> X25519"), 6, /^"x" is encrypted$/],
    ["OpenSSL's encryption", Buffer.from("Salted__01234567"), 6, /^"x" is encrypted$/],
    [
      "a dump in custom format",
      Buffer.from("PGDMP\u0001\u000e"),
      3,
      /is a pg_dump file, not a tenant bundle$/,
    ],
    [
      "a plain dump",
      Buffer.from("--\n-- PostgreSQL database dump\n--\n"),
      3,
      /is a pg_dump file, not a tenant bundle$/,
    ],
    [
      "a plain dump in gzip",
      zlib.gzipSync("--\n-- PostgreSQL database dump\n--\n"),
      3,
      /is a pg_dump file, not a tenant bundle$/,
    ],
    [
      "gzip cut short",
      zlib.gzipSync("x".repeat(1000)).subarray(0, -3),
      3,
      /^"x" is cut short: its compressed data ends early, after \d+ bytes$/,
    ],
    [
      "zstd cut short",
      zlib.zstdCompressSync(Buffer.from("x".repeat(1000))).subarray(0, -3),
      3,
      /^"x" is cut short: its compressed data ends early, after \d+ bytes$/,
    ],
    [
      "something behind the compressed data",
      Buffer.concat([zlib.zstdCompressSync(Buffer.from("x")), Buffer.from("more")]),
      3,
      /^"x" is corrupt: something follows the end of its compressed data, after \d+ bytes$/,
    ],
    [
      "what only begins like gzip",
      Buffer.from([0x1f, 0x8b, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
      3,
      /^"x" is corrupt: its compressed data cannot be read, within the first 11 bytes \(/,
    ],
  ];
  for (const [what, bytes, exitCode, message] of refusals) {
    test(`are refused when there is ${what}: exit ${exitCode}, with a hint`, async () => {
      await assert.rejects(
        opened(bytes),
        (error: { exitCode: number; message: string; hint: string }) => {
          assert.equal(error.exitCode, exitCode);
          assert.match(error.message, message);
          assert.ok(error.hint.endsWith(".") || error.hint.includes("age -d"));
          return true;
        },
      );
    });
  }

  test("let go of their source when nobody reads on", async () => {
    let released = false;
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield Buffer.from("plain text, more than enough to tell");
      } finally {
        released = true;
      }
    }
    for await (const _ of withoutLayers(endless(), '"x"')) break;
    assert.equal(released, true);
  });
});
