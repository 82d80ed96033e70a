import assert from "node:assert/strict";
import { describe, test } from "node:test";
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

  test("a value that would be cut does not matter for a row that stays as it is", () =>
    withDatabase("drift-cut-kept", async (database) => {
      const bundle = await freshBundle("acme");
      await database.query(`
        UPDATE sites SET name = substr(md5(id::text), 1, 9);
        ALTER TABLE sites ALTER name TYPE varchar(9)`);
      const before = await digestOf(database);
      await importBytes(database.url, bundle);
      await assertUnchanged(database, before);
      await assertImportRefused(
        database,
        bundle,
        { mode: "overwrite" },
        { exitCode: 3, message: /has a value that the target would cut, round or alter/ },
      );
    }));

  test("a key that would be cut matters, even when it is then that of a live row", () =>
    withDatabase("drift-key-cut", async (database) => {
      const bundle = await freshBundle("acme");
      await database.query(`
        UPDATE crl_entries SET serial = substr(md5(serial), 1, 9);
        ALTER TABLE crl_entries ALTER serial TYPE varchar(9)`);
      const serials = await database.query<{ serial: string }>(`
        SELECT serial FROM crl_entries JOIN agents a ON a.id = agent_id
          JOIN tenants t ON t.id = a.tenant_id WHERE t.slug = 'acme'`);
      const forged = await forge(bundle, {
        rows: {
          crl_entries: (rows) =>
            rows.map((row, n) => ({ ...row, serial: `${serials[n]?.serial}, and more` })),
        },
      });
      await assertImportRefused(
        database,
        forged,
        {},
        { exitCode: 3, message: /has a value that the target would cut, round or alter/ },
      );
    }));

  test("a value that two rows of the bundle share does not matter for rows that stay", () =>
    withDatabase("drift-doubled-kept", async (database) => {
      const bundle = await forge(await freshBundle("acme"), {
        rows: { sites: (rows) => rows.map((row) => ({ ...row, name: "Twice" })) },
      });
      const before = await digestOf(database);
      await importBytes(database.url, bundle);
      await assertUnchanged(database, before);
      await assertImportRefused(
        database,
        bundle,
        { mode: "overwrite" },
        { exitCode: 3, message: /shares its value in "sites_tenant_id_name_key" with another row/ },
      );
    }));
});
