import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { withSession } from "../../src/postgres/session.ts";
import { requireEqual } from "../../src/tenant/demo.ts";
import { type DatabaseDigest, differences, digestDatabase } from "../../src/tenant/digest.ts";
import { pgtenant, spawnPgtenant } from "../harness/command.ts";
import { untilGone } from "../harness/command-lines.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";

suite("the demo", () => {
  /** The temporary folder of the command, so that what is left in it is the demo's. */
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    await chmod(folder, 0o711); // the server's account has to pass through
  });
  after(() => rm(folder, { recursive: true }));

  const env = () => {
    const { PGTENANT_PG_BIN } = process.env;
    return { TMPDIR: folder, ...(PGTENANT_PG_BIN === undefined ? {} : { PGTENANT_PG_BIN }) };
  };

  test("loses a tenant, gets it back, proves it, and leaves nothing: exit 0", async () => {
    const { code, stdout, stderr } = await pgtenant(["demo"], { env: env() });
    assert.equal(code, 0, stderr);
    const text = stdout.toString();
    const titles = text.split("\n").filter((line) => /^\d\. /.test(line));
    assert.deepEqual(
      titles.map((line) => line.replace(/ \([\d.]+ s\)$/, "")),
      [
        "1. a PostgreSQL of our own",
        "2. a control plane's database",
        "3. its tenants",
        "4. one tenant is exported",
        "5. the bundle is verified, without the database",
        "6. disaster: the tenant is deleted",
        "7. what an import would do",
        "8. the tenant is put back",
        "9. the whole database is compared with before",
      ],
    );
    const [, before, after] =
      /\n {3}before ([0-9a-f]{64}) .*\n {3}after {2}([0-9a-f]{64}) /.exec(text) ?? [];
    assert.ok(before !== undefined, text);
    assert.equal(after, before);
    assert.match(text, /\n {3}done in .*, committed: 25\d rows inserted, 6 rows linked again\n/);
    assert.match(text, /every row of every table and every sequence is as it was before/);
    assert.deepEqual(await readdir(folder), []);
    await untilGone((line) => line.includes(folder));
  });

  test("has one result for programs", async () => {
    const { code, stdout, stderr } = await pgtenant(["demo", "--json"], { env: env() });
    assert.equal(code, 0, stderr);
    const { equal, digest, steps } = JSON.parse(stdout.toString());
    assert.equal(equal, true);
    assert.deepEqual(
      steps.map(({ kind }: { kind: string }) => kind),
      ["server", "database", "tenants", "export", "verify", "delete", "plan", "import", "proof"],
    );
    const proof = steps.at(-1);
    assert.deepEqual([proof.before, proof.after], [digest, digest]);
    assert.ok(steps[5].lost.includes("public.sites"));
    assert.equal(steps[6].applied, false);
    assert.equal(steps[7].applied, true);
  });

  test("that is interrupted half-way leaves nothing: exit 130", async () => {
    const child = spawnPgtenant(["demo"], { env: env() });
    let stderr = "";
    child.stderr.on("data", (text) => {
      stderr += text;
    });
    for await (const text of child.stdout) {
      if (String(text).includes("2. ")) break;
    }
    child.kill("SIGINT");
    await new Promise((resolve) => child.once("exit", resolve));
    assert.equal(child.exitCode, 130, stderr);
    assert.match(
      stderr,
      /pgtenant: interrupted: the throwaway server and its folder are removed\n/,
    );
    assert.deepEqual(await readdir(folder), []);
    await untilGone((line) => line.includes(folder));
  });

  test("without a PostgreSQL says what to install: exit 7", async () => {
    const { code, stderr } = await pgtenant(["demo"], {
      env: { ...env(), PGTENANT_PG_BIN: folder },
    });
    assert.equal(code, 7);
    assert.match(
      stderr,
      /\npgtenant: no PostgreSQL server programs \(initdb, postgres\) that can be run in "/,
    );
    assert.match(stderr, /\nhint: Install PostgreSQL 14 or newer /);
    assert.deepEqual(await readdir(folder), []);
  });
});

suite("the demo's proof", () => {
  let database: TestDatabase;
  before(async () => {
    database = await createDatabase("demo proof", "n-kudo", { settings: { "seed.big": "off" } });
  });
  after(() => database.drop());

  const digest = (): Promise<DatabaseDigest> =>
    withSession({ databaseUrl: database.url, applicationName: "pgtenant-test" }, digestDatabase);

  /** Changes something, asserts that the proof fails over exactly this, and takes it back. */
  async function assertNoticed(change: string, undo: string, name: string): Promise<void> {
    const before = await digest();
    await database.query(change);
    const after = await digest();
    assert.deepEqual(differences(before, after), [name], change);
    assert.notEqual(after.digest, before.digest);
    assert.throws(() => requireEqual(before, after), {
      code: "demo-failed",
      exitCode: 1,
      message: `the database is not what it was: ${name} differ`,
      details: [name],
    });
    await database.query(undo);
    requireEqual(before, await digest());
  }

  test("holds for a database where nothing has changed, whatever the order of its rows", async () => {
    const before = await digest();
    await database.query("UPDATE sites SET name = name");
    const after = await digest();
    requireEqual(before, after);
    assert.equal(after.digest, before.digest);
    assert.equal(before.tables.length, 22);
  });

  test("fails over one microsecond, one row, one empty string for NULL, one drawn number", async () => {
    const one = "(SELECT min(id) FROM audit_events)";
    await assertNoticed(
      `UPDATE audit_events SET occurred_at = occurred_at + interval '1 microsecond' WHERE id = ${one}`,
      `UPDATE audit_events SET occurred_at = occurred_at - interval '1 microsecond' WHERE id = ${one}`,
      "public.audit_events",
    );
    await assertNoticed(
      `CREATE TEMP TABLE gone AS SELECT * FROM audit_events WHERE id = ${one}; DELETE FROM audit_events WHERE id = ${one}`,
      "INSERT INTO audit_events SELECT * FROM gone; DROP TABLE gone",
      "public.audit_events",
    );
    const [row] = await database.query<{ id: string }>(
      "SELECT min(id) AS id FROM audit_events WHERE request_id IS NULL",
    );
    await assertNoticed(
      `UPDATE audit_events SET request_id = '' WHERE id = ${row?.id}`,
      `UPDATE audit_events SET request_id = NULL WHERE id = ${row?.id}`,
      "public.audit_events",
    );
    const [state] = await database.query<{ last: string }>(
      "SELECT last_value AS last FROM audit_events_id_seq",
    );
    await assertNoticed(
      "SELECT nextval('audit_events_id_seq')",
      `SELECT setval('audit_events_id_seq', ${state?.last})`,
      "public.audit_events_id_seq",
    );
  });

  test("fails over a table that has gone, or come", async () => {
    await assertNoticed("CREATE TABLE extra (n integer)", "DROP TABLE extra", "public.extra");
    const before = await digest();
    const without = { ...before, tables: before.tables.slice(1) };
    assert.deepEqual(differences(before, without), [before.tables[0]?.table]);
  });
});
