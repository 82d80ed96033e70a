import assert from "node:assert/strict";
import { suite, test } from "node:test";
import zlib from "node:zlib";
import { openLayers } from "../../../src/bundle/open-layers.ts";
import {
  bothKeys,
  encoded,
  noise,
  opened,
  openssl,
  otherPair,
  passphrase,
  sql,
  toPair,
} from "../../harness/layer-samples.ts";
import { inChunks } from "../../harness/tenant-bundle.ts";

const nothing = { passphrases: [], identities: [] };

interface Thrown {
  readonly code: string;
  readonly exitCode: number;
  readonly message: string;
  readonly hint: string;
}

function refused(exitCode: number, code: string, message: RegExp) {
  return (error: Thrown) => {
    assert.equal(error.message.startsWith('"x" '), true, error.message);
    assert.match(error.message, message);
    assert.equal(error.code, code);
    assert.equal(error.exitCode, exitCode);
    assert.match(error.hint, /^\p{Lu}.*\.$/u);
    return true;
  };
}

suite("gzip members one after the other", () => {
  const members = ["a", "bb", "", "ccc"].map((text) => zlib.gzipSync(text));

  test("are one content, in chunks of any size", async () => {
    for (let chunk = 1; chunk <= 40; chunk += 1) {
      assert.equal(
        String((await opened(Buffer.concat(members), nothing, chunk)).content),
        "abbccc",
      );
    }
  });

  test("with something behind the last of them are refused, in chunks of any size", async () => {
    for (const rest of [
      [0],
      [0, 0, 0, 0],
      [0x1f],
      [0x1f, 0x8b],
      [0x0a],
      [...Buffer.from("more")],
    ]) {
      const bytes = Buffer.concat([...members, Buffer.from(rest)]);
      for (let chunk = 1; chunk <= bytes.length; chunk += 1) {
        await assert.rejects(opened(bytes, nothing, chunk), (error: Thrown) =>
          refused(3, "corrupt-compression", /is corrupt: |is cut short: /)(error),
        );
      }
    }
  });

  test("are refused when one is cut", async () => {
    const bytes = Buffer.concat(members);
    const ends = members.map((_, i) => Buffer.concat(members.slice(0, i + 1)).length);
    for (let end = 3; end < bytes.length; end += 1) {
      if (ends.includes(end)) continue;
      await assert.rejects(
        opened(bytes.subarray(0, end), nothing, 7),
        refused(
          3,
          "corrupt-compression",
          /is cut short: its compressed data ends early, after \d+ /,
        ),
      );
    }
  });
});

suite("what is encrypted", () => {
  for (const [how, encryption] of [
    ["age", toPair],
    ["openssl", openssl],
  ] as const) {
    test(`with ${how} wants a key, and the right one`, async () => {
      const stored = await encoded(noise(100_000), "gzip", encryption);
      await assert.rejects(
        opened(stored, nothing),
        refused(6, "missing-key", /^"x" is encrypted$/),
      );
      const wrong = { passphrases: ["other", "another"], identities: [otherPair.identity] };
      await assert.rejects(
        opened(stored, wrong),
        refused(
          6,
          "wrong-key",
          /is encrypted with (age|OpenSSL), and no (key|passphrase) that was /,
        ),
      );
    });

    test(`with ${how} is opened by the one of several keys that fits`, async () => {
      const stored = await encoded(noise(100_000), "gzip", encryption);
      const several = {
        passphrases: ["other", passphrase],
        identities: [otherPair.identity, ...bothKeys.identities],
      };
      assert.ok((await opened(stored, several)).content.equals(noise(100_000)));
    });
  }

  test("in armor is told so", async () => {
    await assert.rejects(
      opened(Buffer.from("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n")),
      refused(3, "armored-input", /in armor/),
    );
  });
});

suite("opened layers", () => {
  /** A source that tells whether it was let go. */
  class Watched {
    released = false;
    readonly bytes: Buffer;
    constructor(bytes: Buffer) {
      this.bytes = bytes;
    }
    async *source(): AsyncGenerator<Uint8Array> {
      try {
        yield* inChunks(this.bytes, 5000);
      } finally {
        this.released = true;
      }
    }
  }

  test("that are never read, or only begun, let go of their source", async () => {
    for (const encryption of [{ method: "none" }, toPair, openssl] as const) {
      const stored = await encoded(noise(2_000_000), "none", encryption);
      for (const steps of [0, 1, 2]) {
        const state = new Watched(stored);
        const { bytes } = await openLayers(state.source(), { name: '"x"', keys: bothKeys });
        for (let step = 0; step < steps; step += 1) await bytes.next();
        assert.equal(state.released, false);
        await bytes.return(undefined);
        assert.equal(state.released, true, `${encryption.method}, ${steps} steps`);
      }
    }
  });

  test("that cannot be opened let go of their source", async () => {
    for (const bytes of [
      await encoded(noise(200_000), "none", openssl),
      Buffer.from("age-encryption.org/v1\n-> X25519 what\n".repeat(1000)),
    ]) {
      const state = new Watched(bytes);
      const keys = { passphrases: ["wrong"], identities: [] };
      await assert.rejects(openLayers(state.source(), { name: '"x"', keys }));
      assert.equal(state.released, true);
    }
  });

  test("tell with the caller's words what to do about a damaged copy", async () => {
    const options = { name: '"x"', keys: bothKeys, hint: "Ask the owner." };
    const gzip = zlib.gzipSync(sql).subarray(0, -4);
    const { bytes } = await openLayers(inChunks(gzip), options);
    await assert.rejects(Array.fromAsync(bytes), { exitCode: 3, hint: "Ask the owner." });
    await assert.rejects(openLayers(inChunks(Buffer.alloc(0)), options), {
      exitCode: 3,
      message: '"x" is empty',
      hint: "Nothing was written to it, or a copy was cut short. Ask the owner.",
    });
  });
});
