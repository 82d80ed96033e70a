import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestDatabase } from "../harness/database.ts";
import { handMadeId, makeSite } from "../harness/hand-made.ts";
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

/** Passes a column's values on from row to row, the last one's to the first. */
async function rotate(
  database: TestDatabase,
  table: string,
  column: string,
  rows: number,
): Promise<void> {
  await database.query(`
    CREATE TEMP TABLE rotated AS
      SELECT id, ${column} AS was, row_number() OVER (ORDER BY id) AS n
        FROM ${table} WHERE ${ofAcme} ORDER BY id LIMIT ${rows};
    UPDATE ${table} t SET ${column} = ${column === "vni" ? "-r.n" : "'parked ' || r.n"}
      FROM rotated r WHERE r.id = t.id;
    UPDATE ${table} t SET ${column} = next.was
      FROM rotated r JOIN rotated next ON next.n = r.n % ${rows} + 1 WHERE r.id = t.id;
    DROP TABLE rotated;`);
}

for (const [table, column] of [
  ["sites", "name"],
  ["vxlan_networks", "vni"],
] as const) {
  for (const rows of [2, 3]) {
    test(`overwrite puts back ${rows} rows of ${table} that have exchanged their ${column}`, () =>
      withDatabase("swaps", async (database) => {
        const bundle = await freshBundle("acme");
        const original = await digestOf(database);
        await rotate(database, table, column, rows);
        const result = await importBytes(database.url, bundle, { mode: "overwrite" });
        assert.deepEqual(changesOf(result), { [table]: `update ${rows}` });
        await assertUnchanged(database, original);
      }));
  }
}

test("overwrite gives a value to a new row that a changed row has taken", () =>
  withDatabase("swap-chain", async (database) => {
    const bundle = await freshBundle("acme");
    const original = await digestOf(database);
    await database.query(`
      DELETE FROM sites WHERE name = 'Spare 3' AND ${ofAcme};
      UPDATE sites SET name = 'Spare 3' WHERE external_key = '' AND ${ofAcme};`);
    await importBytes(database.url, bundle, { mode: "overwrite" });
    await assertUnchanged(database, original);
  }));

test("values whose column allows nothing in between are refused by the index's name", () =>
  withDatabase("swap-impossible", async (database) => {
    const bundle = await freshBundle("acme");
    await rotate(database, "vxlan_networks", "vni", 2);
    await database.query("ALTER TABLE vxlan_networks ADD CHECK (vni > 0)");
    await assertImportRefused(
      database,
      bundle,
      { mode: "overwrite" },
      {
        exitCode: 4,
        message:
          /exchange values of the unique index "vxlan_networks_vni_key".*nothing was written/,
        hint: /by hand first/,
      },
    );
  }));

test("replace puts a site back that was made again by hand under its old name", () =>
  withDatabase("made-again", async (database) => {
    const bundle = await freshBundle("acme");
    const original = await digestOf(database);
    await database.query(`DELETE FROM sites WHERE name = 'Spare 3' AND ${ofAcme}`);
    await makeSite(database, "Spare 3");
    const result = await importBytes(database.url, bundle, { mode: "replace" });
    const { sites } = changesOf(result);
    assert.equal(sites, "insert 1, delete 1");
    await assertUnchanged(database, original);
  }));

test("replace puts it back also when a VM of the bundle has moved to the one made by hand", () =>
  withDatabase("made-again-vm", async (database) => {
    const bundle = await freshBundle("acme");
    const original = await digestOf(database);
    const { site } = await makeSite(database, "By hand");
    await database.query(`
      UPDATE microvms SET site_id = '${site}', host_id = NULL
       WHERE site_id = (SELECT id FROM sites WHERE name = 'Spare 3' AND ${ofAcme});
      DELETE FROM sites WHERE name = 'Spare 3' AND ${ofAcme};
      UPDATE sites SET name = 'Spare 3' WHERE id = '${site}';`);
    const result = await importBytes(database.url, bundle, { mode: "replace" });
    const { sites, microvms = "" } = changesOf(result);
    assert.equal(sites, "insert 1, delete 1");
    assert.match(microvms, /^update \d+, delete 1$/);
    await assertUnchanged(database, original);
  }));

test("replace refuses it when an audit event holds the one made by hand", () =>
  withDatabase("made-again-audit", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`DELETE FROM sites WHERE name = 'Spare 3' AND ${ofAcme}`);
    await makeSite(database, "Spare 3");
    await database.query(`
      INSERT INTO audit_events (id, tenant_id, site_id, actor_type, action, resource_type, resource_id)
      SELECT 800001, tenant_id, id, 'SYSTEM', 'x', 'site', 'x' FROM sites WHERE id = '${handMadeId(1)}'`);
    await assertImportRefused(
      database,
      bundle,
      { mode: "replace" },
      {
        exitCode: 4,
        message:
          /^public\.sites \(id\)=.* has a value in \(tenant_id, name\) that the live row \(id\)=\(00000000-0000-4000-8000-000000000001\) holds; nothing was written$/,
      },
    );
  }));
