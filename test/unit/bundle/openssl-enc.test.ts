import assert from "node:assert/strict";
import { createCipheriv, pbkdf2Sync } from "node:crypto";
import { suite, test } from "node:test";
import {
  bothKeys,
  encoded,
  filtered,
  noise,
  opened,
  openssl,
  passphrase,
  sql,
  without,
} from "../../harness/layer-samples.ts";

const decrypt = ["enc", "-aes-256-cbc", "-d", "-pass", `pass:${passphrase}`];
const encrypt = ["enc", "-aes-256-cbc", "-pass", `pass:${passphrase}`];

interface Thrown {
  readonly exitCode: number;
  readonly message: string;
}

suite("OpenSSL's encryption", { skip: without("openssl") }, () => {
  test("is what the guide's command decrypts, as it is printed", async () => {
    for (const size of [0, 1, 15, 16, 17, 100_000]) {
      const content = noise(size);
      const stored = await encoded(content, "none", openssl);
      assert.equal(stored.subarray(0, 8).toString(), "Salted__");
      assert.ok(filtered("openssl", decrypt, stored).equals(content), `${size} bytes`);
    }
  });

  for (const options of [[], ["-md", "sha256"], ["-pbkdf2"], ["-md", "md5"]]) {
    test(`is opened when it was written with ${options.join(" ") || "no further option"}`, async () => {
      for (const content of [Buffer.from("SELECT 1;"), Buffer.from(sql), noise(300_000)]) {
        const stored = filtered("openssl", [...encrypt, ...options], content);
        assert.deepEqual(await opened(stored, bothKeys, 999), {
          encryption: "openssl",
          compression: "none",
          content,
        });
      }
    });

    test(`with ${options.join(" ") || "no further option"} has compressed data inside`, async () => {
      for (const [program, compression] of [
        ["gzip", "gzip"],
        ["zstd", "zstd"],
      ] as const) {
        if (without(program) !== false) continue;
        const packed = filtered(program, ["-c"], noise(100_000));
        const found = await opened(filtered("openssl", [...encrypt, ...options], packed));
        assert.equal(found.compression, compression);
        assert.ok(found.content.equals(noise(100_000)));
      }
    });
  }
});

suite("what is encrypted as OpenSSL does", () => {
  test("begins otherwise each time", async () => {
    const salts = [
      await encoded(noise(10), "none", openssl),
      await encoded(noise(10), "none", openssl),
    ];
    assert.notDeepEqual(salts[0], salts[1]);
  });

  test("is told from other content by what a tar archive, a dump or a bundle begins with", async () => {
    const tar = Buffer.alloc(10_240);
    tar.write("etc/ü/key.pem\0");
    tar.write("ustar\x0000", 257);
    const known = [tar, Buffer.from("PGDMP\x01\x0e\0binary"), Buffer.from('{"$bundle":{\x01')];
    for (const content of known) {
      assert.ok((await opened(await encoded(content, "none", openssl))).content.equals(content));
    }
    const unknown = Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 0x10, 0x4a, 0x46, 0x49, 0x46, 0, 1]);
    await assert.rejects(opened(await encoded(unknown, "none", openssl)), {
      code: "wrong-key",
      exitCode: 6,
      message: '"x" is encrypted with OpenSSL, and no passphrase that was given opens it',
    });
  });

  test("is refused under every wrong passphrase, before anything is handed on", async () => {
    const stored = await encoded(noise(5000), "none", openssl);
    const passphrases = Array.from({ length: 200 }, (_, number) => `wrong ${number}`);
    await assert.rejects(opened(stored, { passphrases, identities: [] }), { exitCode: 6 });
    await assert.rejects(opened(stored, { passphrases: [], identities: ["x"] }), {
      exitCode: 6,
      hint: /^Its passphrase is needed, an age identity is not: /,
    });
  });

  test("is refused when it is cut, wherever that is", async () => {
    const stored = await encoded(noise(20_000), "gzip", openssl);
    for (const end of [16, 17, 31, 32, 48, 1040, 1041, 5000, 5008, -1, -16, -17]) {
      await assert.rejects(opened(stored.subarray(0, end), bothKeys, 700), (error: Thrown) => {
        assert.equal(error.exitCode, 3, error.message);
        assert.match(error.message, /^"x" is (corrupt or )?cut short: /);
        return true;
      });
    }
  });

  test("is refused when a bit is flipped or something follows", async () => {
    const stored = await encoded(noise(20_000), "gzip", openssl);
    const damaged: Buffer[] = [Buffer.concat([stored, Buffer.from("more")])];
    damaged.push(Buffer.concat([stored, Buffer.alloc(32)]));
    for (let at = 40; at < stored.length; at += 331) {
      const bytes = Buffer.from(stored);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
      damaged.push(bytes);
    }
    for (const bytes of damaged) {
      await assert.rejects(opened(bytes), (error: Thrown) => {
        assert.equal(error.exitCode, 3, error.message);
        assert.match(error.message, /^"x" is /);
        return true;
      });
    }
  });

  test("is not opened when PBKDF2 was used with another number of rounds", async () => {
    const salt = Buffer.from("01234567");
    const made = pbkdf2Sync(passphrase, salt, 20_000, 48, "sha256");
    const cipher = createCipheriv("aes-256-cbc", made.subarray(0, 32), made.subarray(32));
    const bytes = Buffer.concat([
      Buffer.from("Salted__"),
      salt,
      cipher.update(sql),
      cipher.final(),
    ]);
    await assert.rejects(opened(bytes), { code: "wrong-key" });
  });
});
