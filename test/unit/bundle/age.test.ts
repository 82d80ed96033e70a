import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { Decrypter, Encrypter } from "age-encryption";
import {
  encoded,
  filtered,
  noise,
  opened,
  otherPair,
  pair,
  passphrase,
  toPair,
  without,
} from "../../harness/layer-samples.ts";

const sealedChunk = 64 * 1024 + 16;
const sizes = [0, 1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 512 * 1024, 1_000_000];

interface Thrown {
  readonly code: string;
  readonly exitCode: number;
  readonly message: string;
}

/** Where the payload of an age file begins. */
function payloadAt(stored: Buffer): number {
  return stored.indexOf("\n", stored.indexOf("\n---") + 1) + 1 + 16;
}

/** The sealed chunks of a payload, cut apart. */
function chunksOf(stored: Buffer): { readonly head: Buffer; readonly chunks: Buffer[] } {
  const start = payloadAt(stored);
  const chunks: Buffer[] = [];
  for (let at = start; at < stored.length; at += sealedChunk) {
    chunks.push(stored.subarray(at, at + sealedChunk));
  }
  return { head: stored.subarray(0, start), chunks };
}

async function assertDamaged(bytes: Buffer, message: RegExp): Promise<void> {
  await assert.rejects(opened(bytes), (error: Thrown) => {
    assert.match(error.message, message);
    assert.equal(error.code, "corrupt-encryption");
    assert.equal(error.exitCode, 3);
    return true;
  });
}

