import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { startThrowawayServer } from "../../src/postgres/throwaway-server.ts";
import { assertFailure } from "../harness/assert-failure.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { withSmallDisk } from "../harness/small-disk.ts";

const run = promisify(execFile);

suite("backup, where it cannot be made", () => {
  let database: TestDatabase;
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("no space", "empty");
    await database.query(`
      CREATE TABLE filling AS
        SELECT string_agg(md5(random()::text), '') AS v FROM generate_series(1, 2000) g GROUP BY g % 100`);
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await database.drop();
  });

  test("a full disk: exit 8 with the path, the older backup is good, and prune makes room", async (context) => {
    await withSmallDisk(context, 400, async (disk) => {
      const options = { url: database.url, env: { BACKUP_DIR: disk } };
      const manifests = async () =>
        (await readdir(disk)).filter((name) => name.endsWith(".manifest.json"));
      const partial = async () =>
        (await readdir(disk)).filter((name) => /partial|pending|\.lock/.test(name));
      for (let i = 0; i < 2; i += 1) {
        const { code, stderr } = await pgtenant(["backup"], options);
        assert.equal(code, 0, stderr);
      }
      const good = await manifests();
      await database.query(`
        INSERT INTO filling
          SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 40000) g GROUP BY g % 100`);
      assertFailure(await pgtenant(["backup"], options), {
        code: 8,
        message: new RegExp(`the disk is full: "${disk}/backup_.*" could not be written`),
        hint: /Free some space.*partial file was removed/,
      });
      assert.deepEqual(await manifests(), good);
      assert.deepEqual(await partial(), []);
      const verified = await pgtenant(["verify", "latest"], options);
      assert.equal(verified.code, 0, verified.stderr);

      await run("sh", ["-c", 'cat /dev/zero > "$1" 2>/dev/null; true', "fill", join(disk, "full")]);
      assertFailure(await pgtenant(["backup"], options), {
        code: 8,
        message: new RegExp(`the disk is full: "${disk}/`),
        hint: /Free some space/,
      });
      assert.deepEqual(await manifests(), good);
      const pruned = await pgtenant(["prune", "--keep-last", "1", "--dry-run"], options);
      assert.equal(pruned.code, 0, pruned.stderr);
      const pruning = await pgtenant(["prune", "--keep-last", "1"], options);
      assert.equal(pruning.code, 0, pruning.stderr);
      assert.equal((await manifests()).length, 1);
    });
  });

  test("a full place for temporary files: exit 8, and how to name another one", async (context) => {
    await withSmallDisk(context, 200, async (disk) => {
      for (const format of ["custom", "directory"]) {
        const env = { BACKUP_DIR: join(folder, format) };
        const made = await pgtenant(["backup", "--format", format], { url: database.url, env });
        assert.equal(made.code, 0, made.stderr);
        const args = ["restore", "latest", "--into", `${database.name}_copy`, "--temp-dir", disk];
        assertFailure(await pgtenant(args, { url: database.url, env }), {
          code: 8,
          message: new RegExp(`the disk is full: "${disk}/pgtenant-temp-`),
          hint: /--temp-dir or BACKUP_TEMP_DIR/,
        });
        assert.deepEqual(await readdir(disk), []);
      }
    });
  });

  test("a pg_dump older than the server: exit 7 with what to install", async (context) => {
    const server = await startThrowawayServer({ source: "embedded", path: process.env.PATH }).catch(
      (error: unknown) => String(error),
    );
    if (typeof server === "string") {
      context.skip(`there is no embedded server here: ${server}`);
      return;
    }
    try {
      const env = { BACKUP_DIR: join(folder, "newer") };
      const result = await pgtenant(["backup"], { url: server.url, env });
      if (result.code === 0) {
        context.skip(`this machine has a pg_dump for PostgreSQL ${server.version}`);
        return;
      }
      assertFailure(result, {
        code: 7,
        message: /pg_dump .* is older than the server, PostgreSQL \d+, and cannot dump it/,
        hint: /Install PostgreSQL's client programs of version \d+ .*PGTENANT_PG_BIN/,
      });
      assert.deepEqual(await readdir(env.BACKUP_DIR), ["journal.jsonl"]);
    } finally {
      await server.dispose();
    }
  });
});
