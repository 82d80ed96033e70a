import assert from "node:assert/strict";
import { test } from "node:test";
import { withTransaction } from "../../src/postgres/session.ts";
import { makePlan } from "../../src/tenant/plan.ts";
import { openBundle, stageBundle } from "../../src/tenant/staging.ts";
import { failure } from "../harness/assert-failure.ts";
import type { TestDatabase } from "../harness/database.ts";
import {
  assertImportRefused,
  changesOf,
  digestOf,
  type ImportChoice,
  importBytes,
  importDefaults,
  withDatabase,
} from "../harness/import.ts";
import { exportBundle, inChunks, withTenantSchema } from "../harness/tenant-bundle.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
const spare = `name = 'Spare 3' AND tenant_id = ${acme}`;
const spareSite = `(SELECT id FROM sites WHERE ${spare})`;

function only(...select: string[]): ImportChoice {
  return { selection: { select, exclude: [] } };
}

/** 400 lines for each execution, 12,000 in all. */
async function addLog(database: TestDatabase): Promise<void> {
  await database.query(`
    INSERT INTO execution_logs (tenant_id, execution_id, sequence, severity, message, emitted_at)
    SELECT tenant_id, e.id, 100000 + n, 'INFO', 'line ' || n, '2026-06-01'
      FROM executions AS e, generate_series(1, 400) AS n WHERE tenant_id = ${acme}`);
}

for (const moved of [false, true]) {
  test(`of a long log only the chosen rows are staged${moved ? ", and those that have moved" : ""}`, () =>
    withDatabase("long-log", async (database) => {
      await addLog(database);
      await database.query(`
        INSERT INTO audit_events (tenant_id, actor_type, action, resource_type, resource_id)
        SELECT ${acme}, 'SYSTEM', 'x', 'y', n::text FROM generate_series(1, 8000) AS n;`);
      const { bytes } = await exportBundle(database.url, "acme");
      const before = await digestOf(database);
      if (moved) {
        // To another execution, and back again when the site is put right.
        await database.query(`
          UPDATE execution_logs SET sequence = -id, execution_id = (
              SELECT id FROM executions WHERE site_id = ${spareSite} ORDER BY id LIMIT 1)
           WHERE id IN (SELECT l.id FROM execution_logs AS l JOIN executions AS e ON e.id = execution_id
                         WHERE l.tenant_id = ${acme} AND site_id <> ${spareSite}
                         ORDER BY l.id DESC LIMIT 20);
          INSERT INTO execution_logs (tenant_id, execution_id, sequence, severity, message, emitted_at)
          SELECT tenant_id, id, -1, 'INFO', 'made since', '2026-07-01' FROM executions
           WHERE site_id = ${spareSite};`);
      } else await database.query(`DELETE FROM sites WHERE ${spare}`);
      const result = await importBytes(database.url, bytes, {
        ...only("site=Spare 3"),
        mode: moved ? "replace" : "missing",
      });
      assert.equal(
        changesOf(result).execution_logs,
        moved ? "update 20, delete 10" : "insert 4010",
      );
      const logs = result.plan.tables.find(({ table }) => table === "public.execution_logs");
      assert.equal(logs?.inBundle, 12_040);
      assert.equal(logs?.chosen, moved ? 4030 : 4010);
      const after = await digestOf(database);
      assert.deepEqual(after.tables, before.tables);
      // The log of another group, and of none.
      const since = { select: [], exclude: ["audit"], since: "2026-06-01" };
      const recent = await importBytes(database.url, bytes, { selection: since, dryRun: true });
      const rows = (name: string) => recent.plan.tables.find(({ table }) => table === name)?.chosen;
      assert.equal(rows("public.audit_events"), 0);
      assert.ok(Number(rows("public.execution_logs")) < 12_040);
      assert.ok(Number(rows("public.execution_logs")) >= 12_000);
    }));
}

test("a damaged line of a row that is not chosen still refuses the bundle", () =>
  withDatabase("damaged-outside", async (database) => {
    await database.query(`
      INSERT INTO audit_events (tenant_id, actor_type, action, resource_type, resource_id)
      SELECT ${acme}, 'SYSTEM', 'x', 'y', 'number ' || n FROM generate_series(1, 8000) AS n;`);
    const { bytes } = await exportBundle(database.url, "acme");
    await database.query(`DELETE FROM sites WHERE ${spare}`);
    const at = bytes.indexOf("number 7999");
    assert.ok(at > 0);
    const damaged = Buffer.from(bytes);
    damaged.write("Number", at);
    await assertImportRefused(database, damaged, only("site=Spare 3"), {
      exitCode: 3,
      message: /corrupt: .+the 8030 rows of table "public\.audit_events" are not those that were/,
    });
  }));

test("rows that come into the selection while the bundle is read have it run again", () =>
  withDatabase("came-meanwhile", async (database) => {
    await addLog(database);
    const { bytes } = await exportBundle(database.url, "acme");
    await withTenantSchema(database.url, async (session, schema) => {
      const options = { ...importDefaults, ...only("site=Spare 3") };
      const { header, parts } = await openBundle(inChunks(bytes), options);
      const staged = await stageBundle(session, schema, parts, header, options);
      const log = staged.tables.find(({ table }) => table.name === "public.execution_logs");
      assert.ok(log !== undefined && log.inBundle === 12_040 && log.rows < 7000, `${log?.rows}`);
      const plan = () =>
        withTransaction(session, "REPEATABLE READ", () =>
          makePlan(session, schema, staged, options),
        );
      await database.query(`
        UPDATE plans SET plan_version = 5000, site_id = ${spareSite}
         WHERE id = (SELECT plan_id FROM executions WHERE site_id <> ${spareSite} AND tenant_id = ${acme} LIMIT 1)`);
      await assert.rejects(
        plan(),
        failure(
          4,
          "changed-meanwhile",
          /^rows of "public\.executions" have come into the selection while the bundle was read, and rows of "public\.execution_logs" hang on them; nothing was written$/,
        ),
      );
    });
  }));
