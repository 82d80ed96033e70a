import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
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

  test("is not begun in a folder that does not exist", async () => {
    const missing = join(folder, "missing");
    const { code, stderr } = await run(["export", "globex", "-o", "-"], missing);
    assert.equal(code, 0, stderr);
    assert.ok(!(await readdir(folder)).includes("missing"));
  });
});
