import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { type EncryptArguments, encryptionOf, keysOf } from "../../../src/cli/key-options.ts";
import { Output } from "../../../src/cli/output.ts";
import { type Environment, resolveConfig } from "../../../src/config/config.ts";
import { otherPair, pair } from "../../harness/layer-samples.ts";

const key = { BACKUP_ENCRYPTION_KEY: "a passphrase" };
const recipients = { BACKUP_RECIPIENTS: pair.recipient };

async function chosen(args: EncryptArguments, env: Environment, purpose: "bundle" | "backup") {
  return await encryptionOf(args, resolveConfig({}, env), purpose);
}

async function methodOf(args: EncryptArguments, env: Environment, purpose: "bundle" | "backup") {
  const { encryption } = await chosen(args, env, purpose);
  if (encryption.method === "none") return "none";
  return `${encryption.method} by ${"passphrase" in encryption ? "passphrase" : encryption.recipients.length}`;
}

suite("how something is encrypted", () => {
  type Case = readonly [args: EncryptArguments, env: Environment, backup: string, bundle: string];
  const openssl = "openssl by passphrase";
  const age = "age by passphrase";
  const cases: readonly Case[] = [
    [{}, {}, "none", "none"],
    [{}, key, "none", "none"],
    [{ encrypt: true }, key, openssl, age],
    [{}, { ...key, BACKUP_ENCRYPT: "true" }, openssl, age],
    [{ encrypt: false }, { ...key, BACKUP_ENCRYPT: "true" }, "none", "none"],
    [{ encryption: "age" }, key, age, age],
    [{}, { ...key, BACKUP_ENCRYPTION: "age" }, age, age],
    [{}, { ...key, BACKUP_ENCRYPTION: "openssl" }, openssl, age],
    [{ encryption: "age" }, { ...key, BACKUP_ENCRYPTION: "openssl" }, age, age],
    [{}, recipients, "age by 1", "age by 1"],
    [{ encrypt: true }, { ...recipients, ...key }, "age by 1", "age by 1"],
    [{ encrypt: false }, recipients, "none", "none"],
    [{ recipient: [pair.recipient, otherPair.recipient] }, {}, "age by 2", "age by 2"],
    [{ recipient: [pair.recipient, pair.recipient] }, recipients, "age by 1", "age by 1"],
    [{ recipient: otherPair.recipient }, { BACKUP_ENCRYPTION: "openssl" }, "age by 1", "age by 1"],
  ];
  for (const [args, env, backup, bundle] of cases) {
    const given = JSON.stringify([args, env]).replaceAll(/(age1\w{4})\w+/g, "$1…");
    test(`follows from ${given}: a backup ${backup}, a bundle ${bundle}`, async () => {
      assert.equal(await methodOf(args, env, "backup"), backup);
      assert.equal(await methodOf(args, env, "bundle"), bundle);
    });
  }

  test("is an error without a key: exit 6, with both ways to have one", async () => {
    for (const args of [{ encrypt: true }, { encryption: "age" }] as const) {
      for (const purpose of ["backup", "bundle"] as const) {
        await assert.rejects(chosen(args, {}, purpose), {
          code: "missing-key",
          exitCode: 6,
          message: "encryption is on, and there is no key for it",
          hint: /BACKUP_ENCRYPTION_KEY .*pgtenant keygen .*--recipient\.$/,
        });
      }
    }
    await assert.rejects(chosen({ encryption: "openssl" }, {}, "backup"), {
      code: "missing-key",
      hint: "Set BACKUP_ENCRYPTION_KEY or BACKUP_ENCRYPTION_KEY_FILE.",
    });
  });

  test("may not contradict itself: exit 2", async () => {
    const wrong: readonly (readonly [
      EncryptArguments,
      Environment,
      "bundle" | "backup",
      RegExp,
    ])[] = [
      [{ encryption: "openssl" }, key, "bundle", /^bundles are encrypted with age only$/],
      [
        { encryption: "openssl", recipient: pair.recipient },
        key,
        "backup",
        /^--recipient is given with --encryption openssl/,
      ],
      [
        { encrypt: false, recipient: pair.recipient },
        {},
        "backup",
        /^--recipient is given with --encrypt=false$/,
      ],
      [
        {},
        { ...recipients, BACKUP_ENCRYPTION: "openssl" },
        "backup",
        /^BACKUP_ENCRYPTION is openssl, which knows no public keys/,
      ],
      [{ recipient: "age1x" }, {}, "backup", /^"age1x" is not a public key of age$/],
      [{}, { BACKUP_RECIPIENTS: "age1x" }, "bundle", /^"age1x" is not a public key of age$/],
    ];
    for (const [args, env, purpose, message] of wrong) {
      await assert.rejects(chosen(args, env, purpose), { exitCode: 2, message });
    }
  });

  test("is told where it may not be what was meant", async () => {
    const warned = async (...given: Parameters<typeof chosen>) => (await chosen(...given)).warnings;
    assert.match(
      (await warned({}, key, "backup"))[0] ?? "",
      /^BACKUP_ENCRYPTION_KEY is set, and encryption is off: /,
    );
    assert.match(
      (await warned({}, { ...key, ...recipients }, "backup"))[0] ?? "",
      /^recipients and BACKUP_ENCRYPTION_KEY are both given: .* the passphrase does not open it$/,
    );
    assert.match(
      (await warned({}, { ...key, BACKUP_ENCRYPTION: "openssl" }, "bundle"))[0] ?? "",
      /^BACKUP_ENCRYPTION is openssl, and bundles are always encrypted with age/,
    );
    assert.match(
      (await warned({ encryption: "openssl" }, { ...key, ...recipients }, "backup"))[0] ?? "",
      /^BACKUP_RECIPIENTS has no effect/,
    );
    assert.deepEqual(await warned({ encrypt: true }, key, "backup"), []);
    assert.deepEqual(await warned({}, recipients, "bundle"), []);
    const { advice } = await chosen({ encrypt: true }, key, "backup");
    assert.match(advice[0] ?? "", /--encryption age, or better --recipient/);
    assert.deepEqual((await chosen({ encryption: "openssl" }, key, "backup")).advice, []);
  });
});

