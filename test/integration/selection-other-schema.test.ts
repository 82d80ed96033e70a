import assert from "node:assert/strict";
import { test } from "node:test";
import type { ImportResult } from "../../src/tenant/import-types.ts";
import type { TestDatabase } from "../harness/database.ts";
import { assertUnchanged, changesOf, digestOf, importBytes } from "../harness/import.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

async function inShop(use: (database: TestDatabase) => Promise<void>): Promise<void> {
  const database = await createOtherDatabase("selection other");
  try {
    await use(database);
  } finally {
    await database.drop();
  }
}

function changes(result: ImportResult) {
  return changesOf(result);
}

test("rows of any schema are chosen, with what hangs on them and what they need", () =>
  inShop(async (database) => {
    const { bytes } = await exportBundle(database.url, "north", { profile: otherProfile });
    const before = await digestOf(database);
    const choose = (...select: string[]) =>
      importBytes(database.url, bytes, {
        profile: otherProfile,
        selection: { select, exclude: [] },
      });

    // A customer, who is recruited by one with a higher id; and their orders.
    await database.query(`
      UPDATE app.accounts SET main_contact = NULL WHERE account_no = 1;
      DELETE FROM app."Order ""Lines"" v1.2" WHERE "customer.id" IN (18, 20);
      UPDATE app.customers SET recruited_by = NULL WHERE id = 16;
      DELETE FROM app.customers WHERE id IN (18, 20);`);
    assert.deepEqual(changes(await choose("customers.email=c18@example.org")), {
      'app."Order ""Lines"" v1.2"': "insert 3",
      "app.customers": "insert 2",
    });
    assert.deepEqual(changes(await choose("customers")), {});
    assert.deepEqual(changes(await choose('app."Order ""Lines"" v1.2"')), {
      'app."Order ""Lines"" v1.2"': "insert 3",
    });
    await database.query(`
      UPDATE app.customers SET recruited_by = 18 WHERE id = 16;
      UPDATE app.accounts SET main_contact = 20 WHERE account_no = 1;`);
    await assertUnchanged(database, before);

    // Categories need their parents, which are no more than that.
    await database.query("DELETE FROM app.categories WHERE account_no = 1");
    assert.deepEqual(changes(await choose("categories.code=B")), { "app.categories": "insert 3" });
    assert.deepEqual(changes(await choose("categories")), { "app.categories": "insert 3" });
    await assertUnchanged(database, before);

    // Shelves and items hang on each other.
    await database.query(`
      DELETE FROM stock.movements WHERE item_id IN (102, 108);
      BEGIN; DELETE FROM stock.shelves WHERE id = 2; COMMIT;`);
    assert.deepEqual(changes(await choose("shelves.id=2")), {
      "stock.items": "insert 2",
      "stock.movements": "insert 4",
      "stock.shelves": "insert 1",
    });
    await assertUnchanged(database, before);
  }));
