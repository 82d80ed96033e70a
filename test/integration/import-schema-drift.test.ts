import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { differences } from "../../src/tenant/digest.ts";
import { forge } from "../harness/forge.ts";
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
