import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import type { ProgressListener } from "../../src/progress.ts";
import { noProgress } from "../../src/progress.ts";
import { listTenants, type TenantList } from "../../src/tenant/list-tenants.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

function list(
  database: TestDatabase,
  options: { readonly profile?: string; readonly acceptUnclassified?: boolean } = {},
  progress: ProgressListener = noProgress,
): Promise<TenantList> {
  return listTenants(
    { databaseUrl: database.url, applicationName: "pgtenant-test" },
    { profile: "n-kudo", acceptUnclassified: false, ...options },
    progress,
  );
}

suite("the list of tenants", () => {
  let database: TestDatabase;
  before(async () => {
    database = await createDatabase("list tenants", "n-kudo", { settings: { "seed.big": "off" } });
    // So that no two tenants have the same numbers.
    await database.query(`
      DELETE FROM execution_logs WHERE id % 2 = 0 AND tenant_id = (SELECT id FROM tenants WHERE slug = 'acme');
      INSERT INTO tenants (id, slug, name) VALUES ('00000000-0000-0000-0000-00000000000e', 'empty', 'Empty')`);
  });
  after(() => database.drop());

  test("has each tenant once, by slug, with the rows that its bundle would have", async () => {
    const { tenants, warnings } = await list(database);
    assert.deepEqual(
      tenants.map(({ slug }) => slug),
      ["acme", "empty", "globex", "initech"],
    );
    assert.deepEqual(warnings, []);
    for (const { slug, rows, totalRows } of tenants) {
      const { result } = await exportBundle(database.url, slug ?? "");
      const exported = Object.fromEntries(result.tables.map(({ table, rows: n }) => [table, n]));
      assert.deepEqual(rows, exported, slug ?? "");
      assert.equal(totalRows, result.rows);
    }
  });

  test("counts rows that belong to a tenant through another table, and none that belong to nobody", async () => {
    // Counted here by hand, without the program's own paths.
    const counted = await database.query<Record<string, string>>(`
      SELECT t.slug,
             (SELECT count(*) FROM crl_entries JOIN agents a ON a.id = agent_id
               WHERE a.tenant_id = t.id) AS "public.crl_entries",
             (SELECT count(*) FROM vm_network_attachments v JOIN microvms m ON m.id = v.vm_id
               WHERE m.tenant_id = t.id) AS "public.vm_network_attachments",
             (SELECT count(*) FROM execution_logs l WHERE l.tenant_id = t.id) AS "public.execution_logs"
        FROM tenants t ORDER BY 1`);
    const { tenants } = await list(database);
    for (const [i, { slug, ...tables }] of counted.entries()) {
      assert.equal(tenants[i]?.slug, slug);
      for (const [table, rows] of Object.entries(tables)) {
        assert.equal(tenants[i]?.rows[table], Number(rows), `${slug} ${table}`);
        assert.equal(Number(rows) > 0, slug !== "empty", `${slug} ${table}`);
      }
    }
    const [all] = await database.query<{ n: string }>("SELECT count(*) AS n FROM crl_entries");
    const owned = tenants.reduce(
      (sum, tenant) => sum + (tenant.rows["public.crl_entries"] ?? 0),
      0,
    );
    assert.equal(owned, Number(all?.n) - 1);
  });

  test("tells how far it has come, in tables and rows", async () => {
    const seen = new Map<string, number>();
    const progress = {
      ...noProgress,
      advance: (table: string, rows: number) => void seen.set(table, rows),
    };
    const { tenants } = await list(database, {}, progress);
    assert.deepEqual([...seen.keys()], Object.keys(tenants[0]?.rows ?? {}));
    assert.equal(seen.get("public.tenants"), 4);
  });

  test("is a table for people, and has every table's rows for programs", async () => {
    const { code, stdout } = await pgtenant(["tenants"], { url: database.url });
    assert.equal(code, 0);
    const lines = stdout.toString().split("\n");
    assert.match(lines[0] ?? "", /^id +slug +name +rows$/);
    assert.match(lines[2] ?? "", /^00000000-0000-0000-0000-00000000000e {2}empty +Empty +1$/);
    const json = await pgtenant(["tenants", "--json"], { url: database.url });
    assert.deepEqual(JSON.parse(json.stdout.toString()), await list(database));
  });

  test("names a table that nothing classifies, and goes on without it", async () => {
    await database.query("CREATE TABLE scratch (n integer)");
    await assert.rejects(list(database), { code: "unclassified-table", exitCode: 2 });
    const warning = 'table "public.scratch" is not classified; its rows are not counted';
    assert.deepEqual((await list(database, { acceptUnclassified: true })).warnings, [warning]);
    const { code, stderr, stdout } = await pgtenant(["tenants"], { url: database.url });
    assert.equal(code, 0);
    assert.equal(stderr, `warning: ${warning}\n`);
    assert.match(stdout.toString(), /acme/);
    await database.query("DROP TABLE scratch");
  });

  test("says that there is none in an empty database", async () => {
    await database.query("TRUNCATE tenants CASCADE");
    assert.deepEqual(await list(database), { tenants: [], warnings: [] });
    const { code, stdout } = await pgtenant(["tenants"], { url: database.url });
    assert.equal(code, 0);
    assert.equal(stdout.toString(), "there is no tenant in this database\n");
  });
});

suite("the list of tenants of a schema that is not N-Kudo's", () => {
  let database: TestDatabase;
  before(async () => {
    database = await createOtherDatabase("list other");
  });
  after(() => database.drop());

  test("has integer keys as text, and rows that reach their tenant over several tables", async () => {
    const { tenants } = await list(database, { profile: otherProfile });
    assert.deepEqual(
      tenants.map(({ id, slug, name }) => ({ id, slug, name })),
      [
        { id: "1", slug: "north", name: "North & Sons" },
        { id: "2", slug: "south", name: 'South "quoted" \\ é' },
        { id: "-7", slug: "west", name: null },
      ],
    );
    const [north, south, west] = tenants;
    for (const table of ["stock.movements", 'app."Order ""Lines"" v1.2"', "app.notes"]) {
      const [rows] = await database.query<{ n: string }>(`SELECT count(*) AS n FROM ${table}`);
      assert.ok((north?.rows[table] ?? 0) > 0, table);
      assert.equal((north?.rows[table] ?? 0) + (south?.rows[table] ?? 0), Number(rows?.n), table);
      assert.equal(west?.rows[table], 0, table);
    }
    assert.equal(west?.totalRows, 1);
  });
});
