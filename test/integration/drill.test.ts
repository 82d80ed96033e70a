import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { type BackupManifest, manifestText, parseManifest } from "../../src/backup/manifest.ts";
import { withTargetLock } from "../../src/backup/target-lock.ts";
import { checkDocument } from "../../src/bundle/shipped-schemas.ts";
import type { DrillCheckName, DrillReport } from "../../src/service/drill/drill-report.ts";
import { drillDatabaseName, drillLockName } from "../../src/service/drill/scratch.ts";
import { openLocalStore } from "../../src/storage/local-store.ts";
import { assertFailure } from "../harness/assert-failure.ts";
import { type CommandResult, pgtenant, spawnPgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { databasesLike, dropDatabases, onServer } from "../harness/server-databases.ts";
import { makeBackup } from "../harness/whole-database.ts";
import { wholeDigest } from "../harness/whole-digest.ts";

const execute = promisify(execFile);
const passphrase = "a passphrase that no report may show";
const small = { settings: { "seed.big": "off" } };

type Document = DrillReport & { readonly files: { readonly json: string; readonly page: string } };

suite("drill", () => {
  let folder: string;
  let live: TestDatabase;
  let digest: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    live = await createDatabase("drill", "n-kudo", small);
    digest = await wholeDigest(live.url);
  });
  after(async () => {
    await dropDatabases(...(await scratches()));
    await live.drop();
    await rm(folder, { recursive: true });
  });

  const environment = (dir: string) => ({
    BACKUP_DIR: join(folder, dir),
    BACKUP_ENCRYPTION_KEY: passphrase,
  });

  /** The databases that drills have made, loaded or being loaded. */
  const scratches = (database = live.name) =>
    databasesLike(drillDatabaseName(database, new Date(0)).slice(0, -"19700101_000000".length));

  const drill = (
    dir: string,
    args: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
    url = live.url,
  ): Promise<CommandResult> =>
    pgtenant(["drill", "--json", ...args], { url, env: { ...environment(dir), ...env } });

  /** The report that a drill prints; it is the one that it has written, and it is valid. */
  async function reportOf(result: CommandResult, exitCode: number): Promise<Document> {
    assert.equal(result.code, exitCode, result.stderr);
    const document = JSON.parse(result.stdout.toString()) as Document;
    const { files, ...report } = document;
    assert.deepEqual(JSON.parse(await readFile(files.json, "utf8")), report);
    assert.deepEqual(checkDocument("drill-report", report).problems, []);
    assert.equal(report.exitCode, exitCode);
    assert.equal(report.passed, exitCode === 0);
    return document;
  }

  function checkOf({ checks }: DrillReport, name: DrillCheckName) {
    const found = checks.filter(({ check }) => check === name);
    assert.equal(found.length, 1, `${name} in ${checks.map(({ check }) => check)}`);
    return found[0] ?? assert.fail();
  }

  /** The first failure, which the operator is told of and finds in the report and the journal. */
  async function failureOf(
    result: CommandResult,
    exitCode: number,
    dir: string,
    database = live.name,
  ) {
    const report = await reportOf(result, exitCode);
    const failed = report.checks.filter(({ state }) => state === "failed");
    const [first] = failed;
    assert.ok(first !== undefined);
    assert.equal(report.problem, first.message);
    assert.match(first.hint ?? "", /\.$/);
    assert.match(result.stderr, /^pgtenant: the drill failed: /m);
    const journal = await readFile(join(folder, dir, "journal.jsonl"), "utf8");
    const last = JSON.parse(journal.trimEnd().split("\n").at(-1) ?? "");
    assert.equal(last.event, "failed");
    assert.equal(last.details.error.message, first.message);
    assert.deepEqual(await scratches(database), []);
    return { report, failed: failed.map(({ check }) => check), first };
  }

  async function backUpInto(dir: string, source: TestDatabase = live): Promise<BackupManifest> {
    const made = await makeBackup(source.url, [openLocalStore(join(folder, dir))]);
    return made.manifest;
  }

  /** Makes the manifest of a backup say something else, with a hash that holds. */
  async function rewrite(
    dir: string,
    change: (manifest: BackupManifest) => Partial<BackupManifest>,
  ): Promise<void> {
    const place = join(folder, dir);
    const name = (await readdir(place)).find((file) => file.endsWith(".manifest.json")) ?? "";
    const manifest = parseManifest(await readFile(join(place, name), "utf8"), name);
    await writeFile(join(place, name), manifestText({ ...manifest, ...change(manifest) }));
  }

  /** Starts a drill, and ends it as soon as its scratch database is there. */
  async function endWhileRestoring(
    restoring: () => Promise<readonly string[]>,
    signal: "SIGKILL" | "SIGTERM",
  ) {
    const child = spawnPgtenant(["drill", "--no-bundle"], {
      url: live.url,
      env: environment("good"),
    });
    child.stdin.end();
    child.stdout.resume();
    const stderr = text(child.stderr);
    const closed = once(child, "close");
    while ((await restoring()).length === 0 && child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    child.kill(signal);
    await closed;
    return { ended: { code: child.exitCode, stderr: await stderr } };
  }

  test("of a good backup and a bundle passes, touches nothing, and the status knows it", async () => {
    const env = environment("good");
    for (const args of [
      ["backup", "--encrypt", "--include", join(import.meta.dirname, "../../fixtures/n-kudo")],
      ["export", "acme"],
    ]) {
      const made = await pgtenant(args, { url: live.url, env });
      assert.equal(made.code, 0, made.stderr);
    }
    const report = await reportOf(await drill("good"), 0);
    const states = Object.fromEntries(report.checks.map(({ check, state }) => [check, state]));
    assert.deepEqual(states, {
      found: "passed",
      "off-site": "not-checked",
      server: "passed",
      read: "passed",
      space: "passed",
      restored: "passed",
      rows: "passed",
      "foreign-keys": "passed",
      chain: "passed",
      files: "passed",
      tenant: "passed",
      rto: "passed",
      cleared: "passed",
    });
    const [counts] = await live.query<{ keys: string; links: string; files: string }>(`
      SELECT (SELECT count(*) FROM pg_constraint WHERE contype = 'f') AS keys,
             (SELECT count(*) - 1 FROM audit_events) AS links`);
    assert.equal(checkOf(report, "foreign-keys").message, `${counts?.keys} foreign keys hold`);
    assert.match(checkOf(report, "chain").message, new RegExp(`^${counts?.links} link`));
    assert.match(
      checkOf(report, "tenant").message,
      /^tenant "acme" was deleted from the scratch database and came back from ".*tenant_acme_.*\.jsonl\.zst" .* each as in the bundle$/,
    );
    assert.equal(report.rto.kept, true);
    assert.ok((report.rto.seconds ?? 0) > 0.1 && (report.rto.seconds ?? 0) < report.seconds);
    assert.equal(report.rto.targetSeconds, 4 * 3600);
    assert.ok((report.rpo.seconds ?? 0) > 0);
    assert.deepEqual(
      report.checklist.map(({ state }) => state),
      ["passed", "passed", "passed", "passed", "not-checked", "by-hand", "by-hand"],
    );

    assert.equal(await wholeDigest(live.url), digest);
    assert.deepEqual(await scratches(), []);
    const page = await readFile(report.files.page, "utf8");
    assert.match(page, /^<!doctype html>/);
    assert.match(page, /all that was checked in it holds/);
    assert.doesNotMatch(page, /<script|https?:\/\//);
    for (const text of [page, JSON.stringify(report)]) assert.ok(!text.includes(passphrase));
    const status = await pgtenant(["status", "--json"], { url: live.url, env });
    const { promise, rto, backups } = JSON.parse(status.stdout.toString());
    assert.equal(promise.state, "kept");
    assert.equal(rto.seconds, report.rto.seconds);
    assert.equal(backups[0].proof.kind, "drill");
  });

  test("on a server of its own needs no other one, and is gone afterwards", async () => {
    const env = {
      TMPDIR: await mkdtemp(join(tmpdir(), "pgtenant-test-")),
      // Of the live server: its own speaks no TLS.
      PGSSLMODE: "require",
    };
    // The server's own account has to enter it.
    await chmod(env.TMPDIR, 0o711);
    // Nobody listens there.
    const url = new URL(live.url);
    url.port = "1";
    let configuration = "";
    const looking = setInterval(async () => {
      const names = await readdir(env.TMPDIR, { recursive: true }).catch(() => []);
      const name = names.find((one) => one.endsWith("/postgresql.conf")) ?? "none";
      const seen = await readFile(join(env.TMPDIR, name), "utf8").catch(() => "");
      if (/^listen_addresses/m.test(seen)) configuration = seen;
    }, 50);
    const result = await drill("good", ["--embedded", "--no-bundle"], env, url.href);
    clearInterval(looking);
    const report = await reportOf(result, 0);
    // What does not wait for the disk says nothing of a restore in earnest.
    for (const setting of ["fsync", "synchronous_commit", "full_page_writes"]) {
      assert.match(configuration, new RegExp(`^${setting} = 'on'$`, "m"));
    }
    assert.equal(report.scratch.kind, "embedded");
    assert.match(checkOf(report, "cleared").message, /^the server was ended, and .* is gone$/);
    assert.equal(checkOf(report, "tenant").state, "not-checked");
    assert.deepEqual(await readdir(env.TMPDIR), []);
    await rm(env.TMPDIR, { recursive: true });
  });

  test("fails by name where the backup lacks a table", async () => {
    const before = await backUpInto("table 1");
    const other = await createDatabase("drill other", "n-kudo", small);
    try {
      await other.query("DROP TABLE vxlan_tunnels CASCADE");
      await backUpInto("table", other);
    } finally {
      await other.drop();
    }
    await rewrite("table", () => ({ tables: before.tables, database: live.name }));
    const { first, failed } = await failureOf(await drill("table"), 3, "table");
    assert.deepEqual(failed, ["rows"]);
    assert.match(first.message, /in 1 table: public\.vxlan_tunnels: no table, .* says \d+$/);
    const listed = await pgtenant(["list", "--json"], { url: live.url, env: environment("table") });
    assert.match(listed.stdout.toString(), /vxlan_tunnels/, "the list does not know of it");
  });

  test("fails by name where a table has one row less", async () => {
    const { tables } = await backUpInto("row");
    const more = tables?.map((one) =>
      one.table === "public.sites" ? { ...one, rows: one.rows + 1 } : one,
    );
    await rewrite("row", () => ({ tables: more ?? null }));
    const { first, failed } = await failureOf(await drill("row"), 3, "row");
    assert.deepEqual(failed, ["rows"]);
    assert.match(first.message, /public\.sites: (\d+), and the manifest says (\d+)$/);
  });

  test("fails by name where a link of the audit chain is broken, and checks the rest", async () => {
    const other = await createDatabase("drill chain", "n-kudo", small);
    try {
      const [event] = await other.query<{ id: string }>(
        "UPDATE audit_events SET prev_hash = repeat('f', 64) WHERE id = (SELECT max(id) - 3 FROM audit_events) RETURNING id",
      );
      await backUpInto("chain", other);
      const result = await drill("chain", [], {}, other.url);
      const { first, failed, report } = await failureOf(result, 3, "chain", other.name);
      assert.deepEqual(failed, ["chain"]);
      assert.match(first.message, /^1 row\(s\) of public\.audit_events do not link/);
      assert.ok(first.message.endsWith(`; the first is id ${event?.id}`), first.message);
      assert.equal(checkOf(report, "rto").state, "passed");
      const [item] = report.checklist.filter(({ item }) => item.includes("integrity"));
      assert.equal(item?.state, "failed");
      assert.equal(item?.why, first.message);
    } finally {
      await other.drop();
    }
  });

  test("fails by name where rows refer to nothing, also where a key is NOT VALID it is noted", async () => {
    const other = await createDatabase("drill keys", "empty");
    try {
      await other.query(`
        CREATE TABLE parents (a int, b text COLLATE "C", PRIMARY KEY (a, b));
        CREATE TABLE children (id int PRIMARY KEY, a int, b text,
          FOREIGN KEY (a, b) REFERENCES parents);
        CREATE TABLE loose (id int PRIMARY KEY, child int);
        INSERT INTO parents VALUES (1, 'x');
        INSERT INTO children VALUES (1, 1, 'x'), (2, NULL, 'y');
        INSERT INTO loose VALUES (1, 1), (2, 77);
        ALTER TABLE loose ADD CONSTRAINT loose_child FOREIGN KEY (child) REFERENCES children NOT VALID`);
      await backUpInto("keys", other);
      const report = await reportOf(await drill("keys", [], {}, other.url), 0);
      const keys = checkOf(report, "foreign-keys");
      assert.equal(keys.message, "2 foreign keys hold");
      assert.match(keys.details[0] ?? "", /^public\.loose \(child\): 1 row\(s\) .* NOT VALID/);
      const chain = checkOf(report, "chain");
      assert.equal(chain.state, "not-checked");
      assert.match(chain.message, /^the profile does not fit: /);

      await other.query("SET session_replication_role = replica; DELETE FROM parents");
      await rm(join(folder, "keys"), { recursive: true });
      await backUpInto("keys", other);
      const broken = await drill("keys", [], {}, other.url);
      const { first, failed } = await failureOf(broken, 7, "keys", other.name);
      assert.deepEqual(failed, ["restored"]);
      assert.match(first.message, /table "children" violates foreign key constraint/);
    } finally {
      await other.drop();
    }
  });

  test("takes roles away again that its restore has made, also when it fails", async () => {
    const role = `drilled_${live.name}`;
    const other = await createDatabase("drill roles", "empty");
    try {
      await other.query(`
        CREATE ROLE ${role};
        CREATE TABLE things (id int); ALTER TABLE things OWNER TO ${role}`);
      await backUpInto("roles", other);
      await other.query(`DROP TABLE things; DROP ROLE ${role}`);
      const roles = () => onServer("SELECT FROM pg_roles WHERE rolname = $1", [role]);
      await reportOf(await drill("roles", [], {}, other.url), 0);
      assert.equal((await roles()).length, 0);
      await rewrite("roles", () => ({ tables: [{ table: "public.things", rows: 1 }] }));
      const result = await drill("roles", [], {}, other.url);
      const { failed } = await failureOf(result, 3, "roles", other.name);
      assert.deepEqual(failed, ["rows"]);
      assert.equal((await roles()).length, 0);
    } finally {
      await other.drop();
    }
  });

  test("fails by name with a wrong key", async () => {
    const wrong = { BACKUP_ENCRYPTION_KEY: "another passphrase" };
    const { first, failed } = await failureOf(await drill("good", [], wrong), 6, "good");
    assert.deepEqual(failed, ["read", "files"]);
    assert.match(first.message, /backup_\d+_\d+\.sql\.gz\.enc/);
  });

  test("fails by name where the disk is too small, before it is full", async () => {
    await backUpInto("space");
    await rewrite("space", ({ source }) => ({ source: { ...source, databaseBytes: 1e15 } }));
    const { first, failed } = await failureOf(await drill("space"), 8, "space");
    assert.deepEqual(failed, ["space"]);
    assert.match(
      first.message,
      /^the disk is too small: .* free at ".*", .* takes about 1200\.0 TB/,
    );
  });

  test("on a disk that is too small in truth: exit 8", async (context) => {
    const disk = await mkdtemp(join(tmpdir(), "pgtenant-disk-"));
    const other = await createDatabase("drill disk", "empty");
    try {
      await execute("mount", ["-t", "tmpfs", "-o", "size=90m", "tmpfs", disk]);
    } catch (error) {
      await rm(disk, { recursive: true });
      await other.drop();
      context.skip(`no tmpfs can be mounted here: ${String(error).split("\n").at(-2)}`);
      return;
    }
    try {
      await execute("chmod", ["1777", disk]);
      await other.query(
        "CREATE TABLE filling AS SELECT g, repeat('x', 500) AS v FROM generate_series(1, 80000) g",
      );
      await backUpInto("disk", other);
      const args = ["--embedded", "--no-bundle"];
      const result = await drill("disk", args, { TMPDIR: disk }, other.url);
      const { first } = await failureOf(result, 8, "disk", other.name);
      assert.match(first.message, /^the disk is too small: /);
      assert.deepEqual(await readdir(disk), []);
    } finally {
      await execute("umount", [disk]);
      await rm(disk, { recursive: true });
      await other.drop();
    }
  });

  test("fails where there is no backup, and where the bundle is damaged", async () => {
    const none = await failureOf(await drill("none"), 2, "none");
    assert.deepEqual(none.failed, ["found"]);
    const tenants = join(folder, "good", "tenants", "acme");
    const [name = ""] = await readdir(tenants);
    const path = join(tenants, name);
    const bytes = await readFile(path);
    await writeFile(path, bytes.subarray(0, bytes.length - 100));
    try {
      const { failed, first } = await failureOf(await drill("good"), 3, "good");
      assert.deepEqual(failed, ["tenant"]);
      assert.match(first.message, new RegExp(name));
    } finally {
      await writeFile(path, bytes);
    }
  });

  test("misses its target: exit 9, with the figure", async () => {
    const slow = { BACKUP_RTO_HOURS: "0.0001" };
    const { failed, first } = await failureOf(
      await drill("good", ["--no-bundle"], slow),
      9,
      "good",
    );
    assert.deepEqual(failed, ["rto"]);
    assert.match(first.message, /^the restore took .* s, and 0\.4 s are promised$/);
  });

  test("that is killed leaves the live database alone, and the next one clears up its own", async () => {
    const at = new Date("2026-01-01T00:00:00Z");
    const bystanders = [
      `${live.name}_drill_x`,
      `${live.name}_drill_20260101_00000`,
      `${live.name}_dril_20260101_000000`,
      drillDatabaseName(`${live.name}2`, at),
    ];
    for (const name of bystanders) await onServer(`CREATE DATABASE "${name}"`);
    const restoring = async () => (await scratches()).filter((name) => !bystanders.includes(name));
    try {
      const { ended } = await endWhileRestoring(restoring, "SIGKILL");
      assert.equal(ended.code, null);
      const [left] = await restoring();
      assert.match(left ?? "", /_restoring_|_drill_/, "it was killed too late");
      assert.equal(await wholeDigest(live.url), digest);

      const report = await reportOf(await drill("good", ["--no-bundle"]), 0);
      assert.ok(
        report.notes.includes(`database "${left}", left by a drill that was ended, was dropped`),
        report.notes.join("\n"),
      );
      assert.deepEqual(await restoring(), []);
      for (const name of bystanders) assert.deepEqual(await databasesLike(name), [name]);
    } finally {
      await dropDatabases(...bystanders);
    }
  });

  test("that is interrupted drops its scratch database, and reports nothing: exit 130", async () => {
    const reports = () => readdir(join(folder, "good", "drills"));
    const known = await reports();
    const { ended } = await endWhileRestoring(scratches, "SIGTERM");
    assert.equal(ended.code, 130, ended.stderr);
    assert.match(
      ended.stderr,
      /the live database was not touched, and the scratch database is dropped/,
    );
    assert.deepEqual(await scratches(), []);
    assert.deepEqual(await reports(), known);
    const journal = await readFile(join(folder, "good", "journal.jsonl"), "utf8");
    const { operation, event, exitCode } = JSON.parse(journal.trimEnd().split("\n").at(-1) ?? "");
    assert.deepEqual([operation, event, exitCode], ["drill", "interrupted", 130]);
    assert.equal(await wholeDigest(live.url), digest);
  });

  test("is not run twice at once, and the second one reports nothing", async () => {
    const reports = () => readdir(join(folder, "good", "drills"));
    const known = await reports();
    const connection = { databaseUrl: live.url, applicationName: "pgtenant drill" };
    const result = await withTargetLock(connection, drillLockName(live.name), "drill", () =>
      pgtenant(["drill", "--no-bundle"], { url: live.url, env: environment("good") }),
    );
    const { stdout, ...rest } = result;
    assert.match(stdout.toString(), /^passed {7}a backup is there/);
    assertFailure(
      { ...rest, stdout: Buffer.alloc(0) },
      { code: 5, message: /another run .*drill of .*pgtenant drill/, hint: /Wait until/ },
    );
    assert.deepEqual(await reports(), known);
  });

  test("two ways to name a bundle are refused", async () => {
    const result = await pgtenant(["drill", "--bundle", "x", "--no-bundle"], {
      url: live.url,
      env: environment("good"),
    });
    assertFailure(result, { code: 2, message: /both given/, hint: /one of them/ });
  });
});
