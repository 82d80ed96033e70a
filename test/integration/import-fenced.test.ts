import assert from "node:assert/strict";
import { test } from "node:test";
import type { ImportPlan, PlanNote } from "../../src/tenant/import-types.ts";
import {
  assertImportRefused,
  assertUnchanged,
  changesOf,
  deleteTenant,
  digestOf,
  freshBundle,
  importBytes,
  withDatabase,
} from "../harness/import.ts";
import { differingRows, rowTextsOf } from "../harness/row-texts.ts";
import { withSmallSchema } from "../harness/small-schema.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
const fencing = { keepInFlight: false } as const;

function fenced(plan: ImportPlan): readonly PlanNote[] {
  return plan.notes.filter((note) => note.kind === "fenced");
}

for (const tenant of ["acme", "globex"]) {
  test(`what comes back differs from what was lost in exactly the rows that the plan lists: ${tenant}`, () =>
    withDatabase("fenced", async (database) => {
      const bundle = await freshBundle(tenant);
      const before = await rowTextsOf(database);
      await deleteTenant(database, tenant);
      const { plan } = await importBytes(database.url, bundle, fencing);
      const listed = fenced(plan).map(({ table, row }) => `${table} ${row}`);
      assert.ok(listed.length > 20);
      assert.deepEqual(differingRows(before, await rowTextsOf(database)), listed.sort());

      const inFlight = await database.query<Record<string, string>>(`
        SELECT 'plan' AS of FROM plans AS p JOIN tenants AS t ON t.id = tenant_id
         WHERE slug = '${tenant}' AND (status IN ('PENDING', 'IN_PROGRESS')
            OR (status = 'CANCELLED' AND (leased_by_agent_id IS NOT NULL OR lease_expires_at IS NOT NULL)))
        UNION ALL SELECT 'execution' FROM executions JOIN tenants AS t ON t.id = tenant_id
         WHERE slug = '${tenant}' AND (state IN ('PENDING', 'IN_PROGRESS'))`);
      assert.deepEqual(inFlight, []);
      const [restored] = await database.query<{ count: string }>(
        "SELECT count(*) FROM executions WHERE state = 'FAILED' AND error_code = 'RESTORED'",
      );
      const executions = fenced(plan).filter(({ table }) => table === "public.executions");
      assert.equal(Number(restored?.count), executions.length);
      const reasons = new Set(fenced(plan).map(({ reason }) => reason));
      assert.deepEqual([...reasons].sort(), [
        "was IN_PROGRESS, comes back CANCELLED, so that it does not run again",
        "was IN_PROGRESS, comes back FAILED, so that it does not run again",
        "was PENDING, comes back CANCELLED, so that it does not run again",
        "was PENDING, comes back FAILED, so that it does not run again",
      ]);

      const after = await digestOf(database);
      for (const mode of ["missing", "overwrite", "replace"] as const) {
        const again = await importBytes(database.url, bundle, { ...fencing, mode });
        assert.equal(again.applied, false, mode);
        assert.deepEqual(
          [changesOf(again), fenced(again.plan).length > 0],
          [{}, mode !== "missing"],
        );
        assert.ok(again.plan.tables.every(({ inBundle, unchanged }) => inBundle === unchanged));
        await assertUnchanged(database, after);
      }
    }));
}

test("work that has ended since stays ended, and work that runs is left to the live system", () =>
  withDatabase("fenced-live", async (database) => {
    const bundle = await freshBundle("acme");
    const [ended, running] = await database.query<{ id: string }>(
      `SELECT id FROM plans WHERE tenant_id = ${acme} AND status = 'PENDING' ORDER BY id`,
    );
    const agent = `(SELECT id FROM agents WHERE tenant_id = ${acme} ORDER BY id LIMIT 1)`;
    await database.query(`
      UPDATE plans SET status = 'SUCCEEDED', leased_by_agent_id = NULL, lease_expires_at = NULL,
                       client_request_id = 'changed' WHERE id = '${ended?.id}';
      UPDATE plans SET status = 'IN_PROGRESS', leased_by_agent_id = ${agent},
                       lease_expires_at = '2030-01-01' WHERE id = '${running?.id}';
      UPDATE executions SET state = 'FAILED', error_code = 'KILLED'
       WHERE tenant_id = ${acme} AND state = 'IN_PROGRESS'`);
    const before = await rowTextsOf(database);
    const { plan } = await importBytes(database.url, bundle, { ...fencing, mode: "overwrite" });
    assert.deepEqual(differingRows(before, await rowTextsOf(database)), [
      `public.plans (id)=(${ended?.id})`,
    ]);
    const rows = await database.query(
      `SELECT status, leased_by_agent_id = ${agent} AS leased, lease_expires_at = '2030-01-01' AS until,
              client_request_id IS DISTINCT FROM 'changed' AS reset
         FROM plans WHERE id IN ('${ended?.id}', '${running?.id}') ORDER BY id`,
    );
    assert.deepEqual(rows[0], { status: "SUCCEEDED", leased: null, until: null, reset: true });
    assert.deepEqual(
      [rows[1]?.status, rows[1]?.leased, rows[1]?.until],
      ["IN_PROGRESS", true, true],
    );
    const reasonOf = (id = "") => fenced(plan).find(({ row }) => row?.includes(id))?.reason;
    assert.equal(reasonOf(ended?.id), "was PENDING, is SUCCEEDED by now, and stays so");
    assert.equal(
      reasonOf(running?.id),
      "was PENDING, is IN_PROGRESS by now, and is left to the system that works on it",
    );
    const again = await importBytes(database.url, bundle, { ...fencing, mode: "overwrite" });
    assert.equal(again.applied, false);
  }));

