import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { AppError } from "../../src/errors.ts";
import { databaseError } from "../../src/postgres/database-errors.ts";
import { assertFailure } from "../harness/assert-failure.ts";
import { pgtenant } from "../harness/command.ts";
import { fixturesOf } from "../harness/database.ts";
import { type ServerPair, startServerPair } from "../harness/standby.ts";
import { readWholeBundle } from "../harness/tenant-bundle.ts";
import { wholeDigest, withClient } from "../harness/whole-digest.ts";

suite("a streaming standby", () => {
  let pair: ServerPair;
  let folder: string;
  let primary: string;
  let standby: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    pair = await startServerPair();
    primary = pair.primary.url.replace(/\/postgres$/, "/nkudo");
    standby = pair.standbyUrl("nkudo");
    await withClient(pair.primary.url, async (client) => {
      await client.query("CREATE DATABASE nkudo");
      await client.query("CREATE TABLE scratch AS SELECT generate_series(1, 100) AS n");
    });
    await withClient(primary, async (client) => {
      await client.query("SET seed.big = 'off'");
      for (const text of await fixturesOf("n-kudo")) await client.query(text);
    });
    await pair.caughtUp();
  });
  after(async () => {
    await pair.dispose();
    await rm(folder, { recursive: true });
  });

  const run = (args: readonly string[], url = standby) =>
    pgtenant(args, { url, env: { BACKUP_DIR: join(folder, "backups") } });

  async function succeeded(args: readonly string[], url = standby) {
    const result = await run([...args, "--json"], url);
    assert.equal(result.code, 0, `${args.join(" ")}\n${result.stderr}`);
    assert.doesNotMatch(result.stderr, /^warning: /m);
    return JSON.parse(result.stdout.toString());
  }

  async function refused(args: readonly string[], hint: RegExp) {
    const result = await run(args);
    assertFailure(result, { code: 7, message: /standby, which takes no writes/, hint });
  }

  test("exports the rows of its primary, and all tenants over several sessions", async () => {
    const [there, here] = [join(folder, "primary.jsonl"), join(folder, "standby.jsonl")];
    await succeeded(["export", "acme", "-o", there], primary);
    await succeeded(["export", "acme", "-o", here]);
    const [a, b] = await Promise.all(
      [there, here].map(async (path) => await readWholeBundle(await readFile(path))),
    );
    assert.deepEqual(b?.tables, a?.tables);
    const { set } = await succeeded(["export", "--all", "--jobs", "2"]);
    assert.deepEqual([set.complete, set.tenants], [true, 3]);
    await succeeded(["verify", set.manifest]);
  });

  for (const format of ["plain", "directory"]) {
    test(`is backed up with its rows counted: ${format}`, async () => {
      const { id } = await succeeded(["backup", "--format", format]);
      await succeeded(["verify", id]);
      const into = `from_${format}`;
      const { database } = await succeeded(["restore", id, "--into", into], primary);
      assert.equal(database.plan.backup.rows, 792);
      const restored = pair.primary.url.replace(/\/postgres$/, `/${into}`);
      assert.equal(await wholeDigest(restored), await wholeDigest(primary));
    });
  }

  test("is backed up without the rows of unlogged tables, which are in nobody's reach there", async () => {
    const on = (url: string) => url.replace(/\/postgres$/, "/unlogged");
    await withClient(pair.primary.url, (client) => client.query("CREATE DATABASE unlogged"));
    await withClient(on(pair.primary.url), async (client) => {
      await client.query("CREATE UNLOGGED TABLE cache AS SELECT generate_series(1, 10) AS n");
      await client.query("CREATE TABLE kept AS SELECT generate_series(1, 3) AS n");
    });
    await pair.caughtUp();
    const made = await run(["backup", "--json"], pair.standbyUrl("unlogged"));
    assert.equal(made.code, 0, made.stderr);
    assert.match(
      made.stderr,
      /^warning: .* unlogged tables, .* not in the backup: public\.cache$/m,
    );
    const { id } = JSON.parse(made.stdout.toString());
    const args = ["restore", id, "--into", "unlogged_copy"];
    const { database } = await succeeded(args, on(pair.primary.url));
    assert.deepEqual([database.tables, database.rows], [2, 3]);
  });

  test("takes no import, no comparison, no part, no restore and no drill: exit 7, at once", async () => {
    const bundle = join(folder, "standby.jsonl");
    const promote = /pg_promote\(\)/;
    await refused(["import", bundle, "--dry-run"], promote);
    await refused(["import", bundle, "--yes"], promote);
    await refused(["import", bundle, "--as-tenant", "another", "--yes"], promote);
    await refused(["diff", bundle], promote);
    await refused(["restore", "latest", "-f"], promote);
    await refused(["restore", "latest", "--in-place", "-f"], promote);
    await refused(["restore", "latest", "--into", "another"], promote);
    const drill = await run(["drill"]);
    assert.deepEqual([drill.code, /^hint: .*--embedded/m.test(drill.stderr)], [7, true]);
    const part = ["export", "acme", "-o", join(folder, "part.jsonl"), "--select", "site=x"];
    await refused(part, /whole tenant/);
    const doctor = await run(["doctor"]);
    assert.match(doctor.stdout.toString(), /warning +this server is a standby/);
  });

  test("a read that it cancels says what would help", async () => {
    const cancelled = await withClient(pair.standbyUrl("postgres"), async (client) => {
      await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
      await client.query("SELECT count(*) FROM scratch");
      const reading = client.query("SELECT pg_sleep(60)").catch((error: unknown) => error);
      await withClient(pair.primary.url, async (other) => {
        await other.query("DELETE FROM scratch");
        await other.query("VACUUM scratch");
      });
      return databaseError(await reading);
    });
    assert.ok(cancelled instanceof AppError, String(cancelled));
    assert.deepEqual([cancelled.code, cancelled.exitCode], ["standby-conflict", 7]);
    assert.match(cancelled.hint ?? "", /hot_standby_feedback/);
  });

  test("once it is promoted is like any other", async () => {
    await pair.promote();
    await withClient(standby, (client) => client.query("DELETE FROM tenants WHERE slug = 'acme'"));
    await succeeded(["import", join(folder, "standby.jsonl"), "--yes", "--keep-in-flight"]);
    assert.equal(await wholeDigest(standby), await wholeDigest(primary));
    await succeeded(["drill"]);
  });
});
