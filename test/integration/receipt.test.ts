import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readJournal } from "../../src/journal/journal.ts";
import type { DatabaseDigest } from "../../src/tenant/digest.ts";
import { pgtenant, spawnPgtenant } from "../harness/command.ts";
import { refused, succeeded } from "../harness/command-end.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { assertUnchanged, digestOf, freshBundle } from "../harness/import.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";

suite("the receipt of an import", () => {
  let database: TestDatabase;
  let folder: string;
  let backups: string;
  let bundle: string;
  let damaged: DatabaseDigest;

  before(async () => {
    database = await createDatabase("receipt", "n-kudo", { settings: { "seed.big": "off" } });
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

  test("is a bundle that only its owner can read, named with the command that takes it", async () => {
    const imported = await succeeded(run(["import", bundle, ...overwrite]));
    const [name = ""] = await receipts();
    assert.match(name, /^receipt_acme_\d{8}_\d{6}\.jsonl\.zst$/);
    const path = join(backups, "receipts", name);
    assert.ok(
      imported.stdout.toString().includes(`to take this import back: pgtenant undo ${path} --yes`),
      imported.stdout.toString(),
    );
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await stat(dirname(path))).mode & 0o777, 0o700);
    await succeeded(run(["verify", path]));
    const inspected = await succeeded(run(["inspect", path, "--json"]));
    const found = JSON.parse(inspected.stdout.toString());
    assert.equal(found.receipt.mode, "overwrite");
    const rows = Object.fromEntries(
      found.tables.map((table: { name: string; rows: number }) => [table.name, table.rows]),
    );
    const [keys] = await database.query<{ count: number }>(
      `SELECT count(*)::integer AS count FROM api_keys WHERE tenant_id = ${acme}`,
    );
    assert.deepEqual(rows, {
      "public.tenants": 1,
      "public.api_keys": 0,
      "pgtenant.written": 1 + (keys?.count ?? 0),
    });

    await refused(run(["import", path]), {
      code: 2,
      message: /is the receipt of an import, not a bundle$/,
      hint: /pgtenant undo/,
    });
    await refused(run(["undo", bundle]), {
      code: 2,
      message: /is a bundle, not a receipt$/,
      hint: /BACKUP_DIR\/receipts/,
    });
    const preview = await succeeded(run(["undo", path, "--dry-run"]));
    const shown = preview.stdout.toString();
    assert.match(shown, /^plan for tenant "acme" \(Acme.*\), mode undo:/m);
    assert.ok(shown.includes(`to apply it: pgtenant undo ${path} --yes`), shown);
    await refused(run(["undo", path]), {
      code: 4,
      message: /^this would set back or delete rows/,
      hint: /--yes/,
    });
    const undone = await succeeded(run(["undo", path, "--yes", "--json"]));
    await assertRows(damaged);
    const { receipt: second } = JSON.parse(undone.stdout.toString());
    assert.ok((await receipts()).map((file) => join(backups, "receipts", file)).includes(second));
    const twice = await succeeded(run(["undo", path, "--yes"]));
    assert.match(twice.stdout.toString(), /nothing to undo: all \d+ rows are as they were before/);

    const journal = await Array.fromAsync(readJournal(backups));
    assert.deepEqual(
      journal
        .filter(({ event }) => event === "done")
        .map(({ operation, details }) => [operation, details?.receipt]),
      [
        ["import", path],
        ["undo", second],
        ["undo", null],
      ],
    );
    await succeeded(run(["undo", second, "--yes"]));
  });

  test("stands in the way of the import when it cannot be written", async () => {
    const noFolder = join(folder, "a-file");
    await writeFile(noFolder, "");
    await refused(run(["import", bundle, ...overwrite], { BACKUP_DIR: noFolder }), {
      code: 8,
      message: /^the receipt could not be written, so nothing was imported: /,
      hint: /--receipt FILE/,
    });
    await refused(run(["import", bundle, ...overwrite, "--receipt", noFolder]), {
      code: 2,
      message: /exists already$/,
      hint: /--receipt/,
    });
    await refused(run(["import", bundle, ...overwrite, "--receipt", "-"]), {
      code: 2,
      message: /is no file$/,
    });
    await assertUnchanged(database, damaged);
    assert.deepEqual(await receipts(), []);
  });

  test("goes when the import fails, and is not written for a dry run or for nothing", async () => {
    await database.query(
      "CREATE RULE more AS ON INSERT TO api_keys DO ALSO INSERT INTO schema_migrations (version) VALUES (gen_random_uuid())",
    );
    await refused(run(["import", bundle, ...overwrite]), {
      code: 7,
      message: /wrote other rows than planned/,
    });
    await database.query("DROP RULE more ON api_keys");
    assert.deepEqual(await receipts(), []);
    await succeeded(run(["import", bundle, ...overwrite, "--dry-run"]));
    assert.deepEqual(await receipts(), []);
    await assertUnchanged(database, damaged);
    await succeeded(run(["import", bundle, ...overwrite, "--receipt", join(folder, "r")]));
    const again = await succeeded(run(["import", bundle, ...overwrite, "--json"]));
    assert.equal(JSON.parse(again.stdout.toString()).receipt, null);
    assert.deepEqual(await receipts(), []);
    await succeeded(run(["undo", join(folder, "r"), "--yes", "--receipt", join(folder, "s")]));
    await assertRows(damaged);
    assert.deepEqual(await receipts(), []);
  });

  test("that is damaged or cut short is refused, and changes nothing", async () => {
    const path = join(folder, "receipt");
    await succeeded(run(["import", bundle, ...overwrite, "--receipt", path]));
    const whole = await readFile(path);
    const imported = await digestOf(database);
    for (const bytes of [whole.subarray(0, whole.length - 9), flipped(whole)]) {
      await chmod(path, 0o600);
      await writeFile(path, bytes);
      const { code, stderr } = await run(["undo", path, "--yes"]);
      assert.equal(code, 3, stderr);
    }
    await assertUnchanged(database, imported);
    await writeFile(path, whole);
    await succeeded(run(["undo", path, "--yes"]));
    await assertRows(damaged);
  });

  test("of an import that was killed before COMMIT has nothing to undo, even after another run", async () => {
    const blocker = await database.connect();
    // It lets the plan be made and the receipt be written, but no row.
    await blocker.query("BEGIN; LOCK TABLE api_keys IN SHARE MODE");
    const child = spawnPgtenant(["import", bundle, ...overwrite], {
      url: database.url,
      env: { BACKUP_DIR: backups },
    });
    child.stdout.resume();
    child.stderr.resume();
    while ((await receipts()).filter((name) => !name.startsWith(".")).length === 0) {
      assert.equal(child.exitCode, null);
      await sleep(10);
    }
    child.kill("SIGKILL");
    await blocker.query("COMMIT");
    const [name = ""] = (await receipts()).filter((file) => !file.startsWith("."));
    const orphan = join(backups, "receipts", name);
    await assertUnchanged(database, damaged);
    const undone = await succeeded(run(["undo", orphan, "--yes"]));
    assert.match(undone.stdout.toString(), /^nothing to undo: the import .* was never committed/m);
    await assertUnchanged(database, damaged);

    const second = join(folder, "second");
    await succeeded(run(["import", bundle, ...overwrite, "--receipt", second]));
    const imported = await digestOf(database);
    await succeeded(run(["undo", orphan, "--yes"]));
    await assertUnchanged(database, imported);
    await succeeded(run(["undo", second, "--yes"]));
    await assertRows(damaged);
  });
});

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  const at = Math.floor(bytes.length / 2);
  copy.writeUInt8(copy.readUInt8(at) ^ 0x10, at);
  return copy;
}
