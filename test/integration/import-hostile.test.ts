import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { forge } from "../harness/forge.ts";
import { assertImportRefused, deleteTenant, importBytes } from "../harness/import.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

describe("what a bundle says is data, never code", () => {
  let database: TestDatabase;
  let bundle: Buffer;

  before(async () => {
    database = await createDatabase("import-hostile", "n-kudo", {
      settings: { "seed.big": "off" },
    });
    bundle = (await exportBundle(database.url, "acme")).bytes;
    await deleteTenant(database, "acme");
  });
  after(() => database.drop());

  const hostileName = 'public.sites"; DROP TABLE plans; --';

  test("a table name with SQL in it is a table that the target lacks", async () => {
    const forged = await forge(bundle, {
      header: (header) => ({
        ...header,
        tables: header.tables.map((table) =>
          table.name === "public.api_keys"
            ? { ...table, name: hostileName, columns: table.columns.slice(0, 1) }
            : table,
        ),
      }),
      lines: { [hostileName.replace("public.", "")]: () => ['{"id":1}'] },
    });
    await assertImportRefused(
      database,
      forged,
      {},
      { exitCode: 4, message: /has no place for the bundle's "public\.sites"; DROP TABLE plans/ },
    );
  });

  test("a column name with SQL in it is a column that the target lacks", async () => {
    const name = 'x" text); DROP TABLE plans; --';
    const forged = await forge(bundle, {
      header: (header) => ({
        ...header,
        tables: header.tables.map((table) =>
          table.name === "public.api_keys"
            ? {
                ...table,
                columns: [
                  ...table.columns,
                  { name, type: "text); DROP TABLE plans; --", nullable: true, encoding: "value" },
                ],
              }
            : table,
        ),
      }),
      rows: { api_keys: (rows) => rows.map((row) => ({ ...row, [name]: "'; DROP TABLE plans" })) },
    });
    await assertImportRefused(
      database,
      forged,
      {},
      { exitCode: 4, message: /has no place for the bundle's "public\.api_keys\.x" text\); DROP/ },
    );
  });

  test("a column's type with SQL in it is compared with the target's and never run", async () => {
    const forged = await forge(bundle, {
      header: (header) => ({
        ...header,
        tables: header.tables.map((table) => ({
          ...table,
          columns: table.columns.map((column) => ({
            ...column,
            type: column.type === "text" ? "text; DROP TABLE plans; --" : column.type,
          })),
        })),
      }),
    });
    const { applied } = await importBytes(database.url, forged);
    assert.equal(applied, true);
    await deleteTenant(database, "acme");
  });

  test("__proto__ and constructor are no columns", async () => {
    for (const key of ["__proto__", "constructor", "toString"]) {
      const forged = await forge(bundle, {
        lines: {
          api_keys: (lines) => lines.map((line) => line.replace(/}$/, `,"${key}":{"id":"x"}}`)),
        },
      });
      await assertImportRefused(
        database,
        forged,
        {},
        { exitCode: 3, message: new RegExp(`column "${key}" is not one of the table's`) },
      );
    }
  });

  test("tables named __proto__ or constructor get no place and no row", async () => {
    for (const name of ["__proto__", "public.constructor"]) {
      const forged = await forge(bundle, {
        header: (header) => ({
          ...header,
          tables: header.tables.map((table) =>
            table.name === "public.api_keys" ? { ...table, name } : table,
          ),
        }),
      });
      const { plan } = await importBytes(database.url, forged, { dryRun: true });
      assert.deepEqual(plan.leftOut, [{ table: name, reason: "the target has no place for it" }]);
    }
  });

  test("of a key that stands twice in a row, check and database take the same value", async () => {
    const forged = await forge(bundle, {
      lines: {
        // What is checked first must not be what is stored last.
        users: (lines) =>
          lines.map((line) => line.replace(/}$/, ',"role":"VIEWER","role":"OWNER"}')),
      },
    });
    await importBytes(database.url, forged);
    const roles = await database.query<{ role: string }>(
      "SELECT DISTINCT role FROM users JOIN tenants t ON t.id = tenant_id WHERE slug = 'acme'",
    );
    assert.deepEqual(roles, [{ role: "OWNER" }]);
    await deleteTenant(database, "acme");

    await assertImportRefused(
      database,
      await forge(bundle, {
        lines: {
          sites: (lines) => lines.map((line) => line.replace(/}$/, ',"name":"x","name":5}')),
        },
      }),
      {},
      { exitCode: 3, message: /row 1 of table "public\.sites" is invalid: column "name" must be/ },
    );
  });

  test("values that JSON allows and PostgreSQL does not name their row", async () => {
    const [nul, lone] = ["\\u0000", "\\ud800"];
    for (const text of [nul, lone]) {
      await assertImportRefused(
        database,
        await forge(bundle, {
          lines: {
            sites: ([first = "", ...others]) => [
              ...others,
              first.replace(/"name":"/, `"name":"${text}`),
            ],
          },
        }),
        {},
        { exitCode: 3, message: /^row 3 of table "public\.sites" is invalid: / },
      );
    }
  });
});
