import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import type { ColumnDifference } from "../../src/tenant/diff-types.ts";
import type { TestDatabase } from "../harness/database.ts";
import { deviationsOf, diffBytes } from "../harness/diff.ts";
import { assertUnchanged, digestOf } from "../harness/import.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const profile = { profile: otherProfile };

suite("a comparison in a schema that is not N-Kudo's", () => {
  let database: TestDatabase;
  let bundle: Buffer;

  before(async () => {
    database = await createOtherDatabase("diff other");
    // As bundles have them.
    await database.query("SET IntervalStyle = 'iso_8601'");
    await database.query("UPDATE app.accounts SET pin = 'old pin' WHERE account_no = 1");
    ({ bytes: bundle } = await exportBundle(database.url, "north", profile));
  });
  after(() => database.drop());

  test("finds every type equal to itself", async () => {
    const { summary, findings } = await diffBytes(database.url, bundle, profile);
    assert.deepEqual(findings, []);
    assert.equal(summary.equal, true);
    assert.equal(summary.tenant.slug, "north");
  });

  test("shows both sides of a value of every type as PostgreSQL's own text", async () => {
    const columns = await database.query<{ name: string; type: string }>(`
      SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
       WHERE attrelid = 'stock.oddities'::regclass AND attnum > 0 AND NOT attisdropped
         AND attname NOT IN ('no', 'account_no') ORDER BY attnum`);
    const was = await textsOf(columns);
    await database.query(
      `UPDATE stock.oddities SET ${columns.map(({ name }) => `${name} = NULL`).join(", ")} WHERE no = 11`,
    );
    const digest = await digestOf(database);
    const diff = await diffBytes(database.url, bundle, profile);
    await assertUnchanged(database, digest);
    assert.deepEqual(deviationsOf(diff), { "stock.oddities": "different 1" });
    const [finding] = diff.findings;
    assert.ok(finding?.kind === "different");
    assert.equal(finding.row, "(no)=(11)");
    const expected = columns.map(
      ({ name, type }): ColumnDifference => ({
        column: name,
        live: null,
        bundle: was.get(name) ?? null,
        ...(type === "bytea" ? { bytes: true } : {}),
      }),
    );
    assert.deepEqual(
      finding.columns.toSorted((a, b) => (a.column < b.column ? -1 : 1)),
      expected.toSorted((a, b) => (a.column < b.column ? -1 : 1)),
    );
    // Back to what it was, by the bundle's own values.
    const values = columns.map(({ name, type }) => `${name} = $q$${was.get(name)}$q$::${type}`);
    await database.query(`UPDATE stock.oddities SET ${values.join(", ")} WHERE no = 11`);
    assert.equal((await diffBytes(database.url, bundle, profile)).summary.equal, true);
  });

  async function textsOf(columns: readonly { name: string }[]) {
    const [row] = await database.query<Record<string, string>>(
      `SELECT ${columns.map(({ name }) => `${name}::text`).join(", ")} FROM stock.oddities WHERE no = 11`,
    );
    return new Map(Object.entries(row ?? {}));
  }

  test("tells values apart that compare as equal, and keeps long bytes short", async () => {
    await database.query(`
      UPDATE stock.oddities SET exact_2 = NULL, doc_b = '{"a":1.0}', bytes = repeat('ab', 9000)::bytea,
                                exact = 1.50 WHERE no = 51;`);
    const { bytes: first } = await exportBundle(database.url, "north", profile);
    await database.query(`
      UPDATE stock.oddities SET doc_b = '{"a":1.00}', bytes = repeat('ab', 9001)::bytea, exact = 1.5
       WHERE no = 51;`);
    const { findings } = await diffBytes(database.url, first, profile);
    const [finding] = findings;
    assert.ok(finding?.kind === "different" && findings.length === 1);
    const hex = `\\x${"6162".repeat(2500)}`;
    assert.deepEqual(finding.columns, [
      { column: "exact", live: "1.5", bundle: "1.50" },
      {
        column: "bytes",
        live: hex,
        bundle: hex,
        liveLength: 18_002,
        bundleLength: 18_000,
        bytes: true,
      },
      { column: "doc_b", live: '{"a": 1.00}', bundle: '{"a": 1.0}' },
    ]);
  });

  test("names keys of several columns, quoted names and secrets, and labels the tenant's row", async () => {
    await database.query(`
      UPDATE app.accounts SET pin = 'new pin', title = 'Renamed' WHERE account_no = 1;
      DELETE FROM app.categories WHERE account_no = 1 AND code = '';
      UPDATE app."Order ""Lines"" v1.2" SET "say ""price""" = 7 WHERE "Id" = (
        SELECT min("Id") FROM app."Order ""Lines"" v1.2" l JOIN app.customers c ON c.id = "customer.id"
         WHERE account_no = 1);
      DELETE FROM stock.oddities WHERE no = 51;`);
    const { findings } = await diffBytes(database.url, bundle, profile);
    const shown = findings.map((finding) => ({ ...finding, kind: finding.kind }));
    const account = shown.find(({ table }) => table === "app.accounts");
    assert.deepEqual(account, {
      kind: "different",
      table: "app.accounts",
      row: "(account_no)=(1)",
      label: "Renamed",
      columns: [
        { column: "title", live: "Renamed", bundle: "North & Sons" },
        { column: "pin", secret: true },
      ],
    });
    assert.deepEqual(
      shown.find(({ table }) => table === "app.categories"),
      { kind: "only-in-bundle", table: "app.categories", row: "(account_no, code)=(1, )" },
    );
    const line = findings.find(({ table }) => table === 'app."Order ""Lines"" v1.2"');
    assert.ok(line?.kind === "different");
    assert.deepEqual(
      line.columns.map(({ column }) => column),
      ['say "price"'],
    );
    assert.doesNotMatch(JSON.stringify(findings), /new pin|old pin/);
  });
});
