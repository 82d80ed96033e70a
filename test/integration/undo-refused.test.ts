import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import type { AppError } from "../../src/errors.ts";
import { edit, type Forgery, forge } from "../harness/forge.ts";
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

test("takes no receipt at its word: every row is proved the tenant's own", () =>
  withUndoable("undo-hostile", async (undoable) => {
    const { database, folder } = undoable;
    const bundle = await freshBundle("acme");
    await database.query(`
      DELETE FROM api_keys WHERE tenant_id = ${acme};
      UPDATE users SET display_name = 'Other' WHERE tenant_id = ${acme}`);
    const { receipt } = await importWithReceipt(undoable, bundle, { mode: "overwrite" });
    const honest = zstdDecompressSync(await readFile(receipt ?? ""));
    const written = "pgtenant.written";
    const [globex] = await database.query<{ id: string }>(
      "SELECT id FROM tenants WHERE slug = 'globex'",
    );
    const cases: readonly (Forgery & { readonly exitCode: number; readonly message: RegExp })[] = [
      {
        header: (header) => ({ ...header, tenant: { ...header.tenant, id: globex?.id ?? "" } }),
        exitCode: 4,
        message: /rows stand against the undo/,
      },
      {
        header: (header) => ({ ...header, tenant: { ...header.tenant, id: "' OR TRUE --" } }),
        exitCode: 3,
        message: /^the receipt's tenant "' OR TRUE --" is no key of "public\.tenants"$/,
      },
      {
        rows: { users: edit({ tenant_id: globex?.id }) },
        exitCode: 4,
        message: /names another tenant in tenant_id/,
      },
      {
        rows: { [written]: (rows) => [...rows, ...rows.slice(0, 1)] },
        exitCode: 3,
        message: /a row is written twice$/,
      },
      {
        rows: { [written]: (rows) => rows.filter(({ action }) => action !== "updated") },
        exitCode: 3,
        message: /the old rows of "public\.\w+" are not those that were written$/,
      },
      {
        rows: { [written]: edit({ key: '{"id":"no uuid"}' }) },
        exitCode: 3,
        message: /the key of a row that was written cannot be read$/,
      },
      {
        rows: { [written]: edit({ table: "public.agents" }) },
        exitCode: 3,
        message: /its header lacks the table "public\.agents"$/,
      },
      {
        rows: { [written]: edit({ action: "dropped" }) },
        exitCode: 3,
        message: /column "action" is none of the allowed values$/,
      },
      {
        rows: { [written]: edit({ after: "0".repeat(32) }) },
        exitCode: 4,
        message: /has been changed since; nothing was undone$/,
      },
      {
        header: (header) => ({
          ...header,
          tables: header.tables.map((table) =>
            table.name === "public.api_keys"
              ? { ...table, name: "public.schema_migrations" }
              : table,
          ),
        }),
        exitCode: 4,
        message: /^the table "public\.schema_migrations" has not all the columns any more/,
      },
      {
        header: ({ receipt: _, ...header }) => header,
        exitCode: 2,
        message: /is a bundle, not a receipt$/,
      },
    ];
    for (const { exitCode, message, ...forgery } of cases) {
      const path = join(folder, "forged");
      await writeFile(path, await forge(honest, forgery));
      await assertRefused(undoable, path, {}, { exitCode, message });
    }
    assert.equal((await undo(undoable, receipt)).applied, true);
  }));