suite("the keys that open", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "pgtenant-test-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  function file(name: string, content: string): string {
    const path = join(folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  }

  /** An output that keeps what it is told. */
  class Kept extends Output {
    readonly warnings: string[] = [];
    readonly hidden: string[] = [];
    override warn(text: string): void {
      this.warnings.push(text);
    }
    override hide(secrets: readonly string[]): void {
      this.hidden.push(...secrets);
    }
  }

  async function keys(args: Parameters<typeof keysOf>[0], env: Environment) {
    const output = new Kept(false, false);
    const found = await keysOf(args, { config: resolveConfig({}, env), output });
    return { ...found, warnings: output.warnings, hidden: output.hidden };
  }

  test("come from flags, files and the environment, each of them once", async () => {
    const found = await keys(
      {
        key: ["one", otherPair.identity],
        keyFile: [file("two", "two\n"), file("again", "one")],
        identity: file("identity", `# mine\n${pair.identity}\n`),
      },
      {
        BACKUP_ENCRYPTION_KEY: "three",
        BACKUP_IDENTITY_FILE: file("identities", `${otherPair.identity}\n`),
      },
    );
    assert.deepEqual(found.passphrases, ["one", "two", "three"]);
    assert.deepEqual(found.identities, [otherPair.identity, pair.identity]);
    for (const secret of ["one", "two", "three", pair.identity, otherPair.identity]) {
      assert.ok(found.hidden.includes(secret), secret);
    }
  });

  test("that were typed are worth a warning, others are not", async () => {
    assert.deepEqual((await keys({}, { BACKUP_ENCRYPTION_KEY: "x" })).warnings, []);
    const { warnings } = await keys({ key: ["a", "b"] }, {});
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /^a key on the command line can be seen .* shell's history; /);
  });

  test("that cannot be read stop a command when a flag names them, not by the environment", async () => {
    const missing = join(folder, "missing");
    await assert.rejects(keys({ identity: missing }, {}), { exitCode: 2 });
    await assert.rejects(keys({ keyFile: missing }, {}), { exitCode: 2 });
    await assert.rejects(keys({ key: "" }, {}), { exitCode: 2, message: "-k names nothing" });
    const found = await keys({ key: "one" }, { BACKUP_IDENTITY_FILE: missing });
    assert.deepEqual(found.passphrases, ["one"]);
    assert.match(
      found.warnings.at(-1) ?? "",
      /^the identity file ".*missing" cannot be read, so BACKUP_IDENTITY_FILE has no effect$/,
    );
  });
});
