import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { findTenant, listIdentities } from "../../src/tenant/find-tenant.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { withTenantSchema } from "../harness/tenant-bundle.ts";

suite("a tenant named on the command line", () => {
  let database: TestDatabase;
  let acme: string;

  before(async () => {
    database = await createDatabase("find tenant", "n-kudo", { settings: { "seed.big": "off" } });
    const [row] = await database.query<{ id: string }>(
      "SELECT id FROM tenants WHERE slug = 'acme'",
    );
    acme = row?.id ?? "";
  });
  after(() => database.drop());

  const find = (wanted: string) =>
    withTenantSchema(database.url, (session, schema) => findTenant(session, schema, wanted));

  test("is found by its id and by its slug", async () => {
    const expected = { id: acme, slug: "acme", name: "Acme Corporation" };
    assert.deepEqual(await find("acme"), expected);
    assert.deepEqual(await find(acme), expected);
  });

  test("is not found by anything else, however it is quoted", async () => {
    for (const wanted of ["", "ACME", "' OR true --", "acme\u0000".slice(0, 3), "%"]) {
      await assert.rejects(find(wanted), {
        code: "no-such-tenant",
        exitCode: 2,
        message: `there is no tenant "${wanted}"`,
      });
    }
  });

  test("is suggested when only a few letters are wrong, the nearest first", async () => {
    const hint = async (wanted: string) =>
      find(wanted).then(
        () => assert.fail("found"),
        (error: { hint: string }) => error.hint,
      );
    assert.equal(await hint("acne"), 'Did you mean "acme"?');
    assert.equal(await hint("Globx"), 'Did you mean "globex"?');
    assert.equal(await hint("initech inc."), 'Did you mean "initech"?');
    assert.equal(await hint("glo"), 'Did you mean "globex"?');
    assert.equal(
      await hint("something-else"),
      "A tenant is named by its id or slug; pgtenant tenants lists them.",
    );
  });

  test("is ambiguous when it is one tenant's slug and another's id: exit 2, both named", async () => {
    await database.query(
      `INSERT INTO tenants (id, slug, name) VALUES
         ('00000000-0000-0000-0000-00000000000a', '${acme}', 'Misleading')`,
    );
    await assert.rejects(find(acme), {
      code: "ambiguous-tenant",
      exitCode: 2,
      message: new RegExp(`^"${acme}" names 2 tenants: .*"acme" \\(${acme}\\)`),
      hint: "Name the tenant by its id.",
    });
    await database.query("DELETE FROM tenants WHERE name = 'Misleading'");
  });

  test("is one of those that are listed, by slug", async () => {
    const all = await withTenantSchema(database.url, listIdentities);
    assert.deepEqual(
      all.map((tenant) => tenant.slug),
      ["acme", "globex", "initech"],
    );
  });
});
