import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, afterEach, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { DatabaseDigest } from "../../src/tenant/digest.ts";
import { spawnPgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { assertUnchanged, digestOf } from "../harness/digest.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

suite("a command that is interrupted half-way", () => {
  let database: TestDatabase;
  let folder: string;
  let bundle: Buffer;
  let digest: DatabaseDigest;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("interrupted", "n-kudo", { settings: { "seed.logs": "5000" } });
    bundle = (await exportBundle(database.url, "acme")).bytes;
    await database.query("DELETE FROM tenants WHERE slug = 'acme'");
    digest = await digestOf(database.url);
  });
  after(async () => {
    await assertUnchanged(database.url, digest);
    await rm(folder, { recursive: true });
    await database.drop();
  });

  let child: ReturnType<typeof spawnPgtenant> | undefined;
  afterEach(() => child?.kill("SIGKILL"));

  /** Starts a command whose output is read later, if at all. */
  function start(args: readonly string[]): ReturnType<typeof spawnPgtenant> {
    child = spawnPgtenant(args, { url: database.url });
    child.stdin.on("error", () => {}); // it may end without reading its input
    return child;
  }

  /** Waits until a query gives a row. */
  async function until(sql: string, values: readonly unknown[] = []): Promise<void> {
    const deadline = Date.now() + 30_000;
    while ((await database.query(sql, values)).length === 0) {
      assert.ok(Date.now() < deadline, `nothing within 30 s: ${sql}`);
      await sleep(5);
    }
  }

  const backendsGone = () =>
    until(`SELECT WHERE NOT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'pgtenant %')`);

  /** Sends the signal and asserts that the command ends as an interrupted one. */
  async function interrupt(
    child: ReturnType<typeof spawnPgtenant>,
    signal: "SIGINT" | "SIGTERM",
    meaning: RegExp,
  ): Promise<void> {
    assert.equal(child.exitCode, null, "the command was faster");
    const sent = performance.now();
    child.kill(signal);
    const [stderr] = await Promise.all([text(child.stderr), once(child, "exit")]);
    assert.equal(child.exitCode, 130, stderr);
    assert.match(stderr, meaning);
    assert.doesNotMatch(stderr, /^\s+at /m);
    assert.ok(performance.now() - sent < 30_000, "it took its time");
    await backendsGone();
  }

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    test(`${signal}: an export leaves no file, no partial one and no backend`, async () => {
      const target = join(folder, signal);
      const args = ["export", "globex", "-o", join(target, "globex.jsonl")];
      const child = start(args);
      child.stdout.resume();
      const deadline = Date.now() + 30_000;
      while (!(await readdir(target).catch(() => [])).some((name) => name.endsWith(".partial"))) {
        assert.ok(Date.now() < deadline && child.exitCode === null, "no partial file was seen");
        await sleep(2);
      }
      await interrupt(child, signal, /^pgtenant: interrupted: the partial file was removed$/m);
      assert.deepEqual(await readdir(target), []);
    });
  }

  test("an export into a pipe that nobody reads says that what was written is incomplete", async () => {
    const child = start(["export", "globex", "-o", "-"]);
    await once(child.stdout, "readable");
    await sleep(500);
    await interrupt(
      child,
      "SIGINT",
      /interrupted: what was written to the standard output is incomplete$/m,
    );
  });

  test("an import that waits for the rest of its bundle has written nothing", async () => {
    const child = start(["import", "-"]);
    child.stdout.resume();
    child.stdin.write(bundle.subarray(0, Math.floor(bundle.length * 0.9)));
    await until("SELECT FROM pg_class WHERE relpersistence = 't' /*temporary*/");
    await interrupt(child, "SIGINT", /^pgtenant: interrupted: nothing was written$/m);
    await assertUnchanged(database.url, digest);
  });

  test("an import in the middle of applying is rolled back, and its backend does not stay", async () => {
    const path = join(folder, "acme.jsonl");
    await writeFile(path, bundle);
    const other = await database.connect();
    await other.query("BEGIN; LOCK TABLE execution_logs IN SHARE MODE");
    const child = start(["import", path]);
    child.stdout.resume();
    await until(`SELECT FROM pg_stat_activity WHERE datname = current_database()
                  AND application_name = 'pgtenant import' AND wait_event_type = 'Lock'`);
    await interrupt(
      child,
      "SIGINT",
      /^pgtenant: interrupted: nothing was written, unless the transaction was already being committed; run the same command again/m,
    );
    await other.query("ROLLBACK");
    await assertUnchanged(database.url, digest);
  });

  test("verify and inspect end at once, although their input has not come", async () => {
    for (const command of ["verify", "inspect"]) {
      const child = start([command, "-"]);
      child.stdout.resume();
      // More than a pipe holds: once it is written, some of it has been read.
      await new Promise((resolve) => child.stdin.write(bundle.subarray(0, 1_000_000), resolve));
      await interrupt(child, "SIGINT", /^pgtenant: interrupted: /m);
    }
  });
});
