import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { differences } from "../../src/tenant/digest.ts";
import type { TestDatabase } from "../harness/database.ts";
import { edit, forge } from "../harness/forge.ts";
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

const ofAcme = "tenant_id = (SELECT id FROM tenants WHERE slug = 'acme')";

describe("a bundle of an older schema in a newer database", () => {
  const old = () => freshBundle("acme", "n-kudo-0004");
  const password = new Map([["public.users.password_hash", "!reset"]]);

  test("is refused when a new row would lack a value that the database demands", () =>
    withDatabase("drift-newer", async (database) => {
      await deleteTenant(database, "acme");
      const error = await assertImportRefused(
        database,
        await old(),
        {},
        {
          exitCode: 4,
          message:
            /^the target demands a value that the bundle does not have: "public\.users\.password_hash"/,
          hint: /--set 'public\.users\.password_hash=VALUE'/,
        },
      );
      assert.deepEqual(error.data, { columns: ["public.users.password_hash"] });
    }));

  test("comes back with the value of --set, and defaults in the other new columns", () =>
    withDatabase("drift-newer-set", async (database) => {
      await deleteTenant(database, "acme");
      const { plan } = await importBytes(database.url, await old(), { set: password });
      assert.deepEqual(
        plan.notes.find((note) => note.kind === "set"),
        {
          kind: "set",
          table: "public.users",
          reason: "4 row(s) have no value in password_hash and get the one given with --set",
        },
      );
      const users = await database.query(`
        SELECT DISTINCT password_hash, email_verified, last_login_at, email_verified_at,
                        password_changed_at > now() - interval '1 hour' AS is_new
          FROM users WHERE ${ofAcme}`);
      assert.deepEqual(users, [
        {
          password_hash: "!reset",
          email_verified: false,
          last_login_at: null,
          email_verified_at: null,
          is_new: true,
        },
      ]);
      const again = await importBytes(database.url, await old(), { set: password });
      assert.equal(again.applied, false);
    }));

  test("needs no --set when none of the rows in question is missing", () =>
    withDatabase("drift-newer-there", async (database) => {
      const before = await digestOf(database);
      await database.query(`DELETE FROM sites WHERE name = 'Spare 3' AND ${ofAcme}`);
      const { applied } = await importBytes(database.url, await old());
      assert.equal(applied, true);
      const different = differences(before, await digestOf(database));
      assert.ok(
        different.every((table) => /vxlan|vm_network/.test(table)),
        different.join(),
      );
    }));

  test("never puts the value of --set over one that a live row has", () =>
    withDatabase("drift-newer-overwrite", async (database) => {
      const before = await digestOf(database);
      await database.query(`UPDATE users SET display_name = 'x' WHERE ${ofAcme}`);
      const result = await importBytes(database.url, await old(), {
        set: password,
        mode: "overwrite",
      });
      assert.deepEqual(changesOf(result), { users: "update 4" });
      await assertUnchanged(database, before);
    }));

  test("says so when the value of --set is not one of the column's type", () =>
    withDatabase("drift-set-invalid", async (database) => {
      await database.query("ALTER TABLE api_keys ADD quota varchar(3) NOT NULL DEFAULT ''");
      await database.query("ALTER TABLE api_keys ALTER quota DROP DEFAULT");
      await database.query(`DELETE FROM api_keys WHERE ${ofAcme}`);
      await assertImportRefused(
        database,
        await freshBundle("acme"),
        { set: new Map([["public.api_keys.quota", "too long"]]) },
        {
          exitCode: 2,
          message:
            /^the value given with --set for "public\.api_keys\.quota" is not a character varying\(3\)$/,
        },
      );
      await assertImportRefused(
        database,
        await freshBundle("acme"),
        { set: new Map([["public.api_keys.quotta", "1"]]) },
        { exitCode: 2, message: /^--set public\.api_keys\.quotta: there is no such column$/ },
      );
    }));
});

