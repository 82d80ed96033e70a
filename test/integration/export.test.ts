import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import { rowsAsJson } from "../../src/tenant/export.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import {
  exportBundle,
  type ReadBundle,
  readWholeBundle,
  rowsOf,
  withTenantSchema,
} from "../harness/tenant-bundle.ts";

const tenants = ["acme", "globex", "initech"] as const;

suite("an export of N-Kudo's tenants", () => {
  let database: TestDatabase;
  let bundles: readonly ReadBundle[];

  before(async () => {
    database = await createDatabase("export", "n-kudo", { settings: { "seed.big": "off" } });
    bundles = await Promise.all(
      tenants.map(async (tenant) =>
        readWholeBundle((await exportBundle(database.url, tenant)).bytes),
      ),
    );
  });
  after(() => database.drop());

  test("of an unchanged tenant differs from the last one in header and trailer only", async () => {
    for (const layout of ["jsonl", "json"] as const) {
      const one = await linesOfAcme(layout);
      // The header's time has milliseconds; two exports within one would have the same header.
      await sleep(2);
      const two = await linesOfAcme(layout);
      assert.equal(one.length, two.length);
      const differing = one.flatMap((line, i) => (line === two[i] ? [] : [i]));
      assert.deepEqual(differing, [0, one.length - 2]);
    }

    async function linesOfAcme(layout: "jsonl" | "json"): Promise<readonly string[]> {
      const { bytes } = await exportBundle(database.url, "acme", { layout });
      return bytes.toString("utf8").split("\n");
    }
  });

  test("has every row of every table of every tenant in exactly one bundle", async () => {
    await withTenantSchema(database.url, async (_session, schema) => {
      assert.equal(schema.tables.length, 21);
      for (const table of schema.tables) {
        const lines = bundles.flatMap(
          (bundle) => bundle.tables.find((entry) => entry.name === table.name)?.lines ?? [],
        );
        // One revoked certificate of the seed belongs to nobody.
        const ofNobody = table.name === "public.crl_entries" ? 1 : 0;
        const [total] = await database.query<{ count: string }>(
          `SELECT count(*) FROM "${table.relation}"`,
        );
        assert.equal(lines.length, Number(total?.count) - ofNobody, table.name);
        assert.equal(new Set(lines).size, lines.length, table.name);
        assert.ok(lines.length > 0, table.name);
      }
    });
  });

  test("finds a tenant's rows through an index on the tenant's key", async () => {
    const { id } = bundles[0]?.header.tenant ?? { id: "" };
    await withTenantSchema(database.url, async (session, schema) => {
      await session.client.query("SET enable_seqscan = off");
      const planOf = async (name: string) => {
        const table = schema.tables.find((each) => each.name === name);
        assert.ok(table);
        const { rows } = await sql<{ "QUERY PLAN": string }>`
          EXPLAIN ${rowsAsJson(schema, table, id)}`.execute(session.db);
        return rows.map((row) => row["QUERY PLAN"]).join("\n");
      };
      // Their own tenant_id, which may be NULL in the second; and that of the agents.
      const indexed = /Index Cond: .*tenant_id = /;
      for (const name of ["users", "audit_events", "certificate_history"]) {
        assert.match(await planOf(`public.${name}`), indexed, name);
      }
    });
  });

  test("has only rows that lead to its own tenant", async () => {
    for (const bundle of bundles) {
      const { id } = bundle.header.tenant;
      for (const { name, lines } of bundle.tables) {
        const foreign = lines.filter(
          (line) => line.includes('"tenant_id":') && !line.includes(`"tenant_id":"${id}"`),
        );
        assert.deepEqual(foreign, [], name);
      }
    }
  });

  test("has sections parents first, and rows in the order of their keys", () => {
    const [bundle] = bundles;
    assert.ok(bundle);
    const names = bundle.tables.map((table) => table.name);
    for (const table of bundle.header.tables) {
      for (const { table: parent } of table.references) {
        assert.ok(names.indexOf(parent) <= names.indexOf(table.name), `${table.name}: ${parent}`);
      }
      const ids: readonly (string | number)[] = rowsOf(bundle, table.name).map(
        (row) => row[table.primaryKey[0] ?? ""] as string | number,
      );
      assert.deepEqual(
        ids,
        ids.toSorted((a, b) => (a < b ? -1 : 1)),
        table.name,
      );
    }
  });

  test("tells how many rows and bytes it has written, and that it looked at each", async () => {
    const { bytes, result } = await exportBundle(database.url, "acme", { compression: "zstd" });
    const bundle = await readWholeBundle(bytes);
    assert.equal(result.bytes, bytes.length);
    assert.equal(result.rows, bundle.trailer.rows);
    assert.deepEqual(
      result.tables,
      bundle.tables.map((table) => table.end),
    );
    assert.equal(result.validated, true);
    assert.deepEqual(result.tenant, {
      id: bundle.header.tenant.id,
      slug: "acme",
      name: "Acme Corporation",
    });
    assert.equal(bundle.header.source.migrations.length, 11);
    assert.equal(bundle.header.source.database, database.name);
    assert.match(bundle.header.source.snapshotLsn, /^[0-9A-F]+\/[0-9A-F]+$/);
  });

  test("is the same whether or not rows are validated, and in whatever form", async () => {
    const [first] = bundles;
    assert.ok(first);
    for (const choice of [
      { validate: false },
      { layout: "json" },
      { compression: "gzip" },
      { compression: "zstd", layout: "json" },
    ] as const) {
      const { bytes, result } = await exportBundle(database.url, "acme", choice);
      assert.equal(result.validated, !("validate" in choice));
      const { tables } = await readWholeBundle(bytes);
      assert.deepEqual(tables, first.tables);
    }
  });
});

