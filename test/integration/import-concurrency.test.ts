import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { TestDatabase } from "../harness/database.ts";
import {
  deleteTenant,
  freshBundle,
  importBytes,
  tenantDigests,
  withDatabase,
} from "../harness/import.ts";
import { exportBundle, readWholeBundle } from "../harness/tenant-bundle.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";

/** Statements that write to every table, one tenant's rows only. */
async function writesOf(database: TestDatabase, slug: string): Promise<readonly string[]> {
  const tenant = `(SELECT id FROM tenants WHERE slug = '${slug}')`;
  const columns = await database.query<{ table: string; column: string }>(`
    SELECT c.relname AS table, min(a.attname) FILTER (WHERE a.attname NOT IN ('id', 'serial', 'tenant_id')) AS column
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
     WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
       AND c.relname <> 'schema_migrations'
     GROUP BY 1 ORDER BY 1`);
  const through: Readonly<Record<string, string>> = {
    tenants: `id = ${tenant}`,
    certificate_history: `agent_id IN (SELECT id FROM agents WHERE tenant_id = ${tenant})`,
    crl_entries: `agent_id IN (SELECT id FROM agents WHERE tenant_id = ${tenant})`,
    vxlan_tunnels: `host_id IN (SELECT id FROM hosts WHERE tenant_id = ${tenant})`,
    vm_network_attachments: `vm_id IN (SELECT id FROM microvms WHERE tenant_id = ${tenant})`,
  };
  return [
    ...columns.map(
      ({ table, column }) =>
        `UPDATE ${table} SET ${column} = ${column} WHERE ${through[table] ?? `tenant_id = ${tenant}`}`,
    ),
    `INSERT INTO execution_logs (tenant_id, execution_id, sequence, severity, message, emitted_at)
     SELECT tenant_id, id, 5000 + (random() * 1e12)::bigint, 'INFO', 'live', now() FROM executions
      WHERE tenant_id = ${tenant} LIMIT 1`,
    `INSERT INTO audit_events (tenant_id, actor_type, action, resource_type, resource_id)
     VALUES (${tenant}, 'SYSTEM', 'live', 'x', 'x')`,
    `DELETE FROM execution_logs WHERE message = 'live' AND id % 2 = 0 AND tenant_id = ${tenant}`,
  ];
}

interface Writer {
  /** Resolves to the longest time a write took, in milliseconds, and how many there were. */
  stop(): Promise<{ readonly slowest: number; readonly writes: number }>;
  count(): number;
}

async function startWriter(database: TestDatabase, slug: string): Promise<Writer> {
  const statements = await writesOf(database, slug);
  const client = await database.connect();
  let running = true;
  let slowest = 0;
  let writes = 0;
  const work = (async () => {
    while (running) {
      for (const statement of statements) {
        const begun = performance.now();
        await client.query(statement);
        slowest = Math.max(slowest, performance.now() - begun);
        writes += 1;
      }
    }
  })();
  return {
    count: () => writes,
    async stop() {
      running = false;
      await work;
      return { slowest, writes };
    },
  };
}

test("an import blocks no write of another tenant, from its first byte to its COMMIT", () =>
  withDatabase("concurrency-writers", async (database) => {
    // Enough rows for staging and applying to take their time.
    await database.query(`
      INSERT INTO execution_logs (tenant_id, execution_id, sequence, severity, message, emitted_at)
      SELECT e.tenant_id, e.id, 1000 + n, 'INFO', repeat('x', 100), now()
        FROM (SELECT * FROM executions WHERE tenant_id = ${acme} LIMIT 1) e, generate_series(1, 40000) n`);
    const { bytes } = await exportBundle(database.url, "acme");
    const before = await tenantDigests(database);
    await deleteTenant(database, "acme");
    const writers = await Promise.all([
      startWriter(database, "globex"),
      startWriter(database, "initech"),
    ]);
    let atPlan = 0;
    const count = () => writers.reduce((sum, writer) => sum + writer.count(), 0);
    const atStart = count();
    await importBytes(database.url, bytes, {
      onPlan: () => {
        atPlan = count();
      },
    });
    const atEnd = count();
    const results = await Promise.all(writers.map((writer) => writer.stop()));
    assert.ok(atPlan - atStart > 50, `${atPlan - atStart} writes while staging`);
    assert.ok(atEnd - atPlan > 50, `${atEnd - atPlan} writes while applying`);
    // Less than the import would wait for a lock itself; a busy machine takes its time as well.
    for (const { slowest } of results) assert.ok(slowest < 8000, `a write took ${slowest} ms`);
    assert.deepEqual((await tenantDigests(database)).get("acme"), before.get("acme"));
  }));