describe("a bundle of a newer schema in an older database", () => {
  const columns = [
    "email_verified",
    "email_verified_at",
    "last_login_at",
    "password_changed_at",
    "password_hash",
  ].map((name) => `public.users.${name}`);
  const tables = [
    "email_verification_tokens",
    "password_reset_tokens",
    "project_invitations",
    "vm_network_attachments",
    "vxlan_networks",
    "vxlan_tunnels",
  ].map((name) => `public.${name}`);

  test("is refused, with every table and column that has no place", () =>
    withDatabase(
      "drift-older",
      async (database) => {
        await deleteTenant(database, "acme");
        const error = await assertImportRefused(
          database,
          await freshBundle("acme"),
          {},
          {
            exitCode: 4,
            message: /^the target has no place for 11 tables or columns of the bundle/,
            hint: /--leave-out public\.users\.password_hash/,
          },
        );
        assert.deepEqual(
          [...(error.data.leaveOut as string[])].sort(),
          [...tables, ...columns].sort(),
        );
        assert.equal(error.details.length, 11);
      },
      "n-kudo-0004",
    ));

  test("comes back without what is left out by name, and the result says what that is", () =>
    withDatabase(
      "drift-older-leave-out",
      async (database) => {
        const before = await digestOf(database);
        await deleteTenant(database, "acme");
        const { plan } = await importBytes(database.url, await freshBundle("acme"), {
          leaveOut: [...tables, ...columns],
        });
        assert.deepEqual(
          plan.leftOut.map((entry) => ("table" in entry ? entry.table : entry.column)).sort(),
          [...tables, ...columns].sort(),
        );
        await assertUnchanged(database, before);
      },
      "n-kudo-0004",
    ));

  test("loses nothing by columns that are NULL and tables that are empty", () =>
    withDatabase("drift-older-null", async (database) => {
      const bundle = await forge(await freshBundle("acme"), {
        rows: {
          sites: (rows) => rows.map((row) => ({ ...row, netbird_network_id: null })),
          vm_network_attachments: () => [],
        },
      });
      await deleteTenant(database, "acme");
      await database.query(
        "ALTER TABLE sites DROP netbird_network_id; DROP TABLE vm_network_attachments",
      );
      const { plan } = await importBytes(database.url, bundle);
      assert.deepEqual(plan.leftOut, [
        { column: "public.sites.netbird_network_id", reason: "the target has no place for it" },
        { table: "public.vm_network_attachments", reason: "the target has no place for it" },
      ]);
    }));
});

/** Each changes an empty target, so that the bundle's rows meet the new definition. */
async function withAlteredTarget(
  alteration: string,
  use: (database: TestDatabase) => Promise<void>,
): Promise<void> {
  await withDatabase("drift-altered", async (database) => {
    await deleteTenant(database, "acme");
    await database.query("DELETE FROM tenants");
    await database.query(alteration);
    await use(database);
  });
}

