import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { ImportPlan } from "../../src/tenant/import-types.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { type HandMadeSite, handMadeId, makeSite } from "../harness/hand-made.ts";
import { digestOf } from "../harness/import.ts";
import { withTenantSchema } from "../harness/tenant-bundle.ts";
import { type Model, readModel } from "../harness/tenant-model.ts";

/*
 * What the program is for: an hour ago somebody deleted a site by mistake, and two VMs of another
 * one; the tenant has worked on since. Exactly these come back, after a look at it, and go again.
 */

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
const berlin = [0, 1].map((n) => handMadeId(7000 + n));

interface Done {
  readonly plan: ImportPlan;
  readonly applied: boolean;
  readonly receipt: string | null;
}

suite("a site that was deleted by mistake", () => {
  let folder: string;
  let database: TestDatabase;
  let harbour: HandMadeSite;
  let saved: Model;
  let damaged: Model;
  let damagedDigest: Awaited<ReturnType<typeof digestOf>>;
  let planned: ImportPlan;
  let receipt: string;
  const bundle = () => join(folder, "acme.jsonl.zst");
  const selection = ["site=Harbour", ...berlin.map((id) => `microvms.id=${id}`)].flatMap((item) => [
    "--select",
    item,
  ]);

  const run = async (exitCode: number, ...args: string[]) => {
    const result = await pgtenant([...args, "--json"], {
      url: database.url,
      env: { BACKUP_DIR: folder },
    });
    assert.equal(result.code, exitCode, result.stderr);
    return { ...result, document: JSON.parse(result.stdout.toString()) as unknown };
  };
  const read = () =>
    withTenantSchema(database.url, async (session, schema) => {
      const rows = await database.query<{ id: string }>(`SELECT ${acme} AS id`);
      return await readModel(session, schema, rows[0]?.id ?? "");
    });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("surgical", "n-kudo");
    harbour = await makeSite(database, "Harbour", 6000);
    await database.query(`UPDATE plans SET status = 'SUCCEEDED' WHERE id = '${harbour.plan}';
      UPDATE executions SET state = 'SUCCEEDED' WHERE plan_id = '${harbour.plan}'`);
    for (const [n, id] of berlin.entries()) {
      await database.query(`INSERT INTO microvms (id, tenant_id, site_id, name, vcpu_count, memory_mib)
        SELECT '${id}', tenant_id, id, 'lost-${n}', 2, 512 FROM sites
         WHERE tenant_id = ${acme} AND name <> 'Harbour' ORDER BY name LIMIT 1`);
    }
    saved = await read();
  });

  after(async () => {
    await database.drop();
    await rm(folder, { recursive: true });
  });

  test("is exported with its tenant; then live work goes on, and it is lost", async () => {
    await run(0, "export", "acme", "-o", bundle());
    await makeSite(database, "Opened since", 6500);
    await database.query(`
      UPDATE users SET display_name = 'married since' WHERE tenant_id = ${acme} AND role = 'ADMIN';
      UPDATE microvms SET state = 'STOPPED' WHERE tenant_id = ${acme};
      INSERT INTO audit_events (tenant_id, actor_type, action, resource_type, resource_id)
        VALUES (${acme}, 'SYSTEM', 'site.opened', 'site', '${handMadeId(6500)}');
      DELETE FROM sites WHERE id = '${harbour.site}';
      DELETE FROM microvms WHERE id IN ('${berlin.join("', '")}')`);
    damaged = await read();
    damagedDigest = await digestOf(database);
    assert.equal(damaged.get("public.hosts")?.has(harbour.host), false);
  });

  test("diff shows what is lost", async () => {
    const { document } = await run(9, "diff", bundle(), ...selection);
    const { equal, counts, findings } = document as {
      readonly equal: boolean;
      readonly counts: Readonly<Record<string, number>>;
      readonly findings: readonly { readonly kind: string; readonly table: string }[];
    };
    assert.equal(equal, false);
    const only = findings.filter(({ kind }) => kind === "only-in-bundle").map(({ table }) => table);
    assert.deepEqual(only.sort(), [
      "public.agents",
      "public.execution_logs",
      "public.executions",
      "public.hosts",
      "public.microvms",
      "public.microvms",
      "public.microvms",
      "public.plans",
      "public.sites",
    ]);
    assert.deepEqual([counts.onlyInBundle, counts.different, counts.onlyLive], [9, 0, 0]);
  });

  test("a dry run tells what would come back, and changes nothing", async () => {
    const { document } = await run(0, "import", bundle(), ...selection, "--dry-run");
    planned = (document as Done).plan;
    const inserts = planned.tables.flatMap(({ table, insert }) =>
      insert === 0 ? [] : [[table, insert] as const],
    );
    assert.deepEqual(Object.fromEntries(inserts), {
      "public.sites": 1,
      "public.hosts": 1,
      "public.agents": 1,
      "public.microvms": 3,
      "public.plans": 1,
      "public.executions": 1,
      "public.execution_logs": 1,
    });
    assert.ok(
      planned.notes.some(
        ({ kind, table, reason }) =>
          kind === "along" && table === "public.hosts" && reason.includes(harbour.site),
      ),
      JSON.stringify(planned.notes),
    );
    assert.equal((await digestOf(database)).digest, damagedDigest.digest);
  });

  test("the plan that was looked at is what is done, and nothing else", async () => {
    const args = ["import", bundle(), ...selection, "--plan", planned.hash];
    const done = (await run(0, ...args)).document as Done;
    assert.deepEqual({ ...done.plan, sequences: [] }, { ...planned, sequences: [] });
    assert.equal(done.applied, true);
    receipt = done.receipt ?? "";
    const after = await read();
    let back = 0;
    for (const [table, rows] of after) {
      for (const [key, row] of rows) {
        const live = damaged.get(table)?.get(key);
        if (live !== undefined) assert.deepEqual(row, live, `${table} ${key} is as it was`);
        else {
          assert.deepEqual(row, saved.get(table)?.get(key), `${table} ${key} is the bundle's`);
          back += 1;
        }
      }
      for (const key of damaged.get(table)?.keys() ?? []) assert.ok(rows.has(key));
    }
    assert.equal(back, 9);
  });

  test("once more there is nothing to do, and diff finds that part equal", async () => {
    const again = (await run(0, "import", bundle(), ...selection)).document as Done;
    assert.deepEqual([again.applied, again.receipt ?? null], [false, null]);
    await run(0, "diff", bundle(), ...selection);
  });

  test("undo brings back the state before", async () => {
    assert.match(receipt, /receipts\/receipt_acme_\d{8}_\d{6}\.jsonl\.zst$/);
    await run(4, "undo", receipt);
    await run(0, "undo", receipt, "--yes");
    assert.deepEqual(await read(), damaged);
    const { tables } = await digestOf(database);
    assert.deepEqual(tables, damagedDigest.tables);
  });
});
