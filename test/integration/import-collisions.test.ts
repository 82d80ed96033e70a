import assert from "node:assert/strict";
import { test } from "node:test";
import type { Conflict } from "../../src/tenant/conflicts.ts";
import { edit, forge } from "../harness/forge.ts";
import { handMadeId, makeSite } from "../harness/hand-made.ts";
import { assertImportRefused, freshBundle, importBytes, withDatabase } from "../harness/import.ts";
import { readWholeBundle, rowsOf } from "../harness/tenant-bundle.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
const globex = "(SELECT id FROM tenants WHERE slug = 'globex')";

async function bundleRow(table: string, where: (row: Record<string, unknown>) => boolean) {
  const found = rowsOf(await readWholeBundle(await freshBundle("acme")), `public.${table}`).find(
    where,
  );
  assert.ok(found !== undefined);
  return found;
}

/** What has taken the place of lost rows, and what the refusal says of it. */
const collisions: readonly {
  readonly by: string;
  readonly sql: string;
  readonly table: string;
  readonly columns: string;
  /** The first major version of PostgreSQL that knows such a thing. */
  readonly since?: number;
}[] = [
  {
    by: "a slug that another tenant took",
    sql: `DELETE FROM tenants WHERE slug = 'acme';
      INSERT INTO tenants (id, slug, name) VALUES ('${handMadeId(1)}', 'acme', 'New Acme')`,
    table: "public.tenants",
    columns: "slug",
  },
  {
    by: "a vni that another tenant took",
    sql: `CREATE TEMP TABLE lost AS SELECT vni FROM vxlan_networks WHERE tenant_id = ${acme} ORDER BY vni LIMIT 1;
      DELETE FROM vxlan_networks WHERE vni IN (SELECT vni FROM lost);
      INSERT INTO vxlan_networks (id, tenant_id, name, vni, cidr)
        SELECT '${handMadeId(1)}', ${globex}, 'taken', vni, '10.9.0.0/16' FROM lost`,
    table: "public.vxlan_networks",
    columns: "vni",
  },
  {
    by: "an open invitation to the same address",
    sql: `CREATE TEMP TABLE lost AS SELECT * FROM project_invitations WHERE tenant_id = ${acme} AND status = 'PENDING';
      DELETE FROM project_invitations WHERE id IN (SELECT id FROM lost);
      UPDATE lost SET id = '${handMadeId(1)}', token_hash = 'another';
      INSERT INTO project_invitations SELECT * FROM lost`,
    table: "public.project_invitations",
    columns: "tenant_id, email, status",
  },
  {
    by: "an equal value of an index over an expression",
    sql: `CREATE UNIQUE INDEX ON api_keys (lower(key_hash));
      CREATE TEMP TABLE lost AS SELECT * FROM api_keys WHERE tenant_id = ${acme} ORDER BY id LIMIT 1;
      DELETE FROM api_keys WHERE id IN (SELECT id FROM lost);
      UPDATE lost SET id = '${handMadeId(1)}', key_hash = upper(key_hash);
      INSERT INTO api_keys SELECT * FROM lost`,
    table: "public.api_keys",
    columns: "lower(key_hash)",
  },
  {
    by: "NULL where NULLs are not distinct",
    sql: `CREATE TEMP TABLE lost AS SELECT * FROM enrollment_tokens
        WHERE tenant_id = ${acme} AND used_at IS NULL ORDER BY id LIMIT 1;
      DELETE FROM enrollment_tokens WHERE id IN (SELECT id FROM lost);
      UPDATE lost SET id = '${handMadeId(1)}', token_hash = 'another';
      INSERT INTO enrollment_tokens SELECT * FROM lost;
      CREATE UNIQUE INDEX ON enrollment_tokens (site_id, expires_at, used_at) NULLS NOT DISTINCT`,
    table: "public.enrollment_tokens",
    columns: "site_id, expires_at, used_at",
    since: 15,
  },
];

for (const { by, sql, table, columns, since = 14 } of collisions) {
  test(`an import is refused by ${by}`, (context) =>
    withDatabase("collision", async (database) => {
      const [server] = await database.query<{ major: number }>(
        "SELECT current_setting('server_version_num')::int / 10000 AS major",
      );
      if (Number(server?.major) < since) {
        context.skip(`PostgreSQL ${server?.major} does not know it`);
        return;
      }
      const bundle = await freshBundle("acme");
      await database.query(sql);
      const error = await assertImportRefused(
        database,
        bundle,
        {},
        {
          exitCode: 4,
          message:
            /that the live row \(id\)=\(00000000-0000-4000-8000-000000000001\) holds.*nothing was written$/,
          hint: /Rename or delete it, then import again/,
        },
      );
      assert.equal(error.code, "unique-collision");
      const conflicts = error.data.conflicts as readonly Conflict[];
      assert.deepEqual(
        conflicts.map((c) => [c.kind, c.table]),
        [["collision", table]],
      );
      assert.ok(conflicts[0]?.reason.includes(`(${columns})`), conflicts[0]?.reason);
    }));
}

test("every row that stands in the way of sites made again by hand is named at once", () =>
  withDatabase("collisions-many", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`DELETE FROM sites WHERE name = 'Spare 3' AND tenant_id = ${acme}`);
    const { site } = await makeSite(database, "Spare 3");
    const key = await bundleRow("api_keys", () => true);
    await database.query(`
      DELETE FROM api_keys WHERE id = '${key.id}';
      INSERT INTO api_keys (id, tenant_id, name, key_hash)
        VALUES ('${handMadeId(50)}', ${globex}, 'x', '${key.key_hash}');`);
    const error = await assertImportRefused(
      database,
      bundle,
      {},
      { exitCode: 4, message: /^2 rows stand against this import, such as/ },
    );
    const [atKey, atSite] = [...error.details].sort();
    assert.equal(
      atKey,
      `public.api_keys (id)=(${key.id}) has a value in (key_hash) that the live row (id)=(${handMadeId(50)}) holds`,
    );
    assert.match(atSite ?? "", new RegExp(`^public\\.sites .* \\(tenant_id, name\\).*${site}`));
  }));

test("a live row whose value does not meet the index's condition is no obstacle", () =>
  withDatabase("collision-partial", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`
      CREATE TEMP TABLE lost AS SELECT * FROM project_invitations WHERE tenant_id = ${acme} AND status = 'PENDING';
      DELETE FROM project_invitations WHERE id IN (SELECT id FROM lost);
      UPDATE lost SET id = '${handMadeId(1)}', token_hash = 'another', status = 'EXPIRED';
      INSERT INTO project_invitations SELECT * FROM lost`);
    const { applied } = await importBytes(database.url, bundle);
    assert.equal(applied, true);
  }));

test("rows of the bundle that share a key or a unique value are invalid, and named", () =>
  withDatabase("doubled", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query("DELETE FROM tenants WHERE slug = 'acme'");
    const doubled = await forge(bundle, {
      lines: { sites: ([first = "", ...others]) => [first, first, ...others] },
    });
    await assertImportRefused(
      database,
      doubled,
      {},
      {
        exitCode: 3,
        message:
          /^table "public\.sites" of the bundle holds 1 row\(s\) more than once, such as \(id\)=/,
      },
    );
    const sameName = await forge(bundle, {
      rows: { sites: edit({ name: "Spare 3" }, (row) => row.name !== "Spare 3") },
    });
    await assertImportRefused(
      database,
      sameName,
      {},
      {
        exitCode: 3,
        message:
          /^public\.sites \(id\)=\(.*\) shares its value in "sites_tenant_id_name_key" with another row of the bundle; nothing was written$/,
      },
    );
  }));