test("a second import of the same tenant waits a while, then exits 5 and names the first", () =>
  withDatabase("concurrency-lock", async (database) => {
    const bundle = await freshBundle("acme");
    await deleteTenant(database, "acme");
    const holder = await database.connect();
    await holder.query(
      `SET application_name = 'pgtenant import on backup-host';
       SELECT pg_advisory_lock(x'70677465'::int, hashtext('${(await readTenant(bundle)).id}'))`,
    );
    await assert.rejects(importBytes(database.url, bundle), {
      code: "tenant-locked",
      exitCode: 5,
      message:
        /^another import of tenant "acme" is running: pgtenant import on backup-host \(server process \d+.*, since \d{4}-/,
    });
    const planned = await importBytes(database.url, bundle, { dryRun: true });
    assert.equal(planned.applied, false, "a dry run needs no lock");
    await holder.query("SELECT pg_advisory_unlock_all()");
    const { applied } = await importBytes(database.url, bundle);
    assert.equal(applied, true);
  }));

test("two imports of one tenant at once: the second finds everything there", () =>
  withDatabase("concurrency-twice", async (database) => {
    const bundle = await freshBundle("acme");
    const before = await tenantDigests(database);
    await deleteTenant(database, "acme");
    const results = await Promise.all([1, 2].map(() => importBytes(database.url, bundle)));
    assert.deepEqual(results.map((result) => result.applied).sort(), [false, true]);
    assert.deepEqual(await tenantDigests(database), before);
  }));

test("imports of different tenants run at the same time", () =>
  withDatabase("concurrency-tenants", async (database) => {
    const bundles = [await freshBundle("acme"), await freshBundle("globex")];
    const before = await tenantDigests(database);
    await deleteTenant(database, "acme");
    await deleteTenant(database, "globex");
    const results = await Promise.all(bundles.map((bytes) => importBytes(database.url, bytes)));
    assert.ok(results.every((result) => result.applied));
    assert.deepEqual(await tenantDigests(database), before);
  }));

test("a table that another session has locked is waited for, but not for ever", () =>
  withDatabase("concurrency-table-lock", async (database) => {
    const bundle = await freshBundle("acme");
    await deleteTenant(database, "acme");
    const other = await database.connect();
    await other.query("BEGIN; LOCK TABLE vxlan_networks IN SHARE MODE");
    await assert.rejects(importBytes(database.url, bundle), {
      code: "lock-timeout",
      exitCode: 5,
      message: /lock/,
    });
    const [row] = await database.query(
      "SELECT count(*) FROM sites s JOIN tenants t ON t.id = tenant_id WHERE slug = 'acme'",
    );
    assert.deepEqual(row, { count: "0" });
    await other.query("ROLLBACK");
  }));

test("rows of the tenant that change between plan and apply are not overwritten", () =>
  withDatabase("concurrency-changed", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`UPDATE sites SET name = name || '!' WHERE tenant_id = ${acme}`);
    await assert.rejects(
      importBytes(database.url, bundle, {
        mode: "overwrite",
        onPlan: () =>
          querySync(database.url, `UPDATE sites SET name = name || '?' WHERE tenant_id = ${acme}`),
      }),
      { code: "changed-meanwhile", exitCode: 4, message: /nothing was written/ },
    );
    const [row] = await database.query(
      `SELECT count(*) FROM sites WHERE tenant_id = ${acme} AND name LIKE '%!?'`,
    );
    assert.deepEqual(row, { count: "3" });
  }));

test("a row that another session inserts between plan and apply is refused as a whole", () =>
  withDatabase("concurrency-inserted", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`DELETE FROM sites WHERE name = 'Spare 3' AND tenant_id = ${acme}`);
    await assert.rejects(
      importBytes(database.url, bundle, {
        onPlan: () =>
          querySync(
            database.url,
            `INSERT INTO sites (tenant_id, name) VALUES (${acme}, 'Spare 3')`,
          ),
      }),
      {
        code: "constraint-violated",
        exitCode: 4,
        message: /sites_tenant_id_name_key.*; nothing was written$/,
      },
    );
    const [row] = await database.query(
      `SELECT count(*) FROM hosts h LEFT JOIN sites s ON s.id = site_id WHERE s.id IS NULL`,
    );
    assert.deepEqual(row, { count: "0" });
  }));

/** What another session does while the import stands still between two of its steps. */
function querySync(url: string, sql: string): void {
  const script = `
    import pg from "pg";
    const client = new pg.Client(process.argv[1]);
    await client.connect();
    await client.query(process.argv[2]);
    await client.end();`;
  const options = { cwd: fileURLToPath(new URL("../..", import.meta.url)) };
  execFileSync(process.execPath, ["--input-type=module", "-e", script, url, sql], options);
}

async function readTenant(bundle: Buffer): Promise<{ readonly id: string }> {
  return (await readWholeBundle(bundle)).header.tenant;
}