describe("a column of another definition", () => {
  const narrower: readonly (readonly [string, string, string])[] = [
    [
      "text to varchar(n)",
      "ALTER TABLE sites ALTER name TYPE varchar(9)",
      "name character varying(9)",
    ],
    ["bigint to numeric(p,s)", "ALTER TABLE execution_logs ALTER sequence TYPE numeric(5,0)", ""],
    [
      "timestamptz to timestamptz(3)",
      "ALTER TABLE api_keys ALTER created_at TYPE timestamptz(3)",
      "created_at timestamp(3) with time zone",
    ],
    ["timestamptz to date", "ALTER TABLE api_keys ALTER created_at TYPE date", "created_at date"],
    [
      "character(2) to character(1)",
      "ALTER TABLE sites ALTER location_country_code TYPE char(1)",
      "location_country_code character(1)",
    ],
    [
      "bigint to double precision",
      "ALTER TABLE hosts ALTER memory_bytes_total TYPE float8",
      "memory_bytes_total double precision",
    ],
    ["bigint to integer", "ALTER TABLE hosts ALTER memory_bytes_total TYPE integer", ""],
  ];
  for (const [change, alteration, named] of narrower) {
    test(`refuses values that would be cut, rounded or out of range: ${change}`, () =>
      withAlteredTarget(alteration, async (database) => {
        const error = await assertImportRefused(
          database,
          await freshBundle("acme"),
          {},
          {
            exitCode: 3,
            message:
              named === ""
                ? /^row \d+ of table "public\.\w+" is invalid: /
                : /has a value that the target would cut, round or alter/,
          },
        );
        if (named !== "")
          assert.match(error.details[0] ?? "", new RegExp(named.replace(/[()]/g, "\\$&")));
      }));
  }

  test("takes values that fit, whatever its name for them", () =>
    withAlteredTarget(
      `ALTER TABLE sites ALTER name TYPE varchar(500);
       ALTER TABLE sites ALTER location_country_code TYPE text;
       ALTER TABLE executions ALTER operation_type TYPE varchar(10);
       ALTER TABLE vxlan_networks ALTER vni TYPE bigint, ALTER mtu TYPE numeric(10,2);
       ALTER TABLE microvms ALTER state DROP DEFAULT, ALTER state TYPE text;
       ALTER TABLE microvms ALTER net_ifaces DROP DEFAULT, ALTER net_ifaces TYPE json;
       ALTER TABLE hosts ALTER memory_bytes_total DROP DEFAULT, ALTER memory_bytes_total TYPE text;
       ALTER TABLE audit_events ALTER source_ip TYPE text`,
      async (database) => {
        const bundle = await freshBundle("acme");
        const { applied } = await importBytes(database.url, bundle);
        assert.equal(applied, true);
        const [site] = await database.query(
          "SELECT location_country_code AS code FROM sites WHERE name LIKE 'Frankfurt%' AND external_key = ''",
        );
        assert.deepEqual(site, { code: "D " });
        const again = await importBytes(database.url, bundle, { mode: "overwrite" });
        assert.deepEqual(changesOf(again), {});
      },
    ));

  test("takes the labels of an enum that has got more, and names one that it lacks", () =>
    withAlteredTarget(
      `ALTER TYPE plan_status ADD VALUE 'PAUSED' BEFORE 'PENDING';
       ALTER TYPE execution_state RENAME VALUE 'FAILED' TO 'BROKEN'`,
      async (database) => {
        await assertImportRefused(
          database,
          await freshBundle("acme"),
          {},
          {
            exitCode: 3,
            message: /^row \d+ of table "public\.executions" is invalid: column "state"/,
          },
        );
        await database.query("ALTER TYPE execution_state RENAME VALUE 'BROKEN' TO 'FAILED'");
        const { applied } = await importBytes(database.url, await freshBundle("acme"));
        assert.equal(applied, true);
      },
    ));

  test("refuses rows that violate a new CHECK, by its name and theirs", () =>
    withAlteredTarget(
      "ALTER TABLE sites ADD CONSTRAINT no_spare_sites CHECK (name NOT LIKE 'Spare%')",
      async (database) => {
        await assertImportRefused(
          database,
          await freshBundle("acme"),
          {},
          {
            exitCode: 3,
            message:
              /^public\.sites \(id\)=\(.+\) violates the check "no_spare_sites"; nothing was written$/,
          },
        );
      },
    ));

  test("refuses NULL where the target has become NOT NULL, and takes --set for it", () =>
    withAlteredTarget("ALTER TABLE sites ALTER external_key SET NOT NULL", async (database) => {
      const bundle = await freshBundle("acme");
      await assertImportRefused(
        database,
        bundle,
        {},
        {
          exitCode: 4,
          message:
            /^public\.sites \(id\)=\(.+\) has NULL in "external_key", which the target forbids \(--set 'public\.sites\.external_key=VALUE' fills it\)/,
        },
      );
      await importBytes(database.url, bundle, {
        set: new Map([["public.sites.external_key", "filled"]]),
      });
      const sites = await database.query("SELECT name FROM sites WHERE external_key = 'filled'");
      assert.deepEqual(sites, [{ name: "Spare 3" }]);
    }));

  test("NULL where the target forbids it does not matter for a row that stays as it is", () =>
    withDatabase("drift-null-kept", async (database) => {
      const bundle = await forge(await freshBundle("acme"), {
        rows: { sites: edit({ external_key: null }, (row) => row.name === "Spare 3") },
      });
      await database.query(`
        UPDATE sites SET external_key = id::text WHERE external_key IS NULL;
        ALTER TABLE sites ALTER external_key SET NOT NULL`);
      const before = await digestOf(database);
      await importBytes(database.url, bundle);
      await assertUnchanged(database, before);
    }));
});