suite("an age file", () => {
  test("is what the age package opens, and the other way round, at every size", async () => {
    const decrypter = new Decrypter();
    decrypter.addIdentity(pair.identity);
    const encrypter = new Encrypter();
    encrypter.addRecipient(pair.recipient);
    for (const size of sizes) {
      const content = noise(size);
      const ours = await encoded(content, "none", toPair);
      assert.ok(Buffer.from(await decrypter.decrypt(ours)).equals(content), `${size} bytes`);
      const theirs = Buffer.from(await encrypter.encrypt(content));
      assert.ok((await opened(theirs)).content.equals(content), `${size} bytes`);
      assert.equal(ours.length, theirs.length);
    }
  });

  test("is opened by each of its recipients, and by nobody else", async () => {
    const both = [pair.recipient, otherPair.recipient];
    const stored = await encoded(noise(1000), "zstd", { method: "age", recipients: both });
    for (const { identity } of [pair, otherPair]) {
      const found = await opened(stored, { passphrases: [], identities: [identity] });
      assert.ok(found.content.equals(noise(1000)));
    }
    const toOne = await encoded(noise(1000), "zstd", toPair);
    await assert.rejects(opened(toOne, { passphrases: [passphrase], identities: [] }), {
      code: "wrong-key",
      exitCode: 6,
      message: '"x" is encrypted with age, and no key that was given opens it',
      hint: "It wants the identity of one of its recipients: -i FILE or BACKUP_IDENTITY_FILE.",
    });
  });

  test("with a passphrase is told from one with recipients when no key fits", async () => {
    const encrypter = new Encrypter();
    encrypter.setPassphrase(passphrase);
    encrypter.setScryptWorkFactor(10);
    const stored = await encrypter.encrypt(noise(1000));
    assert.ok((await opened(stored)).content.equals(noise(1000)));
    await assert.rejects(opened(stored, { passphrases: [], identities: [pair.identity] }), {
      code: "wrong-key",
      exitCode: 6,
      hint: "It wants the passphrase it was written with: BACKUP_ENCRYPTION_KEY or --key-file.",
    });
    await assert.rejects(opened(stored, { passphrases: ["wrong"], identities: [] }), {
      code: "wrong-key",
    });
  });

  test("is refused when it is cut: in the header, in a chunk, between chunks", async () => {
    const stored = await encoded(noise(300_000), "none", toPair);
    const start = payloadAt(stored);
    const ends = [30, start - 17, start - 16, start - 1, start, start + 10, start + 16];
    for (const end of [...ends, start + sealedChunk - 1, stored.length - 1]) {
      await assertDamaged(stored.subarray(0, end), /^"x" is (corrupt or )?cut short: /);
    }
    for (let chunk = 1; chunk <= 4; chunk += 1) {
      const end = start + chunk * sealedChunk;
      await assertDamaged(
        stored.subarray(0, end),
        new RegExp(`^"x" is cut short: its encrypted data ends early, after ${end} bytes$`),
      );
    }
  });

  test("is refused when chunks were moved, doubled, dropped or taken from another file", async () => {
    const { head, chunks } = chunksOf(await encoded(noise(700_000), "none", toPair));
    const other = chunksOf(await encoded(noise(700_000), "none", toPair)).chunks;
    const [a, b, ...rest] = chunks;
    assert.ok(a !== undefined && b !== undefined && rest.length > 6);
    const last = rest.at(-1) ?? Buffer.alloc(0);
    const orders: readonly (readonly Buffer[])[] = [
      [b, a, ...rest],
      [a, a, b, ...rest],
      [b, ...rest],
      [a, ...rest],
      [a, b, ...rest.slice(0, -2), last],
      [...other.slice(0, 1), b, ...rest],
      [a, b, ...rest.slice(0, -1), other.at(-1) ?? Buffer.alloc(0)],
    ];
    for (const order of orders) {
      await assertDamaged(Buffer.concat([head, ...order]), /^"x" is corrupt or cut short: /);
    }
    assert.ok((await opened(Buffer.concat([head, ...chunks]))).content.equals(noise(700_000)));
  });

  test("is refused when something follows its end", async () => {
    for (const size of [1000, 64 * 1024, 512 * 1024]) {
      const stored = await encoded(noise(size), "none", toPair);
      for (const rest of [Buffer.alloc(1), Buffer.alloc(16), Buffer.alloc(sealedChunk)]) {
        await assertDamaged(Buffer.concat([stored, rest]), /^"x" is corrupt/);
      }
    }
    const full = await encoded(noise(64 * 1024), "none", toPair);
    await assertDamaged(
      Buffer.concat([full, Buffer.from("more")]),
      /: something follows the end of its encrypted data, after \d+ bytes$/,
    );
  });

  test("is refused when any bit of its payload is flipped, before that is handed on", async () => {
    const stored = await encoded(noise(150_000), "none", toPair);
    for (let at = payloadAt(stored) - 16; at < stored.length; at += 4999) {
      const bytes = Buffer.from(stored);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
      await assertDamaged(bytes, /^"x" is corrupt or cut short: its encrypted data was altered/);
    }
  });

  test("with a damaged header is refused, or no key fits it", async () => {
    const stored = await encoded(noise(100), "none", toPair);
    for (let at = 0; at < payloadAt(stored) - 16; at += 1) {
      const bytes = Buffer.from(stored);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      // In its first bytes it is no age file any more, but something that no layer is known of.
      if (at < "age-encryption.org/".length) continue;
      await assert.rejects(opened(bytes), (error: Thrown) => {
        assert.ok([3, 6].includes(error.exitCode), error.message);
        assert.match(error.message, /^"x" is /);
        return true;
      });
    }
    const endless = Buffer.from(`age-encryption.org/v1\n${"-> X25519 a\nb\n".repeat(100_000)}`);
    await assertDamaged(endless, /: the header of its encryption has no end$/);
    const costly = "age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 30\n";
    const body = `${Buffer.alloc(32).toString("base64").replace(/=+$/, "")}\n`;
    const mac = `--- ${Buffer.alloc(32).toString("base64").replace(/=+$/, "")}\n`;
    await assertDamaged(
      Buffer.from(costly + body + mac),
      /: the header of its encryption cannot be read \(scrypt work factor 30 is too high\)$/,
    );
  });
});

suite("the age program", { skip: without("age") }, () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    await writeFile(join(folder, "identity"), `${pair.identity}\n`, { mode: 0o600 });
  });
  after(() => rm(folder, { recursive: true }));

  test("opens what we write to recipients, and we what it writes", async () => {
    for (const size of sizes) {
      const content = noise(size);
      const stored = await encoded(content, "none", toPair);
      const args = ["-d", "-i", join(folder, "identity")];
      assert.ok(filtered("age", args, stored).equals(content), `${size} bytes`);
      const theirs = filtered("age", ["-r", pair.recipient, "-r", otherPair.recipient], content);
      assert.ok((await opened(theirs)).content.equals(content), `${size} bytes`);
    }
  });
});
