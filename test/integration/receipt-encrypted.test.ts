import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import type { DatabaseDigest } from "../../src/tenant/digest.ts";
import { pgtenant } from "../harness/command.ts";
import { refused, succeeded } from "../harness/command-end.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { digestOf, freshBundle } from "../harness/import.ts";
import { otherPair, pair } from "../harness/layer-samples.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";

suite("the receipt of an encrypted import", () => {
  let database: TestDatabase;
  let folder: string;
  let backups: string;
  let bundle: string;
  let damaged: DatabaseDigest;

  before(async () => {
    database = await createDatabase("receipt encrypted", "n-kudo", {
      settings: { "seed.big": "off" },
    });
  });
  after(() => database.drop());

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    backups = join(folder, "backups");
    bundle = join(folder, "acme.jsonl");
    await writeFile(bundle, await freshBundle("acme"));
    await database.query(`
      DELETE FROM api_keys WHERE tenant_id = ${acme};
      UPDATE tenants SET name = 'Renamed' WHERE slug = 'acme'`);
    damaged = await digestOf(database);
  });

  afterEach(() => rm(folder, { recursive: true }));

  const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    pgtenant(args, { url: database.url, env: { BACKUP_DIR: backups, ...env } });

  async function assertRows(expected: DatabaseDigest): Promise<void> {
    assert.deepEqual((await digestOf(database)).tables, expected.tables);
  }

  const receipts = () => readdir(join(backups, "receipts")).catch(() => []);
  const overwrite = ["--mode", "overwrite", "--yes"];

  test("is encrypted as the bundle was: to the same passphrase, or the identity that opened it", async () => {
    const secret = "receipt secret";
    const identity = join(folder, "identity");
    const other = join(folder, "other");
    await writeFile(identity, `${pair.identity}\n`, { mode: 0o600 });
    await writeFile(other, `${otherPair.identity}\n`, { mode: 0o600 });
    const sealed = join(folder, "sealed.jsonl.zst.age");
    const toKeys = ["--recipient", pair.recipient, "--recipient", otherPair.recipient];
    const cases = [
      { args: ["--encrypt"], env: { BACKUP_ENCRYPTION_KEY: secret }, key: [] },
      { args: toKeys, env: {}, key: ["-i", identity] },
    ];
    for (const { args, env, key } of cases) {
      await succeeded(
        run(["import", bundle, ...overwrite, "--receipt", join(folder, `plain${args.length}`)]),
      );
      await succeeded(run(["export", "acme", "-o", sealed, "--overwrite", ...args], env));
      await succeeded(run(["undo", join(folder, `plain${args.length}`), "--yes"]));
      await rm(join(backups, "receipts"), { recursive: true });

      await succeeded(run(["import", sealed, ...overwrite, ...key], env));
      const [name = ""] = await receipts();
      assert.match(name, /\.jsonl\.zst\.age$/);
      const path = join(backups, "receipts", name);
      assert.equal((await readFile(path)).toString("latin1", 0, 21), "age-encryption.org/v1");
      await refused(run(["undo", path, "--yes"]), { code: 6, message: /is encrypted$/ });
      await refused(run(["undo", path, "--yes", "-i", other]), {
        code: 6,
        message: /no key that was given opens it$/,
      });
      await succeeded(run(["undo", path, "--yes", ...key], env));
      await assertRows(damaged);
    }
    // A plain bundle, where everything that is written is to be encrypted.
    const env = { BACKUP_ENCRYPT: "true", BACKUP_RECIPIENTS: pair.recipient };
    await succeeded(run(["import", bundle, ...overwrite], env));
    const name = (await receipts()).toSorted().at(-1) ?? "";
    assert.match(name, /\.age$/);
    await succeeded(run(["undo", join(backups, "receipts", name), "--yes", "-i", identity]));
    await assertRows(damaged);
  });
});
