import assert from "node:assert/strict";
import { test } from "node:test";
import { makeSite } from "../harness/hand-made.ts";
import {
  assertImportRefused,
  assertUnchanged,
  deleteTenant,
  digestOf,
  freshBundle,
  importBytes,
  withDatabase,
} from "../harness/import.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const ofAcme = "tenant_id = (SELECT id FROM tenants WHERE slug = 'acme')";

const touch = `
  CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$;
  CREATE TRIGGER sites_touch BEFORE INSERT OR UPDATE ON sites
    FOR EACH ROW EXECUTE FUNCTION touch();
  CREATE TRIGGER hosts_touch BEFORE INSERT ON hosts
    FOR EACH ROW EXECUTE FUNCTION touch();
  ALTER TABLE hosts ENABLE ALWAYS TRIGGER hosts_touch;
  CREATE TRIGGER agents_touch BEFORE UPDATE ON agents
    FOR EACH ROW EXECUTE FUNCTION touch();
  ALTER TABLE agents DISABLE TRIGGER agents_touch;`;

const states = `SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname`;

test("triggers that would fire are refused by name, after the plan is known", () =>
  withDatabase("triggers-refused", async (database) => {
    await deleteTenant(database, "acme");
    await database.query(touch);
    const bundle = await freshBundle("acme");
    await assertImportRefused(
      database,
      bundle,
      {},
      {
        exitCode: 4,
        message:
          /^triggers would fire for restored rows: sites_touch on public\.sites, hosts_touch on public\.hosts$/,
        hint: /--disable-triggers/,
      },
    );
    const { plan } = await importBytes(database.url, bundle, { dryRun: true });
    assert.ok(
      plan.warnings.some((warning) => /trigger "sites_touch" on "public\.sites"/.test(warning)),
      "a dry run says it too",
    );
  }));

test("with --disable-triggers rows come back as they were, and triggers as they stood", () =>
  withDatabase("triggers-disabled", async (database) => {
    const original = await digestOf(database);
    await database.query(touch);
    const before = await database.query(states);
    await deleteTenant(database, "acme");
    const { plan } = await importBytes(database.url, await freshBundle("acme"), {
      disableTriggers: true,
    });
    await assertUnchanged(database, original);
    assert.deepEqual(await database.query(states), before);
    assert.ok(plan.warnings.some((warning) => /"hosts_touch".*disabled/.test(warning)));
  }));

test("a failing import leaves disabled triggers as they stood", () =>
  withDatabase("triggers-failed", async (database) => {
    await deleteTenant(database, "acme");
    await database.query(touch);
    await database.query(
      "CREATE RULE other AS ON INSERT TO agents DO ALSO INSERT INTO schema_migrations VALUES (NEW.id::text)",
    );
    const before = await database.query(states);
    await assertImportRefused(
      database,
      await freshBundle("acme"),
      { disableTriggers: true },
      { exitCode: 7, message: /^the database wrote other rows than planned/ },
    );
    assert.deepEqual(await database.query(states), before);
  }));

test("a trigger on UPDATE is no obstacle to rows that are only inserted", () =>
  withDatabase("triggers-on-update", async (database) => {
    const original = await digestOf(database);
    await deleteTenant(database, "acme");
    await database.query(touch);
    await database.query(
      "DROP TRIGGER sites_touch ON sites; DROP TRIGGER hosts_touch ON hosts; ALTER TABLE agents ENABLE TRIGGER agents_touch",
    );
    await importBytes(database.url, await freshBundle("acme"));
    await assertUnchanged(database, original);
  }));

test("a trigger of a table without changes is no obstacle", () =>
  withDatabase("triggers-elsewhere", async (database) => {
    const original = await digestOf(database);
    await database.query(touch);
    await database.query(`DELETE FROM api_keys WHERE ${ofAcme}`);
    await importBytes(database.url, await freshBundle("acme"));
    await assertUnchanged(database, original);
  }));

const rules: readonly (readonly [string, string, RegExp])[] = [
  [
    "leaves rows out",
    "CREATE RULE r AS ON INSERT TO api_keys DO INSTEAD NOTHING",
    /^the database wrote other rows than planned \(public\.api_keys: 0 inserted, \d+ planned\)/,
  ],
  [
    "writes to another table as well",
    "CREATE RULE r AS ON INSERT TO api_keys DO ALSO INSERT INTO schema_migrations VALUES (NEW.id::text)",
    /^the database wrote other rows than planned \(public\.schema_migrations: \d+ inserted, 0 planned\)/,
  ],
  [
    "deletes rows of another tenant",
    "CREATE RULE r AS ON INSERT TO api_keys DO ALSO DELETE FROM enrollment_tokens WHERE tenant_id <> NEW.tenant_id",
    /^the database wrote other rows than planned \(public\.enrollment_tokens: \d+ deleted, /,
  ],
  [
    "alters a restored row",
    "CREATE RULE r AS ON INSERT TO audit_events DO ALSO UPDATE sites SET updated_at = 'infinity' WHERE id = NEW.site_id",
    /"public\.sites" read back otherwise than they were written, such as \(id\)=\(/,
  ],
];
for (const [what, rule, message] of rules) {
  test(`a rule that ${what} is caught before COMMIT`, () =>
    withDatabase("rules", async (database) => {
      await deleteTenant(database, "acme");
      await database.query(rule);
      await assertImportRefused(database, await freshBundle("acme"), {}, { exitCode: 7, message });
    }));
}

test("a trigger on a partition alone is caught by reading back", () =>
  withDatabase("triggers-partition", async (database) => {
    await deleteTenant(database, "acme");
    await database.query(`
      CREATE TABLE notes (id integer, tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
                          updated_at timestamptz, PRIMARY KEY (id)) PARTITION BY RANGE (id);
      CREATE TABLE notes_1 PARTITION OF notes FOR VALUES FROM (0) TO (100);
      INSERT INTO tenants (id, slug, name) VALUES (gen_random_uuid(), 'noted', 'Noted');
      INSERT INTO notes SELECT 1, id, '2020-01-01' FROM tenants WHERE slug = 'noted';
      CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$;`);
    const { bytes } = await exportBundle(database.url, "noted");
    await deleteTenant(database, "noted");
    await database.query(
      "CREATE TRIGGER t BEFORE INSERT ON notes_1 FOR EACH ROW EXECUTE FUNCTION touch()",
    );
    await assertImportRefused(
      database,
      bytes,
      {},
      { exitCode: 7, message: /^1 row\(s\) of "public\.notes" read back otherwise/ },
    );
  }));

test("replace deletes no row whose deletion would cascade into a table that the bundle lacks", () =>
  withDatabase("cascade-elsewhere", async (database) => {
    const bundle = await freshBundle("acme");
    const { site } = await makeSite(database, "With notes");
    await database.query(`
      CREATE TABLE notes (id integer PRIMARY KEY, site_id uuid REFERENCES sites ON DELETE CASCADE);
      INSERT INTO notes VALUES (1, '${site}')`);
    const { plan } = await importBytes(database.url, bundle, { mode: "replace" });
    assert.deepEqual(
      plan.notes.filter((note) => note.kind === "still-referenced"),
      [
        {
          kind: "still-referenced",
          table: "public.sites",
          row: `(id)=(${site})`,
          reason: "is not in the bundle, but rows of public.notes that stay refer to it",
        },
      ],
    );
    assert.deepEqual(await database.query("SELECT id FROM notes"), [{ id: 1 }]);
  }));