test("states of any type are fenced, and a value that does not fit its column is the profile's fault", () => {
  const firms = (code: string) => ({
    name: "firms",
    root: { table: "public.firms", key: "id", lookup: ["slug"] },
    inFlight: {
      "public.jobs": {
        column: "step",
        states: ["1", "2"],
        set: { step: "-1", code },
        clear: ["worker"],
      },
    },
  });
  const schema = `
    CREATE TABLE firms (id integer PRIMARY KEY, slug text UNIQUE);
    CREATE TABLE jobs (id integer PRIMARY KEY, firm integer NOT NULL REFERENCES firms ON DELETE CASCADE,
                       step smallint, worker text, code varchar(3));
    INSERT INTO firms VALUES (1, 'one');
    INSERT INTO jobs VALUES (1, 1, 1, 'w', NULL), (2, 1, 2, 'w', NULL), (3, 1, 3, NULL, 'x'), (4, 1, NULL, 'w', NULL);`;
  return withSmallSchema("fenced-other", schema, firms("end"), async (small) => {
    const { database, profile } = small;
    const { bytes } = await exportBundle(database.url, "one", { profile });
    await database.query("DELETE FROM firms");
    const choice = { ...fencing, profile };
    const { plan } = await importBytes(database.url, bytes, choice);
    assert.deepEqual(await database.query("SELECT * FROM jobs ORDER BY id"), [
      { id: 1, firm: 1, step: -1, worker: null, code: "end" },
      { id: 2, firm: 1, step: -1, worker: null, code: "end" },
      { id: 3, firm: 1, step: 3, worker: null, code: "x" },
      { id: 4, firm: 1, step: null, worker: "w", code: null },
    ]);
    assert.deepEqual(
      fenced(plan).map(({ row, reason }) => [row, reason]),
      [
        ["(id)=(1)", "was 1, comes back -1, so that it does not run again"],
        ["(id)=(2)", "was 2, comes back -1, so that it does not run again"],
      ],
    );
    await database.query("DELETE FROM firms");
    await small.describe(firms("much too long"));
    await assertImportRefused(database, bytes, choice, {
      exitCode: 2,
      message: /^profile "firms": "inFlight" of "public\.jobs" sets a value that its column/,
    });
  });
});

test("ten thousand rows are listed, and those beyond are counted", () => {
  const profile = {
    name: "firms",
    root: { table: "public.firms", key: "id", lookup: ["slug"] },
    inFlight: {
      "public.jobs": { column: "step", states: ["run"], set: { step: "end" }, clear: [] },
    },
  };
  const schema = `
    CREATE TABLE firms (id integer PRIMARY KEY, slug text UNIQUE);
    CREATE TABLE jobs (id integer PRIMARY KEY, firm integer NOT NULL REFERENCES firms ON DELETE CASCADE, step text);
    INSERT INTO firms VALUES (1, 'one');
    INSERT INTO jobs SELECT n, 1, 'run' FROM generate_series(1, 10005) AS n;`;
  return withSmallSchema("fenced-many", schema, profile, async ({ database, profile: path }) => {
    const { bytes } = await exportBundle(database.url, "one", { profile: path });
    await database.query("DELETE FROM firms");
    const { plan } = await importBytes(database.url, bytes, { ...fencing, profile: path });
    assert.equal(fenced(plan).length, 10_001);
    assert.deepEqual(fenced(plan).at(-1), {
      kind: "fenced",
      table: "public.jobs",
      reason: "5 more row(s) were in flight and come back end",
    });
    const [left] = await database.query("SELECT count(*) FROM jobs WHERE step <> 'end'");
    assert.deepEqual(left, { count: "0" });
  });
});
