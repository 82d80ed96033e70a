import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { readJournal } from "../../src/journal/journal.ts";
import { verifyJournal } from "../../src/journal/verify-journal.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";

suite("the journal of a folder for backups", () => {
  let database: TestDatabase;
  let folder: string;
  let bundle: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    bundle = join(folder, "acme.jsonl");
    database = await createDatabase("journal commands", "n-kudo", {
      settings: { "seed.big": "off" },
    });
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await database.drop();
  });

  const run = (args: readonly string[], directory = folder) =>
    pgtenant(args, { url: database.url, env: { BACKUP_DIR: directory } });

  test("has each export and import, whoever made it and however it ended; no dry run", async () => {
    assert.equal((await run(["export", "acme", "-o", bundle])).code, 0);
    assert.equal((await run(["export", "nobody", "-o", "-"])).code, 2);
    await database.query("DELETE FROM tenants WHERE slug = 'acme'");
    assert.equal((await run(["import", bundle, "--dry-run"])).code, 0);
    assert.equal((await run(["import", bundle])).code, 0);
    const records = await Array.fromAsync(readJournal(folder));
    assert.deepEqual(
      records.map(({ operation, event, exitCode }) => [operation, event, exitCode]),
      [
        ["export", "started", undefined],
        ["export", "done", 0],
        ["export", "started", undefined],
        ["export", "failed", 2],
        ["import", "started", undefined],
        ["import", "done", 0],
      ],
    );
    const last = records.at(-1);
    assert.equal(last?.database, database.name);
    assert.match(last?.who ?? "", /^.+@.+$/);
    assert.equal(last?.details?.tenant, "acme");
    assert.equal(last?.details?.inserted, 254);
    assert.deepEqual((await verifyJournal(folder)).findings, []);
  });

  test("has a backup that failed before it began, and no dry run of a restore", async () => {
    const own = join(folder, "own");
    await mkdir(own);
    const down = { url: "postgres://u:p@127.0.0.1:1/db", env: { BACKUP_DIR: own } };
    assert.equal((await pgtenant(["backup"], down)).code, 7);
    const keyless = { url: database.url, env: { BACKUP_DIR: own, BACKUP_ENCRYPT: "true" } };
    const { code } = await pgtenant(["backup"], keyless);
    assert.ok(code !== 0 && code !== null);
    assert.equal((await run(["backup"], own)).code, 0);
    assert.equal((await run(["restore", "latest", "--dry-run"], own)).code, 0);
    const records = await Array.fromAsync(readJournal(own));
    assert.deepEqual(
      records.map(({ operation, event, exitCode }) => [operation, event, exitCode]),
      [
        ["backup", "started", undefined],
        ["backup", "failed", 7],
        ["backup", "started", undefined],
        ["backup", "failed", code],
        ["backup", "started", undefined],
        ["backup", "done", 0],
      ],
    );
    assert.equal(records[1]?.database, "db");
  });

  test("is not begun in a folder that does not exist", async () => {
    const missing = join(folder, "missing");
    const { code, stderr } = await run(["export", "globex", "-o", "-"], missing);
    assert.equal(code, 0, stderr);
    assert.ok(!(await readdir(folder)).includes("missing"));
    const down = { url: "postgres://u:p@127.0.0.1:1/db", env: { BACKUP_DIR: missing } };
    assert.equal((await pgtenant(["restore", "latest"], down)).code, 2);
    assert.ok(!(await readdir(folder)).includes("missing"));
  });
});
