import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { assertFailure } from "../harness/assert-failure.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { databaseDigest } from "../harness/database-digest.ts";
import { type Pooler, poolerMissing, startPooler } from "../harness/pooler.ts";
import { databaseAt, dropDatabases } from "../harness/server-databases.ts";
import { withClient } from "../harness/whole-digest.ts";

suite("PgBouncer in between", { skip: poolerMissing() ?? false }, () => {
  let database: TestDatabase;
  let folder: string;
  const poolers: Pooler[] = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("pooler", "n-kudo", { settings: { "seed.big": "off" } });
  });
  after(async () => {
    for (const pooler of poolers) await pooler.stop();
    await dropDatabases(`${database.name}_into`);
    await database.drop();
    await rm(folder, { recursive: true });
  });

  async function throughPooler(mode: "session" | "transaction", known: string): Promise<string> {
    const pooler = await startPooler(database.url, mode, known);
    poolers.push(pooler);
    return pooler.through(database.url);
  }

  const run = (url: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    pgtenant(args, { url, env: { BACKUP_DIR: join(folder, "backups"), ...env } });

  test("is refused, since it may share sessions, and gets none of our settings: exit 7", async () => {
    const url = await throughPooler("transaction", database.name);
    const bundle = join(folder, "acme.jsonl");
    for (const args of [["export", "acme", "-o", bundle], ["backup"]]) {
      const direct = await run(database.url, args);
      assert.equal(direct.code, 0, direct.stderr);
    }
    const settings = `SELECT name, setting FROM pg_settings WHERE name IN ('row_security', 'TimeZone', 'statement_timeout', 'search_path') ORDER BY 1`;
    const untouched = await withClient(database.url, (client) => client.query(settings));
    for (const args of [
      ["export", "acme", "-o", join(folder, "pooled.jsonl")],
      ["export", "--all"],
      ["import", bundle, "--yes"],
      ["diff", bundle],
      ["backup"],
      ["restore", "latest", "-f"],
      ["doctor"],
    ]) {
      assertFailure(await run(url, args), {
        code: 7,
        message: /a connection pooler such as PgBouncer stands between/,
        hint: /Name the server itself in DATABASE_URL/,
      });
      // The session that the command had is whoever's comes next.
      const next = await withClient(url, (client) => client.query(settings));
      assert.deepEqual(next.rows, untouched.rows, args[0]);
    }
  });

  test("that is known to share no sessions will do, for a restore too", async () => {
    const url = await throughPooler("session", "*");
    const env = { PGTENANT_POOLER: "session" };
    const before = await databaseDigest(database);
    const bundle = join(folder, "session.jsonl");
    const into = `${database.name}_into`;
    for (const args of [
      ["export", "acme", "-o", bundle],
      ["import", bundle, "--yes", "--keep-in-flight"],
      ["backup"],
      ["restore", "latest", "--into", into],
    ]) {
      const { code, stderr } = await run(url, args, env);
      assert.equal(code, 0, `${args[0]}\n${stderr}`);
    }
    const doctor = await run(url, ["doctor"], env);
    assert.match(doctor.stdout.toString(), /warning +a connection pooler stands between us/);
    assert.deepEqual(await databaseDigest(database), before);
    const restored = databaseAt(into);
    assert.deepEqual(await databaseDigest(restored), before);
    await restored.end();
  });
});
