import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { makeRowSchemas } from "../../scripts/row-schemas.ts";
import { shippedTables } from "../../src/bundle/shipped-schemas.ts";
import { nKudo } from "../../src/profile/n-kudo.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { exportBundle, readWholeBundle } from "../harness/tenant-bundle.ts";

const folder = new URL(`../../schemas/n-kudo/${nKudo.version}/`, import.meta.url);
const small = { settings: { "seed.big": "off" } };

suite("the shipped schemas of n-kudo's rows", () => {
  let complete: TestDatabase;
  let older: TestDatabase;

  before(async () => {
    complete = await createDatabase("shipped schemas", "n-kudo", small);
    older = await createDatabase("shipped schemas 0004", "n-kudo-0004", small);
  });
  after(async () => {
    await complete.drop();
    await older.drop();
  });

  test("are what the fixtures' schema makes of them; else run npm run schemas", async () => {
    const made = await makeRowSchemas({ complete: complete.url, stoppedAfter0004: older.url });
    const files = (await readdir(folder)).sort();
    assert.deepEqual(files, [...made.keys()].sort());
    for (const file of files) {
      assert.equal(await readFile(new URL(file, folder), "utf8"), made.get(file), file);
    }
  });

  test("cover every table of a tenant, by its name", () => {
    const tables = shippedTables(nKudo);
    assert.equal(tables.size, 21);
    assert.deepEqual(tables.get("public.crl_entries")?.properties.agent_id, {
      type: ["string", "null"],
      format: "uuid",
    });
  });

  test("require the columns that a database stopped after 0004 has as well, and no others", async () => {
    const users = JSON.parse(
      await readFile(new URL("users.schema.json", folder), "utf8"),
    ) as Readonly<Record<string, unknown>>;
    assert.deepEqual(users.required, [
      "id",
      "tenant_id",
      "email",
      "display_name",
      "role",
      "is_active",
      "created_at",
      "updated_at",
    ]);
  });

  test("give no warning on either state of the schema", async () => {
    for (const database of [complete, older]) {
      const { result } = await exportBundle(database.url, "acme");
      assert.deepEqual(result.warnings, []);
      assert.deepEqual(result.leftOut, []);
    }
  });
});

suite("a database that was patched by hand", () => {
  let database: TestDatabase;

  before(async () => {
    database = await createDatabase("patched", "n-kudo", small);
    await database.query(`
      ALTER TABLE sites ADD COLUMN note text DEFAULT 'patched';
      ALTER TABLE hosts ADD COLUMN rack varchar(8);
      ALTER TABLE api_keys ALTER COLUMN name DROP NOT NULL;
      ALTER TYPE agent_state ADD VALUE 'RETIRED';
      CREATE TABLE site_notes (id serial PRIMARY KEY, site_id uuid NOT NULL REFERENCES sites (id),
                               body text);
      INSERT INTO site_notes (site_id, body) SELECT id, 'note of ' || name FROM sites;
      UPDATE hosts SET rack = 'R2-17' WHERE hostname LIKE '%1%'`);
  });
  after(() => database.drop());

  test("is exported with everything it has, and each deviation is a warning", async () => {
    const { bytes, result } = await exportBundle(database.url, "acme");
    assert.deepEqual(
      [...result.warnings].sort(),
      [
        "column \"public.agents.state\" has another type or nullability than the profile's schema says; the database's is used",
        "column \"public.api_keys.name\" has another type or nullability than the profile's schema says; the database's is used",
        'column "public.hosts.rack" is not known to the profile; it is included, with the type that the catalog gives it',
        'column "public.sites.note" is not known to the profile; it is included, with the type that the catalog gives it',
        'table "public.site_notes" is not known to the profile; it is included, because its foreign keys lead to the tenant',
      ].sort(),
    );
    assert.deepEqual(result.leftOut, []);

    const bundle = await readWholeBundle(bytes);
    const describe = (table: string) => bundle.header.tables.find((t) => t.name === table);
    const properties = (table: string) =>
      describe(table)?.schema.properties as Readonly<Record<string, unknown>> | undefined;
    assert.deepEqual(properties("public.hosts")?.rack, { type: ["string", "null"], maxLength: 8 });
    assert.deepEqual(properties("public.api_keys")?.name, { type: ["string", "null"] });
    assert.deepEqual(properties("public.agents")?.state, {
      enum: ["ONLINE", "DEGRADED", "OFFLINE", "RETIRED"],
    });
    assert.deepEqual(describe("public.site_notes")?.ownedThrough, ["site_id -> public.sites (id)"]);
    const [notes] = await database.query<{ count: string }>(`
      SELECT count(*) FROM site_notes n JOIN sites s ON s.id = n.site_id
        JOIN tenants t ON t.id = s.tenant_id WHERE t.slug = 'acme'`);
    const section = bundle.tables.find((table) => table.name === "public.site_notes");
    assert.equal(section?.end.rows, Number(notes?.count));
    assert.ok(section?.lines.every((line) => line.includes('"body":"note of ')));
  });

  test("names a table that nothing classifies, and what to write into the profile", async () => {
    await database.query("CREATE TABLE scratch (id integer PRIMARY KEY, note text)");
    await assert.rejects(exportBundle(database.url, "acme"), {
      code: "unclassified-table",
      exitCode: 2,
      message:
        'table "public.scratch" has no foreign key that leads to "public.tenants", and the profile does not classify it',
      details: ["public.scratch (id, note)"],
    });
    const { result } = await exportBundle(database.url, "acme", { acceptUnclassified: true });
    assert.deepEqual(result.leftOut, [
      {
        table: "public.scratch",
        reason: "unclassified: neither a foreign key nor the profile says whose it is",
      },
    ]);
    await database.query("DROP TABLE scratch");
  });
});
