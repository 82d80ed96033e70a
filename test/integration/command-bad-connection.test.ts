import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { DatabaseDigest } from "../../src/tenant/digest.ts";
import { assertFailure, errorDocument } from "../harness/assert-failure.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, serverUrl, type TestDatabase } from "../harness/database.ts";
import { assertUnchanged, digestOf } from "../harness/digest.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

/** The URL with something else in it. */
function changed(url: string, change: Partial<Record<"username" | "password" | "host", string>>) {
  return Object.assign(new URL(url), change).href;
}

suite("commands that cannot reach their database", () => {
  const unreachable = [
    [
      "a closed port",
      "postgres://u:p@127.0.0.1:1/db",
      /^no connection to 127\.0\.0\.1:1: .*ECONNREFUSED/,
    ],
    [
      "an unknown host",
      "postgres://u:p@no-such-host.invalid/db",
      /^no connection to no-such-host\.invalid:5432: .*(ENOTFOUND|EAI_AGAIN)/,
    ],
    [
      "a socket's folder that is not there",
      "postgres://u@%2Fno%2Fsuch/db",
      /^no connection to the socket in \/no\/such: .*ENOENT/,
    ],
  ] as const;
  for (const [what, url, message] of unreachable) {
    test(`${what} exits 7 and says where nobody answered`, async () => {
      const expected = new RegExp(`^pgtenant: ${message.source.slice(1)}`);
      const hint = /^hint: Check host and port in DATABASE_URL, that the server runs/;
      assertFailure(await pgtenant(["tenants"], { url }), { code: 7, message: expected, hint });
    });
  }

  test("with --json the error is an object that programs can tell apart", async () => {
    const result = await pgtenant(["tenants", "--json"], { url: "postgres://u:p@127.0.0.1:1/db" });
    const { code, exitCode, hint } = errorDocument(result);
    assert.deepEqual([result.code, code, exitCode], [7, "server-unreachable", 7]);
    assert.match(hint ?? "", /^Check host and port/);
  });

  test("a wrong password exits 7 and names the user, not the password", async () => {
    const result = await pgtenant(["tenants"], {
      url: changed(serverUrl(), { password: "s3cr3t-wrong" }),
    });
    assertFailure(result, {
      code: 7,
      message: /^pgtenant: the server at 127\.0\.0\.1:\d+ refused the login of user "postgres"$/,
      hint: /^hint: Check user and password in DATABASE_URL, and the server's pg_hba\.conf\.$/,
    });
    assert.doesNotMatch(result.stderr, /s3cr3t/);
  });

  test("no password at all, where one is wanted, exits 7 too", async () => {
    const result = await pgtenant(["tenants"], { url: changed(serverUrl(), { password: "" }) });
    assertFailure(result, {
      code: 7,
      message:
        /^pgtenant: the server at 127\.0\.0\.1:\d+ wants a password of user "postgres", and none is given$/,
      hint: /^hint: Put it into DATABASE_URL or DATABASE_URL_FILE/,
    });
  });

  test("a database that is not there exits 7 and is named", async () => {
    assertFailure(await pgtenant(["tenants"], { url: serverUrl("no such db") }), {
      code: 7,
      message: /^pgtenant: the server at 127\.0\.0\.1:\d+ has no database "no such db"$/,
      hint: /^hint: Check the database name at the end of DATABASE_URL\.$/,
    });
  });

  const malformed = [
    "localhost",
    "mysql://u:p@localhost/db",
    "postgres://u:p/w@localhost:5432/db",
    "postgres://u:p@localhost:99999/db",
    "postgres://u:p@s/w@localhost:5432/db",
    "postgres://u:12?3@localhost:5432/db",
    "postgres://u:12#3@localhost:5432/db",
    "",
  ];
  for (const url of malformed) {
    test(`DATABASE_URL="${url}" exits 2 and shows the right form`, async () => {
      assertFailure(await pgtenant(["tenants"], { env: { DATABASE_URL: url } }), {
        code: 2,
        message:
          url === "" ? /DATABASE_URL is empty$/ : /^pgtenant: the database URL cannot be read$/,
        hint: url === "" ? /a PostgreSQL URL/ : /postgres:\/\/user.*%40/,
      });
    });
  }
});

