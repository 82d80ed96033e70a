import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { suite, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import zlib from "node:zlib";
import fc from "fast-check";
import { encode } from "../../../src/bundle/encode.ts";
import type { Encryption } from "../../../src/bundle/encryption.ts";
import type { Compression } from "../../../src/bundle/layers.ts";
import { openLayers } from "../../../src/bundle/open-layers.ts";
import {
  agePassphrase,
  bothKeys,
  encoded,
  filtered,
  noise,
  opened,
  openssl,
  sql,
  toPair,
  without,
} from "../../harness/layer-samples.ts";

const compressions: readonly Compression[] = ["none", "gzip", "zstd"];
const plain: Encryption = { method: "none" };
const encryptions: readonly (readonly [string, Encryption])[] = [
  ["nothing", plain],
  ["age to a recipient", toPair],
  ["OpenSSL", openssl],
];

/** In pieces of these sizes, again and again. */
async function* inPieces(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, piece = 0; at < bytes.length; piece += 1) {
    const size = sizes[piece % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

suite("what is encoded", () => {
  for (const compression of compressions) {
    for (const [under, encryption] of encryptions) {
      test(`with ${compression} under ${under} comes back, whatever the chunks`, async () => {
        const sizes = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 5 });
        const content = fc.uint8Array({ maxLength: 5000 });
        await fc.assert(
          fc.asyncProperty(content, sizes, sizes, async (bytes, written, read) => {
            const whole = Buffer.concat([Buffer.from(sql.repeat(2)), bytes]);
            const layers = { compression, encryption };
            const stored = Buffer.concat(
              await Array.fromAsync(encode(inPieces(whole, written), layers)),
            );
            const options = { name: '"x"', keys: bothKeys };
            const found = await openLayers(inPieces(stored, read), options);
            assert.equal(found.compression, compression);
            assert.equal(found.encryption, encryption.method);
            assert.deepEqual(Buffer.concat(await Array.fromAsync(found.bytes)), whole);
          }),
          { numRuns: 15 },
        );
      });

      test(`with ${compression} under ${under} comes back byte by byte`, async () => {
        const whole = Buffer.from(sql.repeat(20));
        const stored = await encoded(whole, compression, encryption, 1);
        assert.deepEqual((await opened(stored, bothKeys, 1)).content, whole);
      });
    }

    test(`with ${compression} comes back when it is larger than every block`, async () => {
      const whole = noise(3 * 1024 * 1024 + 17);
      for (const [, encryption] of encryptions) {
        const stored = await encoded(whole, compression, encryption, 100_003);
        assert.ok((await opened(stored)).content.equals(whole));
      }
    });
  }

  test("is empty when the source is, and a valid file under each layer", async () => {
    for (const compression of compressions) {
      for (const [, encryption] of encryptions) {
        if (compression === "none" && encryption === plain) continue;
        const stored = await encoded(Buffer.alloc(0), compression, encryption);
        const { content, ...found } = await opened(stored);
        assert.deepEqual(found, { encryption: encryption.method, compression });
        assert.equal(content.length, 0);
      }
    }
  });

  test("under a passphrase with age comes back", async () => {
    const whole = noise(200_000);
    const stored = await encoded(whole, "gzip", agePassphrase);
    assert.ok((await opened(stored)).content.equals(whole));
  });

  test("with gzip is members that every gunzip reads", async () => {
    const whole = noise(2 * 1024 * 1024 + 5);
    const stored = await encoded(whole, "gzip", plain);
    assert.ok(zlib.gunzipSync(stored).equals(whole));
    assert.ok(filtered("gzip", ["-dc"], stored).equals(whole));
    const members = stored.toString("latin1").split("\x1f\x8b\x08\0\0\0\0\0").length - 1;
    assert.equal(members, 3);
  });

  test("with zstd is what zstd -dc reads", { skip: without("zstd") }, async () => {
    const whole = noise(2 * 1024 * 1024 + 5);
    assert.ok(filtered("zstd", ["-dcq"], await encoded(whole, "zstd", plain)).equals(whole));
  });

  test("with zstd carries a checksum, so that zstd -t can tell", async () => {
    const stored = await encoded(noise(1000), "zstd", plain);
    // Bit 2 of the frame header's descriptor says that the content's checksum follows.
    assert.equal(stored.readUInt8(4) & 4, 4);
  });
});

suite("an encoder", () => {
  /** An endless source that counts what was taken, and tells whether it was let go. */
  class Source {
    taken = 0;
    released = false;
    async *bytes(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          // Random, or zstd would make nothing of a second block that is like the first.
          const block = randomBytes(256 * 1024);
          this.taken += block.length;
          yield block;
        }
      } finally {
        this.released = true;
      }
    }
  }

  for (const compression of compressions) {
    for (const [under, encryption] of encryptions) {
      test(`of ${compression} under ${under} reads no faster than it is read, and lets go`, async () => {
        const source = new Source();
        const bytes = encode(source.bytes(), { compression, encryption });
        await bytes.next();
        await bytes.next();
        for (let i = 0; i < 200; i += 1) await setImmediate();
        assert.ok(source.taken <= 16 * 1024 * 1024, `${source.taken} bytes were taken`);
        assert.equal(source.released, false);
        await bytes.return(undefined);
        for (let i = 0; i < 50 && !source.released; i += 1) await setImmediate();
        assert.equal(source.released, true);
      });

      test(`of ${compression} under ${under} fails as its source does`, async () => {
        async function* failing(): AsyncGenerator<Uint8Array> {
          yield noise(3 * 1024 * 1024);
          throw new Error("the source failed");
        }
        await assert.rejects(
          Array.fromAsync(encode(failing(), { compression, encryption })),
          /^Error: the source failed$/,
        );
      });
    }
  }
});
