import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Table } from "../../../src/catalog/catalog.ts";
import { type ClassifyOptions, classify } from "../../../src/profile/classify.ts";
import { withDefaults } from "../../../src/profile/load.ts";
import type { Profile } from "../../../src/profile/profile.ts";
import { catalogOf, column, table } from "../../harness/sample-catalog.ts";

function classified(
  tables: readonly Table[],
  profile: Partial<Profile> = {},
  options: ClassifyOptions = {},
) {
  const root = { table: "public.tenants", key: "id", lookup: [] };
  return classify(
    catalogOf(table("tenants"), ...tables),
    withDefaults({ root, ...profile }),
    options,
  );
}

// That tables and profiles which do not fit are named is in test/integration/coverage-check.test.ts.
suite("the classification of tables", () => {
  test("refuses a tenant's table whose rows cannot be told apart", () => {
    const keyless = table("logs", { tenant: "tenants" }, { key: undefined });
    assert.throws(() => classified([keyless]), {
      code: "table-without-key",
      exitCode: 2,
      message: 'no primary key, and no unique index over NOT NULL columns: "public.logs"',
      hint: /^Rows of such a table cannot be told apart\. Give it a primary key, or declare it under "global"/,
      details: ["public.logs"],
    });
    const global = { "public.logs": "of the platform" };
    assert.equal(classified([keyless], { global }).tables.length, 1);
  });

  test("refuses a tenant's foreign table", () => {
    const foreign = table("remote", { tenant: "tenants" }, { kind: "foreign" });
    assert.throws(() => classified([foreign]), {
      code: "foreign-table",
      exitCode: 2,
      message: 'foreign tables cannot be restored in one transaction: "public.remote"',
    });
  });

  test("counts tables of extensions as global", () => {
    const schema = classified([table("spatial_ref_sys", {}, { ofExtension: true })]);
    assert.deepEqual(schema.unclassified, []);
    assert.equal(schema.tables.length, 1);
  });

  test("warns of tables and columns that the shipped schemas do not know, generated ones aside", () => {
    const columns = [
      column("id"),
      column("tenant"),
      column("more"),
      column("sum", { generatedAs: "1" }),
    ];
    const schema = classified(
      [table("sites", { tenant: "tenants" }, { columns }), table("extra", { tenant: "tenants" })],
      {},
      {
        knownColumns: new Map([
          ["public.tenants", new Set(["id"])],
          ["public.sites", new Set(["id", "tenant"])],
        ]),
      },
    );
    assert.deepEqual(schema.warnings, [
      'table "public.extra" is not known to the profile; it is included, because its foreign keys lead to the tenant',
      'column "public.sites.more" is not known to the profile; it is included, with the type that the catalog gives it',
    ]);
    assert.deepEqual(classified([]).warnings, []);
  });

  test("takes references that only the profile knows for real ones", () => {
    const notes = table("notes", {}, { columns: [column("id"), column("tenant")] });
    const reference = {
      table: "public.notes",
      columns: ["tenant"],
      references: "public.tenants",
      to: ["id"],
    };
    const schema = classified([notes], { references: [reference] });
    assert.deepEqual(
      schema.tables.map(({ name }) => name),
      ["public.tenants", "public.notes"],
    );
    assert.equal(schema.ownership.get("public.notes")?.[0]?.source, "profile");
  });

  test("ignores what the profile says of tables that this database does not have", () => {
    const schema = classified([], {
      global: { "public.gone": "was never there" },
      references: [
        { table: "public.gone", columns: ["x"], references: "public.tenants", to: ["id"] },
      ],
      ownership: { "public.gone": ["x"] },
    });
    assert.equal(schema.tables.length, 1);
  });
});
