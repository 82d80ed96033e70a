import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { differences } from "../../src/tenant/digest.ts";
import { assertFailure } from "../harness/assert-failure.ts";
import { type CommandResult, pgtenant } from "../harness/command.ts";
import { watchingCommandLines } from "../harness/command-lines.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { deleteTenant, digestOf } from "../harness/import.ts";
import { filtered, opened, otherPair, pair, without } from "../harness/layer-samples.ts";

const secret = "Pl4in! w0rds & 'quotes'";

suite("an encrypted bundle", () => {
  let database: TestDatabase;
  let folder: string;
  let identity: string;
  let bundle: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    identity = join(folder, "identity");
    bundle = join(folder, "acme.jsonl.zst.age");
    await writeFile(identity, `# ours\n${pair.identity}\n`, { mode: 0o600 });
    await writeFile(join(folder, "other"), `${otherPair.identity}\n`, { mode: 0o600 });
    database = await createDatabase("encrypted", "n-kudo", { settings: { "seed.big": "off" } });
  });
  after(async () => {
    await database.drop();
    await rm(folder, { recursive: true });
  });

  const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    pgtenant(args, { url: database.url, env });

  async function succeeded(running: Promise<CommandResult>): Promise<CommandResult> {
    const result = await running;
    assert.equal(result.code, 0, result.stderr);
    return result;
  }

  test("to a recipient goes there and back, with the identity only", async () => {
    const exported = await succeeded(
      run(["export", "acme", "-o", bundle, "--recipient", pair.recipient, "--json"]),
    );
    assert.equal(JSON.parse(exported.stdout.toString()).encryption, "age");
    assert.match(exported.stderr, /; encrypted with age\)/);
    assert.equal((await stat(bundle)).mode & 0o777, 0o600);
    assert.equal((await readFile(bundle)).toString("latin1", 0, 21), "age-encryption.org/v1");

    await succeeded(run(["verify", bundle, "-i", identity]));
    await succeeded(run(["inspect", bundle], { BACKUP_IDENTITY_FILE: identity }));
    const digest = await digestOf(database);
    await deleteTenant(database, "acme");
    assert.notDeepEqual(differences(digest, await digestOf(database)), []);
    for (const command of ["verify", "inspect", "import"]) {
      assertFailure(await run([command, bundle]), {
        code: 6,
        message: /^pgtenant: ".*acme\.jsonl\.zst\.age" is encrypted$/,
        hint: /-i FILE or BACKUP_IDENTITY_FILE/,
      });
    }
    assertFailure(await run(["import", bundle, "-i", join(folder, "other")]), {
      code: 6,
      message: /is encrypted with age, and no key that was given opens it$/,
      hint: /identity of one of its recipients/,
    });
    const planned = await succeeded(run(["import", bundle, "-i", identity, "--dry-run"]));
    assert.match(planned.stdout.toString(), new RegExp(`--identity ${identity}`));
    const both = ["-i", join(folder, "other"), "-i", identity];
    await succeeded(run(["import", bundle, "--keep-in-flight", ...both]));
    assert.deepEqual(differences(digest, await digestOf(database)), []);
  });

  test("is what age -d decrypts into the bundle itself", { skip: without("age") }, async () => {
    const args = ["export", "acme", "-o", "-", "--recipient", pair.recipient];
    const exported = await succeeded(run(args));
    const lines = filtered("age", ["-d", "-i", identity], exported.stdout);
    assert.match(lines.toString().split("\n")[0] ?? "", /^\{"\$bundle":/);
    assert.match(lines.toString(), /\{"\$trailer":.*\}\n$/);
  });

  test("under a passphrase is named .age by default, and read with it", async () => {
    const env = { BACKUP_ENCRYPT: "true", BACKUP_ENCRYPTION_KEY: secret, BACKUP_DIR: folder };
    const exported = await succeeded(run(["export", "acme"], env));
    const [file = ""] = await readdir(join(folder, "tenants/acme"));
    assert.match(file, /^tenant_acme_\d{8}_\d{6}\.jsonl\.zst\.age$/);
    assert.ok(!exported.stdout.toString().includes(secret));
    const path = join(folder, "tenants/acme", file);
    const keyFile = join(folder, "key");
    await writeFile(keyFile, `${secret}\n`, { mode: 0o600 });
    await succeeded(run(["inspect", path, "--key-file", keyFile]));

    // A key that is typed works as well, and is to be seen for a moment only.
    const { result, last } = await watchingCommandLines(run(["inspect", path, "-k", secret]));
    assert.equal(result.code, 0, result.stderr);
    assert.match(result.stderr, /^warning: a key on the command line can be seen by other users/m);
    assert.ok(!last.some((line) => line.includes(secret)), "in /proc");
    assert.ok(!`${result.stdout}${result.stderr}`.includes(secret));
    const misspelt = await run(["inspect", path, "--kee", secret, "-k", secret]);
    assert.equal(misspelt.code, 2);
    assert.ok(!misspelt.stderr.includes(secret), misspelt.stderr);
  });

  test("follows from a name that ends in .age, and another name is worth a warning", async () => {
    const path = join(folder, "named.jsonl.age");
    assertFailure(await run(["export", "acme", "-o", path]), {
      code: 6,
      message: /encryption is on, and there is no key for it$/,
      hint: /BACKUP_ENCRYPTION_KEY .* --recipient/,
    });
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.includes("named")),
      [],
    );
    const { stderr } = await succeeded(
      run(["export", "acme", "-o", path], { BACKUP_RECIPIENTS: pair.recipient }),
    );
    assert.doesNotMatch(stderr, /warning/);
    const content = await opened(await readFile(path));
    assert.deepEqual([content.encryption, content.compression], ["age", "none"]);

    const plain = join(folder, "plain-name.jsonl.zst");
    const args = ["export", "acme", "-o", plain, "--recipient", pair.recipient];
    assert.match(
      (await succeeded(run(args))).stderr,
      /warning: the name ".*" does not say what the file is: jsonl, compressed with zstd, encrypted with age/,
    );
  });

  test("is never one by OpenSSL, whose names are refused too", async () => {
    const env = { BACKUP_ENCRYPTION_KEY: secret };
    assertFailure(await run(["export", "acme", "--encryption", "openssl"], env), {
      code: 2,
      message: /bundles are encrypted with age only$/,
      hint: /Leave --encryption openssl out/,
    });
    assertFailure(await run(["export", "acme", "-o", join(folder, "a.jsonl.enc")], env), {
      code: 2,
      message: /promises another encryption than age/,
      hint: /\.age\.$/,
    });
  });

  test("that is damaged is refused: exit 3, with its name, nothing imported", async () => {
    const whole = await readFile(bundle);
    const before = await digestOf(database);
    const flipped = Buffer.from(whole);
    flipped[whole.length - 100] = (whole.at(-100) ?? 0) ^ 1;
    for (const [command, bytes] of [
      ["import", whole.subarray(0, -100)],
      ["import", flipped],
      ["verify", Buffer.concat([whole, whole])],
    ] as const) {
      const path = join(folder, "damaged.age");
      await writeFile(path, bytes);
      assertFailure(await run([command, path, "-i", identity]), {
        code: 3,
        message: /^pgtenant: ".*damaged\.age" is (corrupt|cut short)/,
        hint: /another copy of the bundle/,
      });
    }
    assert.deepEqual(differences(before, await digestOf(database)), []);
  });
});

