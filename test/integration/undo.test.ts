import assert from "node:assert/strict";
import { test } from "node:test";
import { makeSite } from "../harness/hand-made.ts";
import {
  assertUnchanged,
  changesOf,
  deleteTenant,
  digestOf,
  freshBundle,
} from "../harness/import.ts";
import { otherProfile } from "../harness/other-database.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";
import {
  assertRows,
  importWithReceipt,
  undo,
  withOtherUndoable,
  withUndoable,
} from "../harness/undo.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";

/** Damage of every kind: rows gone, changed and new, references cleared. */
const damage = `
  DELETE FROM sites WHERE name = 'Spare 3' AND tenant_id = ${acme};
  DELETE FROM api_keys WHERE tenant_id = ${acme};
  UPDATE microvms SET name = name || ' renamed' WHERE tenant_id = ${acme};
  UPDATE tenants SET name = 'Renamed' WHERE slug = 'acme';`;

for (const mode of ["missing", "overwrite", "replace"] as const) {
  test(`takes an import in mode ${mode} back to the last bit, and the undo as well`, () =>
    withUndoable(`undo-${mode}`, async (undoable) => {
      const { database } = undoable;
      const bundle = await freshBundle("acme");
      await database.query(damage);
      await makeSite(database, "Built since", 1);
      const before = await digestOf(database);
      const imported = await importWithReceipt(undoable, bundle, { mode });
      const after = await digestOf(database);
      const changes = changesOf(imported);
      assert.match(changes.sites ?? "", mode === "replace" ? /insert 1, delete 1/ : /^insert 1$/);

      const preview = await undo(undoable, imported.receipt, { dryRun: true });
      assert.equal(preview.applied, false);
      await assertUnchanged(database, after);
      const undone = await undo(undoable, imported.receipt);
      assert.equal(undone.applied, true);
      assert.deepEqual(undone.plan?.tables, preview.plan?.tables);
      await assertRows(undoable, before);

      const again = await undo(undoable, imported.receipt, { confirmed: false });
      assert.equal(again.applied, false);
      assert.equal(again.receipt, null);
      assert.deepEqual(again.plan === null ? null : changesOf({ plan: again.plan }), {});

      const redone = await undo(undoable, undone.receipt);
      assert.equal(redone.applied, true);
      await assertRows(undoable, after);
      await undo(undoable, redone.receipt);
      await assertRows(undoable, before);
    }));
}

test("takes a tenant that was restored as a whole away again, its log included", () =>
  withUndoable("undo-whole", async (undoable) => {
    const { database } = undoable;
    const bundle = await freshBundle("acme");
    await deleteTenant(database, "acme");
    const before = await digestOf(database);
    const { receipt, plan } = await importWithReceipt(undoable, bundle);
    assert.match(changesOf({ plan }).crl_entries ?? "", /relink/);
    const after = await digestOf(database);
    const undone = await undo(undoable, receipt);
    assert.ok(undone.plan !== null);
    assert.match(changesOf({ plan: undone.plan }).audit_events ?? "", /^delete \d+$/);
    assert.match(changesOf({ plan: undone.plan }).crl_entries ?? "", /^update \d+$/);
    await assertRows(undoable, before);
    await undo(undoable, undone.receipt);
    await assertRows(undoable, after);
  }));

test("takes back what was done to another schema's tenant", () =>
  withOtherUndoable("undo-other", async (undoable) => {
    const { database } = undoable;
    const choice = { profile: otherProfile };
    const [account] = await database.query<{ no: string; handle: string }>(
      "SELECT account_no AS no, handle FROM app.accounts JOIN app.notes USING (account_no) LIMIT 1",
    );
    const { bytes } = await exportBundle(database.url, account?.handle ?? "", choice);
    const changes = {
      whole: `DELETE FROM stock.movements WHERE item_id IN
                (SELECT i.id FROM stock.items i JOIN stock.shelves s ON s.id = shelf_id
                  WHERE account_no = ${account?.no});
              UPDATE app.accounts SET main_contact = NULL WHERE account_no = ${account?.no};
              DELETE FROM app.accounts WHERE account_no = ${account?.no}`,
      parts: `UPDATE app.customers SET last_name = 'Renamed' WHERE account_no = ${account?.no};
              UPDATE stock.oddities SET exact = 1.00, doc = '{"a" : 1}' WHERE account_no = ${account?.no};
              DELETE FROM app.notes WHERE account_no = ${account?.no}`,
    };
    for (const sql of Object.values(changes)) {
      for (const mode of ["missing", "replace"] as const) {
        await database.query(sql);
        const before = await digestOf(database);
        const { receipt } = await importWithReceipt(undoable, bytes, { ...choice, mode });
        const after = await digestOf(database);
        const undone = await undo(undoable, receipt, choice);
        assert.equal(undone.applied, true);
        await assertRows(undoable, before);
        await undo(undoable, undone.receipt, choice);
        await assertRows(undoable, after);
      }
    }
  }));

test("never makes valid again what the import has revoked, and says so", () =>
  withUndoable("undo-one-way", async (undoable) => {
    const { database } = undoable;
    await database.query(`UPDATE api_keys SET revoked_at = '2030-01-01' WHERE tenant_id = ${acme}`);
    const { bytes } = await exportBundle(database.url, "acme");
    await database.query(
      `UPDATE api_keys SET revoked_at = NULL, name = 'renamed' WHERE tenant_id = ${acme}`,
    );
    const { receipt } = await importWithReceipt(undoable, bytes, { mode: "overwrite" });
    const { plan } = await undo(undoable, receipt);
    assert.ok(plan?.notes.some((note) => note.kind === "stays-revoked"));
    const rows = await database.query(
      `SELECT DISTINCT name, revoked_at = '2030-01-01' AS revoked FROM api_keys WHERE tenant_id = ${acme}`,
    );
    assert.deepEqual(rows, [{ name: "renamed", revoked: true }]);
    assert.equal((await undo(undoable, receipt)).applied, false);
  }));

test("is content with work that was ended when its row came back", () =>
  withUndoable("undo-fenced", async (undoable) => {
    const { database } = undoable;
    const bundle = await freshBundle("acme");
    const { plan } = await makeSite(database, "Built since", 1);
    const { receipt } = await importWithReceipt(undoable, bundle, { mode: "replace" });
    await undo(undoable, receipt);
    await database.query("UPDATE plans SET status = 'CANCELLED' WHERE id = $1", [plan]);
    const again = await undo(undoable, receipt, { confirmed: false });
    assert.equal(again.applied, false);
    assert.equal(again.plan?.tables.find(({ table }) => table === "public.plans")?.keep, 1);
  }));
