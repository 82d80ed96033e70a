import assert from "node:assert/strict";
import { test } from "node:test";
import type { AppError } from "../../src/errors.ts";
import { handMadeId, makeSite } from "../harness/hand-made.ts";
import { assertUnchanged, deleteTenant, digestOf, freshBundle } from "../harness/import.ts";
import {
  assertRows,
  importWithReceipt,
  type Undoable,
  undo,
  withUndoable,
} from "../harness/undo.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";

async function assertRefused(
  undoable: Undoable,
  receipt: string | null,
  choice: Parameters<typeof undo>[2],
  wanted: { readonly exitCode: number; readonly message: RegExp; readonly details?: RegExp[] },
): Promise<void> {
  const before = await digestOf(undoable.database);
  await assert.rejects(undo(undoable, receipt, choice), (error: AppError) => {
    assert.match(error.message, wanted.message);
    assert.equal(error.exitCode, wanted.exitCode);
    assert.ok(error.hint !== undefined);
    const { details = [] } = wanted;
    if (details.length > 0) {
      assert.equal(error.details.length, details.length, error.details.join("\n"));
    }
    for (const detail of details) {
      assert.ok(
        error.details.some((text) => detail.test(text)),
        error.details.join("\n"),
      );
    }
    return true;
  });
  await assertUnchanged(undoable.database, before);
}

test("refuses, by name and all at once, what was changed since", () =>
  withUndoable("undo-changed", async (undoable) => {
    const { database } = undoable;
    const bundle = await freshBundle("acme");
    await database.query(`
      DELETE FROM sites WHERE name = 'Spare 3' AND tenant_id = ${acme};
      UPDATE users SET display_name = 'Other' WHERE tenant_id = ${acme}`);
    await makeSite(database, "Built since", 1);
    const { receipt } = await importWithReceipt(undoable, bundle, { mode: "replace" });
    await database.query(`
      UPDATE sites SET name = 'Spare 3b' WHERE name = 'Spare 3' AND tenant_id = ${acme};
      UPDATE users SET display_name = 'Another' WHERE email = (
        SELECT min(email) FROM users WHERE tenant_id = ${acme});
      INSERT INTO sites (id, tenant_id, name) VALUES ('${handMadeId(1)}', ${acme}, 'Not as it was')`);
    await assertRefused(
      undoable,
      receipt,
      {},
      {
        exitCode: 4,
        message: /^3 rows stand against the undo, such as: public\./,
        details: [
          /^public\.sites .* was inserted and has been changed since$/,
          /^public\.users .* was updated and has been changed since$/,
          /^public\.sites \(id\)=\(00000000-.* was deleted, and is there again with other values$/,
        ],
      },
    );
  }));

test("refuses while rows that were created since hang on those that it would delete", () =>
  withUndoable("undo-children", async (undoable) => {
    const { database } = undoable;
    const bundle = await freshBundle("acme");
    await deleteTenant(database, "acme");
    const { receipt } = await importWithReceipt(undoable, bundle);
    const { site } = await makeSite(database, "Built since", 1);
    const before = await digestOf(database);
    await assertRefused(
      undoable,
      receipt,
      {},
      {
        exitCode: 4,
        message: /refers to public\.tenants .* which the import inserted/,
        details: [],
      },
    );
    await database.query("DELETE FROM sites WHERE id = $1", [site]);
    await undo(undoable, receipt);
    assert.notDeepEqual(await digestOf(database), before);
  }));

test("does not break the chain of a log that has gone on since", () =>
  withUndoable("undo-chain", async (undoable) => {
    const { database } = undoable;
    const bundle = await freshBundle("acme");
    const lost = `id IN (SELECT id FROM audit_events WHERE tenant_id = ${acme} ORDER BY id DESC OFFSET 2 LIMIT 2)`;
    await database.query(`DELETE FROM audit_events WHERE ${lost}`);
    const before = await digestOf(database);
    const { receipt } = await importWithReceipt(undoable, bundle);
    await undo(undoable, receipt);
    await assertRows(undoable, before);

    await database.query(
      `DELETE FROM audit_events WHERE id = (SELECT max(id) FROM audit_events WHERE tenant_id = ${acme})`,
    );
    const second = await importWithReceipt(undoable, bundle);
    await database.query(`
      INSERT INTO audit_events (tenant_id, actor_type, action, resource_type, resource_id, prev_hash, entry_hash)
      SELECT tenant_id, 'SYSTEM', 'x', 'x', 'x', entry_hash, 'new' FROM audit_events
       WHERE tenant_id = ${acme} ORDER BY id DESC LIMIT 1`);
    await assertRefused(
      undoable,
      second.receipt,
      {},
      {
        exitCode: 4,
        message: /^public\.audit_events \(id\)=\(\d+\) refers to public\.audit_events/,
      },
    );
  }));

test("needs the operator's word, and fires no triggers without it", () =>
  withUndoable("undo-confirm", async (undoable) => {
    const { database } = undoable;
    const bundle = await freshBundle("acme");
    await database.query(`DELETE FROM api_keys WHERE tenant_id = ${acme}`);
    const { receipt } = await importWithReceipt(undoable, bundle);
    await assertRefused(
      undoable,
      receipt,
      { confirmed: false },
      {
        exitCode: 4,
        message: /^this would set back or delete rows, \d+ in all; nothing was written$/,
      },
    );
    await database.query(`
      CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
      CREATE TRIGGER seen BEFORE DELETE ON api_keys FOR EACH ROW EXECUTE FUNCTION nothing()`);
    await assertRefused(undoable, receipt, {}, { exitCode: 4, message: /triggers would fire/ });
    assert.equal((await undo(undoable, receipt, { disableTriggers: true })).applied, true);
  }));

test("refuses the receipt of another database, unless this one was made of it", () =>
  withUndoable("undo-here", async (here) => {
    const bundle = await freshBundle("acme");
    await here.database.query(`DELETE FROM api_keys WHERE tenant_id = ${acme}`);
    const before = await digestOf(here.database);
    const { receipt } = await importWithReceipt(here, bundle);
    await withUndoable("undo-there", async (there) => {
      await assertRefused(
        there,
        receipt,
        {},
        {
          exitCode: 4,
          message:
            /was written for the database "test_undo_here_\w+", this is "test_undo_there_\w+"$/,
        },
      );
      const { applied } = await undo(there, receipt, { otherDatabase: true });
      assert.equal(applied, true);
      await assertRows(there, before);
    });
  }));
