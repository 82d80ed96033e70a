import assert from "node:assert/strict";
import { test } from "node:test";
import type { ImportMode } from "../../src/tenant/import-types.ts";
import type { TestDatabase } from "../harness/database.ts";
import { makeSite } from "../harness/hand-made.ts";
import {
  assertImportRefused,
  assertUnchanged,
  changesOf,
  digestOf,
  freshBundle,
  importBytes,
  withDatabase,
} from "../harness/import.ts";

const ofAcme = "tenant_id = (SELECT id FROM tenants WHERE slug = 'acme')";

/** Nothing but the site's own rows goes: no audit event speaks of it. */
const loseSpareSite = (database: TestDatabase) =>
  database.query(`DELETE FROM sites WHERE name = 'Spare 3' AND ${ofAcme}`);

const changeRows = (database: TestDatabase) =>
  database.query(`
    UPDATE microvms SET net_ifaces = '["changed"]'
     WHERE site_id IN (SELECT id FROM sites WHERE name LIKE 'Frankfurt%' AND ${ofAcme});
    UPDATE tenants SET name = 'Renamed' WHERE slug = 'acme';
    UPDATE sites SET name = name || '!', external_key = NULL WHERE external_key = '' AND ${ofAcme};
    UPDATE users SET display_name = 'Someone else' WHERE ${ofAcme} AND role = 'OWNER';
  `);

/** What the spare site takes along, from the fixtures. */
const spareRows = {
  sites: "insert 1",
  hosts: "insert 2",
  agents: "insert 2",
  certificate_history: "insert 4",
  crl_entries: "relink 2",
};

test("missing inserts what is absent, links what a cascade cleared, and touches nothing else", () =>
  withDatabase("modes-missing", async (database) => {
    const bundle = await freshBundle("acme");
    await changeRows(database);
    await makeSite(database, "Extra");
    const expected = await digestOf(database);
    await loseSpareSite(database);

    const result = await importBytes(database.url, bundle, { confirmed: false });
    await assertUnchanged(database, expected);
    const changes = changesOf(result);
    for (const [table, text] of Object.entries(spareRows)) assert.equal(changes[table], text);
    assert.ok(Object.values(changes).every((text) => /^(insert|relink) \d+$/.test(text)));
    const kept = result.plan.tables.filter((table) => table.keep > 0);
    assert.deepEqual(
      kept.map((table) => table.table),
      ["public.tenants", "public.users", "public.sites", "public.microvms"],
    );
  }));

test("overwrite also sets rows that differ, and leaves those that the bundle lacks", () =>
  withDatabase("modes-overwrite", async (database) => {
    const bundle = await freshBundle("acme");
    await makeSite(database, "Extra");
    const expected = await digestOf(database);
    await loseSpareSite(database);
    await changeRows(database);

    const result = await importBytes(database.url, bundle, { mode: "overwrite" });
    await assertUnchanged(database, expected);
    const changes = changesOf(result);
    assert.deepEqual(
      [changes.tenants, changes.users, changes.sites],
      ["update 1", "update 1", "insert 1, update 1"],
    );
    assert.ok(result.plan.tables.every((table) => table.delete === 0 && table.keep === 0));
  }));

test("replace also deletes what the bundle lacks, children before their parents", () =>
  withDatabase("modes-replace", async (database) => {
    const bundle = await freshBundle("acme");
    const expected = await digestOf(database);
    await makeSite(database, "Extra");
    await loseSpareSite(database);
    await changeRows(database);

    const result = await importBytes(database.url, bundle, { mode: "replace" });
    await assertUnchanged(database, expected);
    const deleted = result.plan.tables.filter((table) => table.delete > 0);
    assert.deepEqual(
      deleted.map((table) => `${table.table} ${table.delete}`),
      [
        "public.sites 1",
        "public.hosts 1",
        "public.agents 1",
        "public.microvms 1",
        "public.plans 1",
        "public.executions 1",
        "public.execution_logs 1",
      ],
    );
  }));

for (const mode of ["missing", "overwrite", "replace"] as const) {
  test(`a dry run of ${mode} writes nothing and plans what the import then does`, () =>
    withDatabase("modes-dry-run", async (database) => {
      const bundle = await freshBundle("acme");
      await makeSite(database, "Extra");
      await loseSpareSite(database);
      await changeRows(database);
      const before = await digestOf(database);
      const planned = await importBytes(database.url, bundle, {
        mode,
        dryRun: true,
        confirmed: false,
      });
      assert.equal(planned.applied, false);
      await assertUnchanged(database, before);
      const done = await importBytes(database.url, bundle, { mode });
      assert.equal(done.applied, true);
      assert.deepEqual(planned.plan, done.plan);
      const again = await importBytes(database.url, bundle, { mode, confirmed: false });
      assert.equal(again.applied, false);
      assert.deepEqual(changesOf(again), {});
    }));
}

for (const mode of ["overwrite", "replace"] as const satisfies readonly ImportMode[]) {
  test(`${mode} without a confirmation is refused with its plan`, () =>
    withDatabase("modes-unconfirmed", async (database) => {
      const bundle = await freshBundle("acme");
      await changeRows(database);
      const error = await assertImportRefused(
        database,
        bundle,
        { mode, confirmed: false },
        {
          exitCode: 4,
          message: /^this would change \d+ and delete 0 existing row\(s\); nothing was written$/,
          hint: /--yes/,
        },
      );
      const { plan } = error.data as { plan: { mode: string } };
      assert.equal(plan.mode, mode);
    }));
}

test("overwrite that only inserts needs no confirmation", () =>
  withDatabase("modes-only-inserts", async (database) => {
    const bundle = await freshBundle("acme");
    const expected = await digestOf(database);
    await loseSpareSite(database);
    await importBytes(database.url, bundle, { mode: "overwrite", confirmed: false });
    await assertUnchanged(database, expected);
  }));