suite("an export cannot be made", () => {
  let database: TestDatabase;
  let asRole: (role: string) => string;

  before(async () => {
    database = await createDatabase("export refused", "n-kudo", {
      settings: { "seed.big": "off" },
    });
    asRole = (role) => {
      const url = new URL(database.url);
      url.username = role;
      url.password = "secret word";
      return url.href;
    };
  });
  after(() => database.drop());

  test("while a row refers to another tenant's row: exit 4, each one named", async () => {
    await database.query(`
      CREATE TABLE saved AS SELECT id, network_id FROM vxlan_tunnels;
      UPDATE vxlan_tunnels SET network_id = (
        SELECT n.id FROM vxlan_networks n JOIN tenants t ON t.id = n.tenant_id
         WHERE t.slug = 'globex' ORDER BY n.id LIMIT 1)
       WHERE id = (SELECT x.id FROM vxlan_tunnels x JOIN hosts h ON h.id = x.host_id
                     JOIN tenants t ON t.id = h.tenant_id WHERE t.slug = 'acme'
                    ORDER BY x.id LIMIT 1)`);
    const [row] = await database.query<{ id: string }>(
      "SELECT id FROM vxlan_tunnels JOIN saved USING (id) WHERE vxlan_tunnels.network_id <> saved.network_id",
    );
    // Which of the two keys says whose the row is decides in whose export it turns up.
    const refused = await Promise.allSettled(
      ["acme", "globex"].map((tenant) =>
        exportBundle(database.url, tenant, { acceptUnclassified: true }),
      ),
    );
    const errors = refused.flatMap((outcome) =>
      outcome.status === "rejected" ? [outcome.reason as Record<string, unknown>] : [],
    );
    assert.equal(errors.length, 1);
    assert.equal(errors[0]?.code, "cross-tenant-reference");
    assert.equal(errors[0]?.exitCode, 4);
    assert.match(
      String(errors[0]?.message),
      /^1 row\(s\) of tenant "(acme|globex)" refer to rows of another tenant$/,
    );
    assert.equal(
      String(errors[0]?.details).replace(
        /(host|network)_id -> public\.(hosts|vxlan_networks)/,
        "…",
      ),
      `public.vxlan_tunnels (id)=(${row?.id}): …`,
    );
    await database.query(
      "UPDATE vxlan_tunnels v SET network_id = s.network_id FROM saved s WHERE s.id = v.id; DROP TABLE saved",
    );
    await exportBundle(database.url, "acme");
  });

  test("while an attachment joins one tenant's VM to another's network: exit 4", async () => {
    await database.query(`
      INSERT INTO vm_network_attachments (id, vm_id, network_id)
      SELECT '00000000-0000-0000-0000-000000000001', v.id, n.id
        FROM microvms v JOIN tenants a ON a.id = v.tenant_id AND a.slug = 'acme',
             vxlan_networks n JOIN tenants g ON g.id = n.tenant_id AND g.slug = 'globex'
       ORDER BY v.id, n.id LIMIT 1`);
    const outcomes = await Promise.allSettled(
      ["acme", "globex"].map((tenant) => exportBundle(database.url, tenant)),
    );
    const errors = outcomes.flatMap((o) =>
      o.status === "rejected" ? [o.reason as { exitCode: number; details: string[] }] : [],
    );
    assert.equal(errors.length, 1);
    assert.equal(errors[0]?.exitCode, 4);
    assert.match(
      String(errors[0]?.details),
      /^public\.vm_network_attachments \(id\)=\(00000000-0000-0000-0000-000000000001\): /,
    );
    await exportBundle(database.url, "initech");
    await database.query(
      "DELETE FROM vm_network_attachments WHERE id = '00000000-0000-0000-0000-000000000001'",
    );
  });

  test("by a role that row-level security would show less to: exit 7", async () => {
    await database.query(`
      DROP ROLE IF EXISTS export_reader;
      CREATE ROLE export_reader LOGIN PASSWORD 'secret word';
      GRANT USAGE ON SCHEMA public TO export_reader;
      GRANT SELECT ON ALL TABLES IN SCHEMA public TO export_reader;
      ALTER TABLE sites ENABLE ROW LEVEL SECURITY;
      CREATE POLICY half ON sites FOR SELECT USING (name < 'M')`);
    await assert.rejects(exportBundle(asRole("export_reader"), "acme"), {
      code: "row-level-security",
      exitCode: 7,
      message:
        'row-level security would hide rows: query would be affected by row-level security policy for table "sites"',
    });
    await database.query("ALTER TABLE sites DISABLE ROW LEVEL SECURITY; DROP POLICY half ON sites");
  });

  test("by a role that lacks rights on a table: exit 7, the table named", async () => {
    await database.query("REVOKE SELECT ON audit_events FROM export_reader");
    await assert.rejects(exportBundle(asRole("export_reader"), "acme"), {
      code: "insufficient-privilege",
      exitCode: 7,
      message: "the role has too few rights: permission denied for table audit_events",
    });
    await database.query("GRANT SELECT ON audit_events TO export_reader");
    const { result } = await exportBundle(asRole("export_reader"), "acme");
    assert.ok(result.rows > 100);
    await database.query("DROP OWNED BY export_reader; DROP ROLE export_reader");
  });

  test("with a row longer than allowed: exit 3, the row named, and the connection is free again", async () => {
    await database.query(`
      INSERT INTO execution_logs (tenant_id, execution_id, sequence, severity, message, emitted_at)
      SELECT e.tenant_id, e.id, 1000 + n, 'INFO', repeat('long ', 40000), now()
        FROM (SELECT e.* FROM executions e JOIN tenants t ON t.id = e.tenant_id
               WHERE t.slug = 'acme' ORDER BY e.id LIMIT 1) e, generate_series(1, 100) n`);
    for (const validate of [true, false]) {
      const started = performance.now();
      await assert.rejects(
        exportBundle(database.url, "acme", { maxRowBytes: 100_000, validate }),
        (error: { exitCode: number; message: string; hint: string }) => {
          assert.equal(error.exitCode, 3);
          assert.match(
            error.message,
            validate
              ? /^row \d+ of table "public\.execution_logs" is invalid: it is longer than 100000 bytes$|^a row of table "public\.execution_logs" is longer than 100000 bytes$/
              : /^a row of table "public\.execution_logs" is longer than 100000 bytes$/,
          );
          assert.match(error.hint, /--max-row-size/);
          return true;
        },
      );
      assert.ok(performance.now() - started < 10_000);
    }
    await exportBundle(database.url, "acme", { maxRowBytes: 300_000 });
  });
});