suite("keygen", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  after(() => rm(folder, { recursive: true }));

  test("writes an identity that only its owner reads, and never over another", async () => {
    const path = join(folder, "identity.txt");
    const made = await pgtenant(["keygen", "-o", path]);
    assert.equal(made.code, 0, made.stderr);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    const text = await readFile(path, "utf8");
    const [, recipient = ""] =
      /^# created: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n# public key: (age1[a-z0-9]{58})\nAGE-SECRET-KEY-1[A-Z0-9]{58}\n$/.exec(
        text,
      ) ?? [];
    assert.ok(made.stderr.startsWith(`Public key: ${recipient}\n`), made.stderr);
    assert.equal(made.stdout.toString(), "");
    assertFailure(await pgtenant(["keygen", "-o", path]), {
      code: 2,
      message: /the file ".*identity\.txt" exists already$/,
      hint: /a key that is overwritten is lost with all that it opens/,
    });
    assert.equal(await readFile(path, "utf8"), text);
  });

  test("prints the identity where no file is named, the public key beside it", async () => {
    const { stdout, stderr } = await pgtenant(["keygen"]);
    assert.match(stdout.toString(), /^# created: .*\n# public key: age1.*\nAGE-SECRET-KEY-1.*\n$/);
    const [, recipient = "none"] = /public key: (age1\w+)/.exec(stdout.toString()) ?? [];
    assert.ok(stderr.includes(recipient));
    const { stdout: json } = await pgtenant(["keygen", "--json"]);
    const made = JSON.parse(json.toString());
    assert.match(made.identity, /^AGE-SECRET-KEY-1/);
    assert.match(made.recipient, /^age1/);
  });
});
