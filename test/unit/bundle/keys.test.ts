import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { identityToRecipient } from "age-encryption";
import {
  checkRecipient,
  generateKeyPair,
  isIdentity,
  parseIdentities,
  readIdentityFile,
  readPassphraseFile,
  readRecipients,
} from "../../../src/bundle/keys.ts";
import { otherPair, pair } from "../../harness/layer-samples.ts";

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "pgtenant-test-"));
});
after(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

/** The secret is in no part of an error. */
function assertQuiet(error: Error): void {
  const told = JSON.stringify(error, Object.getOwnPropertyNames(error));
  assert.ok(!told.includes(pair.identity.slice(0, 30)), told);
}

suite("a key pair", () => {
  test("is an identity and the recipient that belongs to it, another each time", async () => {
    const made = await generateKeyPair();
    assert.match(made.identity, /^AGE-SECRET-KEY-1[A-Z0-9]{58}$/);
    assert.match(made.recipient, /^age1[a-z0-9]{58}$/);
    assert.equal(await identityToRecipient(made.identity), made.recipient);
    assert.notEqual((await generateKeyPair()).identity, made.identity);
    assert.equal(isIdentity(made.identity), true);
    assert.equal(isIdentity(made.recipient), false);
  });
});

suite("identities", () => {
  test("are read as age-keygen writes them, with comments, several in a file", async () => {
    const text = `# created: 2026-01-01T00:00:00Z\r\n# public key: ${pair.recipient}\r\n${pair.identity}\r\n\n  ${otherPair.identity}  \n`;
    assert.deepEqual(await parseIdentities(text, "the text"), [pair.identity, otherPair.identity]);
  });

  test("that are none are refused by their line, which is not quoted", async () => {
    const broken = `${pair.identity.slice(0, -1)}${pair.identity.endsWith("Q") ? "P" : "Q"}`;
    for (const line of [broken, pair.recipient, "a passphrase"]) {
      await assert.rejects(parseIdentities(`# c\n${line}\n`, "the file"), (error: Error) => {
        assertQuiet(error);
        assert.equal(error.message, "line 2 of the file is not an age identity");
        assert.ok("exitCode" in error && error.exitCode === 2);
        return true;
      });
    }
    for (const text of ["", "# a comment only\n"]) {
      await assert.rejects(parseIdentities(text, "the file"), {
        exitCode: 2,
        message: "the file holds no age identity",
      });
    }
    await assert.rejects(parseIdentities("age-encryption.org/v1\n-> scrypt", "the file"), {
      exitCode: 2,
      message: "the file is itself encrypted",
    });
  });

  test("in a file that others can read are taken with a warning", async () => {
    const closed = file("closed", `${pair.identity}\n`);
    assert.deepEqual(await readIdentityFile(closed), {
      value: [pair.identity],
      warning: undefined,
    });
    const open = file("open", `${pair.identity}\n`, 0o640);
    const { value, warning } = await readIdentityFile(open);
    assert.deepEqual(value, [pair.identity]);
    assert.equal(
      warning,
      `the identity file "${open}" can be read by others (mode 0640); chmod 600 it`,
    );
    await assert.rejects(readIdentityFile(join(folder, "missing")), {
      code: "unreadable-key",
      exitCode: 2,
      message: `the identity file "${join(folder, "missing")}" cannot be read`,
    });
  });
});

suite("a passphrase's file", () => {
  test("gives all but the line end, and may not be empty", async () => {
    const read = async (content: string) => (await readPassphraseFile(file("key", content))).value;
    assert.equal(await read("two words\n"), "two words");
    assert.equal(await read(" spaces \r\n"), " spaces ");
    assert.equal(await read("two\nlines"), "two\nlines");
    await assert.rejects(read("\n"), {
      exitCode: 2,
      message: `the key file "${join(folder, "key")}" is empty`,
    });
  });
});

suite("a recipient", () => {
  test("is a public key of age, and nothing else", async () => {
    assert.equal(await checkRecipient(` ${pair.recipient}\n`), pair.recipient);
    for (const text of [`${pair.recipient}q`, "age1", "ssh-ed25519 AAAA", "", "age1pq1xyz"]) {
      await assert.rejects(checkRecipient(text), {
        code: "invalid-key",
        exitCode: 2,
        message: `"${text}" is not a public key of age`,
        hint: /begins with age1/,
      });
    }
  });

  test("that is a secret key is refused without being quoted", async () => {
    for (const check of [checkRecipient, readRecipients]) {
      await assert.rejects(check(pair.identity), (error: Error) => {
        assertQuiet(error);
        assert.equal(error.message, "a secret key is given where a public one is wanted");
        return true;
      });
    }
  });

  test("may be a file of them", async () => {
    const path = file("team", `# ours\n${pair.recipient}\n\n${otherPair.recipient}\n`, 0o644);
    assert.deepEqual(await readRecipients(path), [pair.recipient, otherPair.recipient]);
    assert.deepEqual(await readRecipients(pair.recipient), [pair.recipient]);
    const wrong = file("wrong", `${pair.recipient}\n${pair.identity}\n`);
    await assert.rejects(readRecipients(wrong), (error: Error) => {
      assertQuiet(error);
      assert.equal(
        error.message,
        `line 2 of the recipients file "${wrong}" is not a public key of age`,
      );
      return true;
    });
    await assert.rejects(readRecipients(file("none", "# nobody\n")), {
      exitCode: 2,
      message: `the recipients file "${join(folder, "none")}" holds no public key`,
    });
    await assert.rejects(readRecipients("no-such-file"), {
      exitCode: 2,
      message: '"no-such-file" is neither a public key of age nor a file that can be read',
    });
  });
});
