import assert from "node:assert/strict";
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, suite, test } from "node:test";
import { backupIdAt } from "../../src/backup/backup-name.ts";
import { withFolderLock } from "../../src/backup/folder-lock.ts";
import type { BackupManifest } from "../../src/backup/manifest.ts";
import { withTargetLock } from "../../src/backup/target-lock.ts";
import { assertFailure, errorDocument } from "../harness/assert-failure.ts";
import { putBackup } from "../harness/backup-entries.ts";
import { type CommandResult, pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { memoryStore } from "../harness/memory-store.ts";

const dayMs = 24 * 3_600_000;

suite("list, prune and history", () => {
  let database: TestDatabase;
  let root: string;
  let folder: string;
  let count = 0;
  /** When the test began: backups of one test are whole days apart. */
  let begun: number;

  before(async () => {
    database = await createDatabase("prune", "empty");
    root = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  beforeEach(async () => {
    count += 1;
    begun = Date.now();
    folder = join(root, `backups-${count}`);
    await mkdir(folder, { mode: 0o700 });
  });
  after(async () => {
    await rm(root, { recursive: true });
    await database.drop();
  });

  const idOf = (days: number) => backupIdAt(new Date(begun - days * dayMs));

  /** Writes a backup of so many days ago into the folder. */
  async function backupOf(days: number, changes: Partial<BackupManifest> = {}): Promise<string> {
    const id = idOf(days);
    const store = memoryStore();
    putBackup(store, id, { database: database.name, ...changes });
    for (const [key, bytes] of store.objects) await writeFile(join(folder, key), bytes);
    return id;
  }

  const run = (...args: readonly string[]): Promise<CommandResult> =>
    pgtenant(args, { url: database.url, env: { BACKUP_DIR: folder } });

  async function json(...args: readonly string[]) {
    const result = await run(...args, "--json");
    assert.equal(result.code, 0, result.stderr);
    assert.match(result.stdout.toString(), /^\{.*\}\n$/);
    return JSON.parse(result.stdout.toString());
  }

  const files = async () =>
    (await readdir(folder)).filter((name) => name.startsWith("backup_")).sort();

  test("list shows good backups, and below what else there is and what it is", async () => {
    const [recent, old] = [await backupOf(0.5), await backupOf(40)];
    const other = await backupOf(3, { database: "another" });
    const damaged = await backupOf(5);
    await rm(join(folder, `${damaged}.sql.gz`));
    await writeFile(join(folder, "backup_20240101_120000.sql.gz"), "the guide's own");
    const result = await run("list");
    assert.equal(result.code, 0, result.stderr);
    const [good = "", rest = ""] = result.stdout.toString().split("\n\n");
    const goodLines = good.split("\n");
    assert.match(goodLines[0] ?? "", /^backup +age +size +layers +verified +where$/);
    assert.match(
      goodLines[1] ?? "",
      new RegExp(`^${recent} +12 h 0 min .* plain, gzip +never +${folder}$`),
    );
    assert.match(goodLines[2] ?? "", new RegExp(`^${old} +40 days `));
    assert.equal(goodLines.length, 3);
    assert.match(rest, new RegExp(`${other} .* of database "another" `));
    assert.match(
      rest,
      new RegExp(`${damaged} .* damaged: the file "${damaged}\\.sql\\.gz" is missing`),
    );
    assert.match(
      rest,
      /backup_20240101_120000\.sql\.gz .* not written by pgtenant: no manifest names it/,
    );
    const list = await json("list");
    assert.deepEqual(
      list.backups.map((backup: { id: string }) => backup.id),
      [recent, old],
    );
    assert.equal(list.others.length, 3);
    assert.equal(list.backups[0].copies[0].place, folder);
  });

  test("list of a missing folder says that there is no backup", async () => {
    const dir = join(folder, "none");
    const result = await run("list", "-d", dir);
    assert.equal(result.code, 0);
    assert.equal(
      result.stdout.toString(),
      `there is no good backup of database "${database.name}" in ${dir}\n`,
    );
    assert.deepEqual(await readdir(folder), []);
  });

  test("prune -k removes what is older, names it, and writes it down", async () => {
    const [recent, old] = [await backupOf(0), await backupOf(40)];
    await writeFile(join(folder, "backup_20240101_120000.sql.gz"), "the guide's own");
    const before = await files();
    const dry = await run("prune", "-k", "30", "--dry-run");
    assert.equal(dry.code, 0, dry.stderr);
    const text = dry.stdout.toString();
    assert.match(
      text,
      new RegExp(`keep +${recent} .*the newest good backup; not older than 30 days`),
    );
    assert.match(text, new RegExp(`remove +${old} .*40 days older than the newest good backup`));
    assert.match(text, /keep +backup_20240101_120000\.sql\.gz .*not written by pgtenant/);
    assert.match(text, /would go: 1 backup, /);
    assert.deepEqual(await files(), before);
    assert.deepEqual(await readdir(folder), before, "a dry run leaves no trace");

    const result = await run("prune", "-k", "30");
    assert.equal(result.code, 0, result.stderr);
    assert.match(result.stdout.toString(), new RegExp(`${old} \\(.*\\): 40 days older`));
    assert.deepEqual(
      await files(),
      before.filter((name) => !name.startsWith(old)),
    );
    const { records } = await json("history");
    assert.deepEqual(
      records.map(({ event, operation }: Record<string, string>) => [operation, event]),
      [
        ["prune", "started"],
        ["prune", "done"],
      ],
    );
    assert.deepEqual(records[1].details.places[0].removed, [old]);
    assert.ok(!(await readdir(folder)).includes(".pgtenant.lock"));
  });

  test("prune keeps by number what the flags say, for programs too", async () => {
    const ids = [await backupOf(0), await backupOf(1), await backupOf(2), await backupOf(3)];
    const result = await json("prune", "--keep-last", "2");
    assert.deepEqual(
      result.places[0].removed.map((one: { id: string }) => one.id).sort(),
      ids.slice(2).sort(),
    );
    assert.deepEqual(result.policy, { keepLast: 2 });
    assert.equal(result.places[0].decisions.length, 4);
    assert.equal((await files()).length, 6);
  });

  test("prune never acts on a policy that is empty, zero or no number: exit 2", async () => {
    await backupOf(0);
    await backupOf(100);
    const before = await files();
    assertFailure(await run("prune", "-k", "0"), {
      code: 2,
      message: /--keep-days "0" is not a whole number of at least 1/,
      hint: /./,
    });
    const fromEnvironment = await pgtenant(["prune"], {
      url: database.url,
      env: { BACKUP_DIR: folder, BACKUP_RETENTION_DAYS: "" },
    });
    assertFailure(fromEnvironment, {
      code: 2,
      message: /BACKUP_RETENTION_DAYS is empty/,
      hint: /./,
    });
    assert.deepEqual(await files(), before);
  });

  test("prune of a folder that is not there is an error and makes none: exit 2", async () => {
    const missing = join(folder, "missing");
    assertFailure(await run("prune", "-d", missing), {
      code: 2,
      message: /there is no folder ".*missing"$/,
      hint: /-d or BACKUP_DIR/,
    });
    assert.deepEqual(await readdir(folder), []);
  });

  test("prune waits for no other run: exit 5, named; a dry run is no run", async () => {
    await backupOf(0);
    await withFolderLock(folder, { operation: "backup" }, async () => {
      assertFailure(await run("prune"), {
        code: 5,
        message: /another run is at work in ".*": backup of .*@.* \(process \d+/,
        hint: /Wait until it has finished/,
      });
      assert.equal((await run("prune", "--dry-run")).code, 0);
    });
    const connection = { databaseUrl: database.url, applicationName: "pgtenant" };
    await withTargetLock(connection, database.name, "restore", async () => {
      const refused = await run("prune", "--json");
      assert.equal(refused.code, 5);
      assert.equal(errorDocument(refused).code, "database-locked");
    });
  });

  test("prune needs no server", async () => {
    await backupOf(0);
    const old = await backupOf(40);
    const result = await pgtenant(["prune"], {
      url: `postgres://localhost:1/${database.name}`,
      env: { BACKUP_DIR: folder },
    });
    assert.equal(result.code, 0, result.stderr);
    assert.match(result.stderr, /^warning: the database "\w+" could not be locked/);
    assert.ok((await files()).every((name) => !name.startsWith(old)));
  });

  test("prune --pin keeps a backup with its reason, --unpin gives it back", async () => {
    await backupOf(0);
    const old = await backupOf(40);
    const pinned = await run("prune", "--pin", old, "--reason", "before the migration");
    assert.equal(pinned.code, 0, pinned.stderr);
    assert.equal(
      pinned.stdout.toString(),
      `${old} is pinned in ${folder}: retention leaves it alone\n`,
    );
    assert.match((await run("list")).stdout.toString(), /\(pinned: before the migration\)/);
    assert.deepEqual((await json("prune")).places[0].removed, []);
    assert.equal((await run("prune", "--unpin", old)).code, 0);
    assert.equal((await json("prune")).places[0].removed[0].id, old);
    for (const [args, message] of [
      [["--pin", old], /there is no backup/],
      [["--pin", old, "-k", "3"], /--pin and --keep-days are both given/],
    ] as const) {
      assertFailure(await run("prune", ...args), { code: 2, message, hint: /./ });
    }
  });

  test("history shows operations with how they ended, and verifies itself", async () => {
    await backupOf(0);
    assert.equal(
      (await run("history")).stdout.toString(),
      `no such operation stands in the journal of ${folder}\n`,
    );
    assertFailure(await run("history", "--verify"), {
      code: 2,
      message: /there is no journal/,
      hint: /./,
    });
    await run("prune");
    await run("prune", "--pin", idOf(300));
    const shown = (await run("history")).stdout.toString().split("\n");
    assert.match(shown[0] ?? "", /^started \(UTC\) +operation +result +took +by +what$/);
    assert.match(shown[1] ?? "", /^20\S+ \S+ +pin +failed \(exit 2\) .*there is no backup/);
    assert.match(shown[2] ?? "", /^20\S+ \S+ +prune +done /);
    assert.equal((await run("history", "--limit", "1")).stdout.toString().split("\n").length, 3);
    const { records } = await json("history", "--operation", "prune");
    assert.equal(records.length, 2);
    assert.equal((await json("history", "--limit", "1")).records[0].operation, "pin");

    const verified = await run("history", "--verify");
    assert.equal(verified.code, 0, verified.stderr);
    assert.match(verified.stdout.toString(), /holds: 4 records, every hash and link fits/);
    const path = join(folder, "journal.jsonl");
    const journal = await readFile(path, "utf8");
    await appendFile(path, '{"seq":5');
    const torn = await run("history", "--verify");
    assert.equal(torn.code, 0);
    assert.match(torn.stderr, /^warning: line 5 was cut short, as by a crash/);
    await writeFile(path, journal.replace('"exitCode":2', '"exitCode":0'));
    const broken = await run("history", "--verify", "--json");
    const document = errorDocument(broken);
    assert.equal(broken.code, 3);
    assert.match(document.message, /was tampered with or damaged$/);
    assert.deepEqual(document.details, [
      "line 4 (record 4) was altered: its hash does not fit its text",
    ]);
  });

  test("history gives a journal of any length as one JSON object", async () => {
    await run("prune");
    const path = join(folder, "journal.jsonl");
    const [line = ""] = (await readFile(path, "utf8")).split("\n");
    await writeFile(path, `${line}\n`.repeat(20_000));
    const { records } = await json("history");
    assert.equal(records.length, 20_000);
    assert.deepEqual(records[19_999], JSON.parse(line));
  });
});
