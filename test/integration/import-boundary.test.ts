import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { AppError } from "../../src/errors.ts";
import type { Conflict } from "../../src/tenant/conflicts.ts";
import type { ImportMode } from "../../src/tenant/import-types.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { edit, type ForgedRow, type Forgery, forge } from "../harness/forge.ts";
import {
  assertImportRefused,
  deleteTenant,
  importBytes,
  tenantDigests,
  withDatabase,
} from "../harness/import.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const modes: readonly ImportMode[] = ["missing", "overwrite", "replace"];

/** Acme's bundle; in the database acme is gone, globex is the other tenant. */
describe("a bundle cannot leave its tenant", () => {
  let database: TestDatabase;
  let bundle: Buffer;
  let acme: string;
  let globex: string;

  before(async () => {
    database = await createDatabase("import-boundary", "n-kudo", {
      settings: { "seed.big": "off" },
    });
    bundle = (await exportBundle(database.url, "acme")).bytes;
    acme = await idOf("tenants", "slug = 'acme'");
    globex = await idOf("tenants", "slug = 'globex'");
    await deleteTenant(database, "acme");
  });
  after(() => database.drop());

  async function idOf(table: string, condition: string): Promise<string> {
    const [row] = await database.query<{ id: string }>(
      `SELECT id FROM ${table} WHERE ${condition} ORDER BY id LIMIT 1`,
    );
    assert.ok(row !== undefined);
    return row.id;
  }

  /** A row of globex, found by its owner. */
  const globexId = (table: string) =>
    idOf(
      table,
      table === "vxlan_tunnels"
        ? `network_id IN (SELECT id FROM vxlan_networks WHERE tenant_id = '${globex}')`
        : `tenant_id = '${globex}'`,
    );

  async function refused(
    forgery: Forgery,
    message: RegExp,
    mode: ImportMode = "missing",
  ): Promise<readonly Conflict[]> {
    const others = await tenantDigests(database);
    const error: AppError = await assertImportRefused(
      database,
      await forge(bundle, forgery),
      { mode },
      { exitCode: 4, message, hint: /only write its own tenant's rows/ },
    );
    assert.deepEqual(await tenantDigests(database), others);
    return error.data.conflicts as readonly Conflict[];
  }

  test("by another tenant's id, in any table, each row listed", async () => {
    const tables = [
      "users",
      "sites",
      "hosts",
      "agents",
      "microvms",
      "plans",
      "executions",
      "execution_logs",
      "audit_events",
      "api_keys",
      "enrollment_tokens",
      "plan_actions",
      "password_reset_tokens",
      "email_verification_tokens",
      "project_invitations",
      "vxlan_networks",
    ];
    const conflicts = await refused(
      { rows: Object.fromEntries(tables.map((table) => [table, edit({ tenant_id: globex })])) },
      /rows stand against this import/,
    );
    assert.deepEqual(
      conflicts
        .filter((c) => c.reason === "names another tenant in tenant_id")
        .map((c) => c.table.replace("public.", ""))
        .sort(),
      [...tables].sort(),
    );
  });

  test("by many rows of one table: each is listed", async () => {
    const all = (rows: ForgedRow[]) => rows.map((row) => ({ ...row, tenant_id: globex }));
    const conflicts = await refused({ rows: { execution_logs: all } }, /rows stand against/);
    const own = conflicts.filter((c) => c.reason === "names another tenant in tenant_id");
    assert.equal(new Set(own.map((c) => c.row)).size, 40);
  });

  test("through a foreign key, in tables with and without a tenant column", async () => {
    const references: readonly (readonly [string, string, string])[] = [
      ["certificate_history", "agent_id", "agents"],
      ["crl_entries", "agent_id", "agents"],
      ["vxlan_tunnels", "network_id", "vxlan_networks"],
      ["vxlan_tunnels", "host_id", "hosts"],
      ["vm_network_attachments", "vm_id", "microvms"],
      ["vm_network_attachments", "network_id", "vxlan_networks"],
      ["password_reset_tokens", "user_id", "users"],
      ["email_verification_tokens", "user_id", "users"],
      ["vxlan_networks", "site_id", "sites"],
      ["project_invitations", "invited_by_user_id", "users"],
    ];
    const rows: Record<string, (rows: ForgedRow[]) => ForgedRow[]> = {};
    for (const [at, [table, column, target]] of references.entries()) {
      const before = rows[table] ?? ((all: ForgedRow[]) => all);
      const id = await globexId(target);
      // Each forgery in a row of its own.
      rows[table] = (all) => before(all).with(at % 2, { ...all[at % 2], [column]: id });
    }
    const conflicts = await refused({ rows }, /^10 rows stand against this import/);
    assert.deepEqual(
      conflicts.map((c) => [c.table, c.reason]).sort(),
      references
        .map(([table, column, target]) => [
          `public.${table}`,
          `refers to a row of "public.${target}" that belongs to another tenant (${column})`,
        ])
        .sort(),
    );
  });

  test("through a foreign key that carries the tenant's id along", async () => {
    const [site, user] = [await globexId("sites"), await globexId("users")];
    const conflicts = await refused(
      { rows: { hosts: edit({ site_id: site }), audit_events: edit({ actor_user_id: user }) } },
      /^2 rows stand against this import/,
    );
    assert.deepEqual(
      conflicts.map((c) => c.reason),
      [
        'refers to a row of "public.sites" that is neither in the bundle nor in the database (site_id, tenant_id)',
        'refers to a row of "public.users" that is neither in the bundle nor in the database (actor_user_id, tenant_id)',
      ],
    );
  });

  test("by a reference to nothing", async () => {
    await refused(
      { rows: { vxlan_tunnels: edit({ host_id: "00000000-0000-0000-0000-000000000000" }) } },
      /refers to a row of "public\.hosts" that is neither in the bundle nor in the database/,
    );
  });

  for (const mode of modes) {
    test(`by the key of another tenant's live row, in mode ${mode}`, async () => {
      const [site, tunnel] = [await globexId("sites"), await globexId("vxlan_tunnels")];
      const conflicts = await refused(
        {
          rows: {
            // A spare site, so that nothing else of the bundle refers to it by a column of its own.
            sites: edit({ id: site }, (row) => row.name === "Spare 3"),
            vxlan_tunnels: edit({ id: tunnel }),
          },
        },
        /rows stand against this import/,
        mode,
      );
      for (const table of ["public.sites", "public.vxlan_tunnels"]) {
        assert.ok(
          conflicts.some(
            (c) => c.table === table && c.reason === "exists and belongs to another tenant",
          ),
          `${table}: ${JSON.stringify(conflicts)}`,
        );
      }
    });
  }

  test("by a header that names one tenant and rows that are another's", async () => {
    const conflicts = await refused(
      { header: (header) => ({ ...header, tenant: { ...header.tenant, id: globex } }) },
      /./,
    );
    assert.ok(
      conflicts.some((c) => c.row === `(id)=(${acme})` && /another tenant than/.test(c.reason)),
    );
  });

  test("by a header that names no possible tenant", async () => {
    await refused(
      { header: (header) => ({ ...header, tenant: { ...header.tenant, id: "1'; DROP" } }) },
      /is another tenant than the one that the bundle's header names/,
    );
  });

  test("by a second tenant's row", async () => {
    const conflicts = await refused(
      {
        rows: {
          tenants: (rows) => [...rows, { ...rows[0], id: globex, slug: "globex", name: "Mine" }],
        },
      },
      /another tenant than the one that the bundle's header names/,
    );
    assert.deepEqual(
      conflicts.map((c) => c.row),
      [`(id)=(${globex})`],
    );
  });

  test("by having no row of its tenant", async () => {
    await refused({ rows: { tenants: () => [] } }, /is missing from the bundle/);
    await refused(
      {
        header: (header) => ({
          ...header,
          tables: header.tables.filter((table) => table.name === "public.api_keys"),
        }),
      },
      /is missing from the bundle/,
    );
  });

  test("by an entry of the revocation list that is nobody's and says something else", async () => {
    const [nobody] = await database.query<{ serial: string }>(
      "SELECT serial FROM crl_entries WHERE serial LIKE '00orphan%'",
    );
    assert.ok(nobody !== undefined);
    for (const mode of modes) {
      await refused(
        {
          rows: {
            crl_entries: edit({ serial: nobody.serial, revoked_at: "2001-01-01T00:00:00+00:00" }),
          },
        },
        /\(serial\)=\(00orphan.* exists, belongs to no tenant, and differs from the bundle's row/,
        mode,
      );
    }
  });

  test("by rows that name no owner", async () => {
    await refused(
      { rows: { crl_entries: edit({ agent_id: null }) } },
      /crl_entries \(serial\)=.* names no owner/,
    );
  });

  test("and is imported when nothing of this is wrong with it", async () => {
    const { applied } = await importBytes(database.url, bundle);
    assert.equal(applied, true);
    await deleteTenant(database, "acme");
  });
});

test("a reference by name is not followed to another tenant that has taken the name since", () =>
  withDatabase("boundary-by-name", async (database) => {
    await database.query(`
      CREATE TABLE regions (id integer PRIMARY KEY, code text NOT NULL UNIQUE,
                            tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE);
      CREATE TABLE racks (id integer PRIMARY KEY, region text NOT NULL REFERENCES regions (code),
                          tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE);
      INSERT INTO regions SELECT 1, 'eu', id FROM tenants WHERE slug = 'acme';
      INSERT INTO racks SELECT 1, 'eu', id FROM tenants WHERE slug = 'acme'`);
    const { bytes } = await exportBundle(database.url, "acme");
    await database.query(`
      DELETE FROM racks;
      UPDATE regions SET code = 'old';
      INSERT INTO regions SELECT 2, 'eu', id FROM tenants WHERE slug = 'globex'`);
    await assertImportRefused(
      database,
      bytes,
      {},
      {
        exitCode: 4,
        message:
          /^public\.racks \(id\)=\(1\) refers to a row of "public\.regions" that belongs to another tenant \(region\)/,
      },
    );
  }));
