import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { DiffFinding } from "../../src/tenant/diff-types.ts";
import { failure } from "../harness/assert-failure.ts";
import { deviationsOf, diffBytes, diffWith } from "../harness/diff.ts";
import { edit, forge } from "../harness/forge.ts";
import { handMadeId, makeSite } from "../harness/hand-made.ts";
import {
  assertUnchanged,
  changesOf,
  deleteTenant,
  digestOf,
  freshBundle,
  importBytes,
  withDatabase,
} from "../harness/import.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";

const of = <Kind extends DiffFinding["kind"]>(findings: readonly DiffFinding[], kind: Kind) =>
  findings.filter(
    (finding): finding is Extract<DiffFinding, { kind: Kind }> => finding.kind === kind,
  );

suite("a bundle compared with the live rows of its tenant", () => {
  test("is equal right after the export, and comparing it writes nothing", () =>
    withDatabase("diff-equal", async (database) => {
      const bundle = await freshBundle("acme");
      const before = await digestOf(database);
      const { summary, findings } = await diffBytes(database.url, bundle);
      await assertUnchanged(database, before);
      assert.equal(summary.equal, true);
      assert.equal(summary.tenantExists, true);
      assert.equal(summary.tenant.slug, "acme");
      assert.deepEqual(findings, []);
      assert.deepEqual(
        { ...summary.counts, equal: 0 },
        { onlyInBundle: 0, onlyLive: 0, different: 0, boundary: 0, equal: 0 },
      );
      assert.equal(summary.counts.equal, 260);
      assert.equal(summary.tables.length, 21);
      assert.deepEqual(summary.leftOut, []);
    }));

  test("tells rows only in the bundle, only live, and different, with their columns", () =>
    withDatabase("diff-kinds", async (database) => {
      const bundle = await freshBundle("acme");
      const sites = await database.query<{ id: string }>(
        `DELETE FROM sites WHERE tenant_id = ${acme} AND name = 'Spare 3' RETURNING id`,
      );
      const made = await makeSite(database, "Made since", 1);
      const [user] = await database.query<{ id: string; email: string; display_name: string }>(
        `SELECT id, email, display_name FROM users WHERE tenant_id = ${acme} ORDER BY id LIMIT 1`,
      );
      await database.query(`
        UPDATE users SET display_name = 'Renamed', password_hash = 'the new hash', last_login_at = NULL
         WHERE id = '${user?.id}'`);
      const before = await digestOf(database);
      const diff = await diffBytes(database.url, bundle);
      await assertUnchanged(database, before);

      assert.equal(diff.summary.equal, false);
      const planned = await importBytes(database.url, bundle, { mode: "replace", dryRun: true });
      const deviations = deviationsOf(diff);
      assert.equal(deviations.sites, "onlyInBundle 1, onlyLive 1");
      assert.equal(deviations.users, "different 1");
      // What the dry run of a replacement finds is what the comparison has found.
      const changes = changesOf(planned);
      for (const [table, change] of Object.entries(changes)) {
        const asDiff = change
          .replace("insert", "onlyInBundle")
          .replace("delete", "onlyLive")
          .replace(/update|relink/, "different");
        assert.equal(
          deviations[table]?.split(", ").sort().join(),
          asDiff.split(", ").sort().join(),
          table,
        );
      }

      assert.deepEqual(
        diff.findings.filter((finding) => finding.table === "public.sites"),
        [
          {
            kind: "only-in-bundle",
            table: "public.sites",
            row: `(id)=(${sites[0]?.id})`,
            label: "Spare 3",
          },
          {
            kind: "only-live",
            table: "public.sites",
            row: `(id)=(${made.site})`,
            label: "Made since",
          },
        ],
      );
      const [different] = of(diff.findings, "different").filter((f) => f.table === "public.users");
      assert.equal(different?.row, `(id)=(${user?.id})`);
      assert.equal(different?.label, user?.email);
      const columns = new Map(different?.columns.map((column) => [column.column, column]));
      assert.deepEqual(columns.get("display_name"), {
        column: "display_name",
        live: "Renamed",
        bundle: user?.display_name,
      });
      assert.deepEqual(columns.get("password_hash"), { column: "password_hash", secret: true });
      assert.ok(!columns.has("email"), "columns that are equal are not told");
      assert.doesNotMatch(JSON.stringify(diff), /the new hash|argon2|\$2[aby]\$/);
      const names = diff.summary.tables.map((table) => table.table);
      const order = diff.findings.map((finding) => names.indexOf(finding.table));
      assert.deepEqual(
        order,
        order.toSorted((a, b) => a - b),
        "table by table",
      );
    }));

  test("a tenant that is not there is only in the bundle, but for revocations that outlived it", () =>
    withDatabase("diff-gone", async (database) => {
      const bundle = await freshBundle("acme");
      await deleteTenant(database, "acme");
      const diff = await diffBytes(database.url, bundle);
      assert.equal(diff.summary.tenantExists, false);
      assert.deepEqual(
        { ...diff.summary.counts },
        { onlyInBundle: 254, onlyLive: 0, different: 6, boundary: 0, equal: 0 },
      );
      const different = of(diff.findings, "different");
      assert.deepEqual(
        [...new Set(different.map((finding) => finding.table))],
        ["public.crl_entries"],
      );
      assert.ok(
        different.every(({ columns: [column, ...more] }) => {
          return (
            more.length === 0 &&
            column?.column === "agent_id" &&
            "live" in column &&
            column.live === null
          );
        }),
      );
      assert.equal(diff.findings.length, 260);
    }));

  test("a row of another tenant's under a key of the bundle is named, and nothing of it told", () =>
    withDatabase("diff-boundary", async (database) => {
      const bundle = await freshBundle("acme");
      const [key] = await database.query<{ id: string }>(`
        UPDATE api_keys SET tenant_id = (SELECT id FROM tenants WHERE slug = 'globex'), name = 'of globex alone'
         WHERE id = (SELECT min(id::text)::uuid FROM api_keys WHERE tenant_id = ${acme})
        RETURNING id`);
      const diff = await diffBytes(database.url, bundle);
      assert.deepEqual(of(diff.findings, "boundary"), [
        {
          kind: "boundary",
          table: "public.api_keys",
          row: `(id)=(${key?.id})`,
          reason: "belongs to another tenant",
        },
      ]);
      assert.equal(diff.summary.counts.boundary, 1);
      assert.equal(diff.summary.equal, false);
      assert.doesNotMatch(JSON.stringify(diff), /globex/);
      // The same where all of the bundle would be new.
      await deleteTenant(database, "acme");
      const again = await diffBytes(database.url, bundle);
      assert.equal(again.summary.counts.boundary, 1);
      assert.doesNotMatch(JSON.stringify(again), /globex/);
    }));

  test("a row that belongs to nobody, and is another one, is named and not told either", () =>
    withDatabase("diff-orphan", async (database) => {
      const bundle = await freshBundle("acme");
      const [entry] = await database.query<{ serial: string }>(`
        UPDATE crl_entries SET agent_id = NULL, reason = 9 WHERE serial = (
          SELECT min(serial) FROM crl_entries WHERE agent_id IN (SELECT id FROM agents WHERE tenant_id = ${acme}))
        RETURNING serial`);
      const { findings } = await diffBytes(database.url, bundle);
      assert.deepEqual(findings, [
        {
          kind: "boundary",
          table: "public.crl_entries",
          row: `(serial)=(${entry?.serial})`,
          reason: "belongs to no tenant, and differs",
        },
      ]);
    }));

  test("values that are equal as numbers but not as text differ, and long ones are cut", () =>
    withDatabase("diff-values", async (database) => {
      const bundle = await freshBundle("acme");
      await database.query(`
        UPDATE execution_logs SET message = repeat('\u00e9', 25000) WHERE id = (
          SELECT min(id) FROM execution_logs WHERE tenant_id = ${acme})`);
      const [finding] = of((await diffBytes(database.url, bundle)).findings, "different");
      const [column] = finding?.columns ?? [];
      assert.ok(column !== undefined && "live" in column);
      assert.equal(column.column, "message");
      assert.equal(column.live, "\u00e9".repeat(10_000));
      assert.equal(column.liveLength, 25_000);
      assert.equal(column.bundleLength, undefined);
    }));

  test("needs no right but to read, and sees the same as the owner", () =>
    withDatabase("diff-reader", async (database) => {
      const bundle = await freshBundle("acme");
      await database.query(
        `UPDATE sites SET name = 'Elsewhere' WHERE name = 'Spare 3' AND tenant_id = ${acme}`,
      );
      const role = `diff_reader_${process.pid}`;
      await database.query(`
        CREATE ROLE ${role} LOGIN PASSWORD 'reader';
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role};`);
      try {
        const url = new URL(database.url);
        url.username = role;
        url.password = "reader";
        const asReader = await diffBytes(url.href, bundle);
        assert.deepEqual(asReader.findings, (await diffBytes(database.url, bundle)).findings);
        assert.equal(asReader.findings.length, 1);
      } finally {
        await database.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
      }
    }));

  test("a reading may be given up, be repeated, and be limited by table", () =>
    withDatabase("diff-reading", async (database) => {
      const bundle = await freshBundle("acme");
      await deleteTenant(database, "acme");
      const counted = await diffWith(database.url, bundle, async ({ findings }) => {
        for await (const _ of findings()) break;
        const given = findings();
        await given.next();
        await given.return(undefined);
        const few = await Array.fromAsync(findings(2));
        const all = await Array.fromAsync(findings());
        // The rest of this one is left to the end of the comparison.
        await findings().next();
        return { few, all: all.length };
      });
      assert.equal(counted.all, 260);
      const byTable = Map.groupBy(counted.few, (finding) => finding.table);
      assert.ok(byTable.size > 15);
      for (const [table, few] of byTable) assert.ok(few.length <= 2, table);
    }));

  test("what only one side has a place for is named", () =>
    withDatabase("diff-drift", async (database) => {
      const bundle = await freshBundle("acme");
      await database.query(`
        ALTER TABLE sites DROP COLUMN external_key;
        ALTER TABLE sites ADD COLUMN floor text DEFAULT 'ground';
        DROP TABLE vxlan_tunnels;
        CREATE TABLE racks (id integer PRIMARY KEY, tenant_id uuid NOT NULL REFERENCES tenants);
        INSERT INTO racks SELECT 1, id FROM tenants WHERE slug = 'acme'`);
      const { summary, findings } = await diffBytes(database.url, bundle);
      assert.deepEqual(summary.leftOut, [
        { column: "public.sites.external_key", reason: "the target has no place for it" },
        { table: "public.vxlan_tunnels", reason: "the target has no place for it" },
        { table: "public.racks", reason: "the bundle has no such table; 1 row(s) are live" },
        { column: "public.sites.floor", reason: "the bundle has no such column" },
      ]);
      const noPlace = of(findings, "no-place");
      assert.deepEqual(noPlace, findings);
      assert.deepEqual(
        noPlace.map(({ table, column }) => [table, column]),
        [
          ["public.sites", "external_key"],
          ["public.vxlan_tunnels", undefined],
        ],
      );
      assert.match(noPlace[1]?.reason ?? "", /^\d+ row\(s\), and the target has no such table$/);
      assert.equal(summary.equal, false);
      assert.equal(
        summary.tables.find((table) => table.table === "public.vxlan_tunnels")?.onlyInBundle,
        summary.counts.onlyInBundle,
      );
    }));

  test("a bundle that does not hold the tenant it names is refused with exit 4", () =>
    withDatabase("diff-root", async (database) => {
      const bundle = await freshBundle("acme");
      const other = await forge(bundle, { rows: { tenants: edit({ id: handMadeId(7) }) } });
      await assert.rejects(
        diffBytes(database.url, other),
        failure(
          4,
          "tenant-boundary",
          /is another tenant than the one that the bundle's header names/,
        ),
      );
      const none = await forge(bundle, {
        header: (header) => ({ ...header, tenant: { ...header.tenant, id: "no uuid" } }),
        rows: { tenants: () => [] },
      });
      await assert.rejects(
        diffBytes(database.url, none),
        failure(4, "tenant-boundary", /is missing from the bundle/),
      );
      await assert.rejects(
        diffBytes(database.url, bundle.subarray(0, -200)),
        failure(3, "incomplete-bundle", /./),
      );
    }));
});