suite("commands of a role that may not do everything", () => {
  let database: TestDatabase;
  let folder: string;
  let bundle: string;
  let digest: DatabaseDigest;
  const roles = ["none", "reader", "filtered"].map((name) => `${name}_${process.pid}`);
  const [none = "", reader = "", filtered = ""] = roles;
  const as = (role: string) => ({
    url: changed(database.url, { username: role, password: "right" }),
  });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("rights", "n-kudo", { settings: { "seed.big": "off" } });
    bundle = join(folder, "acme.jsonl");
    await writeFile(bundle, (await exportBundle(database.url, "acme")).bytes);
    for (const role of roles) await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 'right'`);
    await database.query(`
      GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${reader}, ${filtered};
      GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO ${reader};
      ALTER TABLE hosts ENABLE ROW LEVEL SECURITY;
      CREATE POLICY mine ON hosts TO ${filtered} USING (false);
      CREATE POLICY all_of_them ON hosts TO ${reader} USING (true);
      ALTER TABLE hosts DISABLE ROW LEVEL SECURITY;
      DELETE FROM tenants WHERE slug = 'acme'`);
    digest = await digestOf(database.url);
  });
  after(async () => {
    await assertUnchanged(database.url, digest);
    for (const role of roles) await database.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    await rm(folder, { recursive: true });
    await database.drop();
  });

  test("a role without any rights is told what it lacks", async () => {
    const output = join(folder, "never.jsonl");
    for (const args of [["tenants"], ["export", "globex", "-o", output], ["import", bundle]]) {
      assertFailure(await pgtenant(args, as(none)), {
        code: 7,
        message: /^pgtenant: the role has too few rights: permission denied for table \w+$/,
        hint: /^hint: Connect as the tables' owner, or GRANT the role what it lacks/,
      });
    }
  });

  test("a role that may only read can export, but not import", async () => {
    const output = join(folder, "readable.jsonl");
    const exported = await pgtenant(["export", "globex", "-o", output], as(reader));
    assert.equal(exported.code, 0, exported.stderr);
    const imported = await pgtenant(["import", bundle, "--json"], as(reader));
    assert.equal(imported.code, 7, imported.stderr);
    const { code, message, hint } = errorDocument(imported);
    assert.equal(code, "insufficient-privilege");
    assert.match(message, /^the role has too few rights: permission denied for table tenants$/);
    assert.match(hint ?? "", /GRANT the role what it lacks/);
  });

  test("a role that may not make temporary tables is told so before anything is read", async () => {
    await database.query(`REVOKE TEMPORARY ON DATABASE ${database.name} FROM PUBLIC`);
    assertFailure(await pgtenant(["import", bundle, "--dry-run"], as(reader)), {
      code: 7,
      message:
        /^pgtenant: the role has too few rights: permission denied to create temporary tables in database/,
      hint: /GRANT/,
    });
  });

  test("row-level security that would hide rows stops a command, and no part is exported", async () => {
    await database.query("ALTER TABLE hosts ENABLE ROW LEVEL SECURITY");
    const output = join(folder, "partial.jsonl");
    try {
      for (const args of [["tenants"], ["export", "globex", "-o", output]]) {
        assertFailure(await pgtenant(args, as(filtered)), {
          code: 7,
          message:
            /^pgtenant: row-level security would hide rows: query would be affected by row-level security policy for table "hosts"$/,
          hint: /^hint: Connect as a role that sees every row: .* BYPASSRLS\.$/,
        });
      }
      const all = await pgtenant(["export", "--all", "-o", folder], as(filtered));
      assert.equal(all.code, 7, all.stderr);
      assert.match(all.stderr, /tenant "globex" was not exported: row-level security would hide/);
      assert.match(all.stderr, /^pgtenant: 2 of 2 tenants could not be exported$/m);
      const bundles = (await readdir(folder)).filter((name) => name.startsWith("tenant_"));
      assert.deepEqual(bundles, []);
    } finally {
      await database.query("ALTER TABLE hosts DISABLE ROW LEVEL SECURITY");
    }
  });
});
