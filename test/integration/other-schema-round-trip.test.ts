import assert from "node:assert/strict";
import { afterEach, beforeEach, suite, test } from "node:test";
import { defaultMaxRowBytes } from "../../src/bundle/format.ts";
import { noProgress } from "../../src/progress.ts";
import { importBundle } from "../../src/tenant/import.ts";
import type { ImportMode, ImportResult } from "../../src/tenant/import-types.ts";
import type { TestDatabase } from "../harness/database.ts";
import { databaseDigest } from "../harness/database-digest.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";
import { exportBundle, inChunks, withTenantSchema } from "../harness/tenant-bundle.ts";

/** What an operator would run by mistake: movements and notes have no cascade of their own. */
const deleteTenant = (account: number) => `
  BEGIN;
  DELETE FROM stock.movements WHERE item_id IN (
    SELECT i.id FROM stock.items i JOIN stock.shelves s ON s.id = i.shelf_id
     WHERE s.account_no = ${account});
  DELETE FROM app.notes WHERE account_no = ${account};
  DELETE FROM app.accounts WHERE account_no = ${account};
  COMMIT`;

const tenants = [
  ["north", 1],
  ["south", 2],
  ["west", -7],
] as const;

suite("a tenant of a schema that is not N-Kudo's", () => {
  let database: TestDatabase;
  let original: Readonly<Record<string, string>>;

  beforeEach(async () => {
    database = await createOtherDatabase("other round trip");
    original = await databaseDigest(database);
  });
  afterEach(() => database.drop());

  function importInto(bytes: Uint8Array, mode: ImportMode = "missing"): Promise<ImportResult> {
    return withTenantSchema(
      database.url,
      (session, schema) =>
        importBundle(session, schema, inChunks(bytes), {
          name: '"bundle"',
          mode,
          dryRun: false,
          confirmed: true,
          set: new Map(),
          leaveOut: [],
          disableTriggers: false,
          keepInFlight: true,
          expireCredentials: false,
          onCollision: "fail",
          acceptRedacted: false,
          maxRowBytes: defaultMaxRowBytes,
          progress: noProgress,
        }),
      { profile: otherProfile },
    );
  }

  for (const [tenant, account] of tenants) {
    for (const layout of ["jsonl", "json"] as const) {
      test(`comes back with every bit after it was deleted: ${tenant}, .${layout}`, async () => {
        const choice = { profile: otherProfile, layout } as const;
        const { bytes, result } = await exportBundle(database.url, tenant, choice);
        await database.query(deleteTenant(account));
        assert.notDeepEqual(await databaseDigest(database), original);

        const imported = await importInto(bytes);
        assert.equal(imported.applied, true);
        const inserted = imported.plan.tables.reduce((sum, table) => sum + table.insert, 0);
        assert.equal(inserted, result.rows);
        assert.deepEqual(await databaseDigest(database), original);

        const again = await importInto(bytes);
        assert.equal(again.applied, false);
        assert.deepEqual(await databaseDigest(database), original);
      });
    }
  }

  test("comes back when only some of its rows are lost, and generated columns with it", async () => {
    const { bytes } = await exportBundle(database.url, "north", { profile: otherProfile });
    await database.query(`
      BEGIN;
      UPDATE app.accounts SET main_contact = NULL WHERE account_no = 1;
      DELETE FROM app."Order ""Lines"" v1.2" WHERE "customer.id" IN (2, 6, 10);
      DELETE FROM stock.oddities WHERE account_no = 1;
      DELETE FROM stock.movements WHERE kind = 'in' AND item_id IN (
        SELECT i.id FROM stock.items i JOIN stock.shelves s ON s.id = i.shelf_id
         WHERE s.account_no = 1);
      COMMIT`);
    await importInto(bytes, "replace");
    assert.deepEqual(await databaseDigest(database), original);
  });

  test("gets its own values again where rows were altered, and loses what was added", async () => {
    const { bytes } = await exportBundle(database.url, "south", { profile: otherProfile });
    await database.query(`
      UPDATE stock.oddities SET exact = 1, integers = '{1}', doc = '[]', double = 0, tags = NULL
       WHERE account_no = 2;
      UPDATE app.customers SET first_name = 'Other' || id, email = id::text WHERE account_no = 2;
      INSERT INTO app.categories (account_no, code) VALUES (2, 'added');
      INSERT INTO stock.oddities (no, account_no) VALUES (999, 2)`);
    const result = await importInto(bytes, "replace");
    assert.equal(result.plan.tables.find((t) => t.table === "stock.oddities")?.delete, 1);
    assert.deepEqual(await databaseDigest(database), original);
  });
});
