import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Table } from "../../../src/catalog/catalog.ts";
import { type ClassifyOptions, classify } from "../../../src/profile/classify.ts";
import { withDefaults } from "../../../src/profile/load.ts";
import { nKudo } from "../../../src/profile/n-kudo.ts";
import type { InFlight, Profile } from "../../../src/profile/profile.ts";
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

  const misspelt: readonly (readonly [string, Partial<Profile>, string])[] = [
    ["oneWay", { oneWay: { "public.keys": ["revoked"] } }, "revoked"],
    ["oneWayWith", { oneWayWith: { "public.keys": ["state", "id"] } }, "state"],
    ["inFlight", { inFlight: inFlight({ column: "sate" }) }, "sate"],
    ["inFlight", { inFlight: inFlight({ set: { stat: "x" } }) }, "stat"],
    ["inFlight", { inFlight: inFlight({ clear: ["leese"] }) }, "leese"],
    ["expire", { expire: { "public.keys": { now: ["ended"], set: {} } } }, "ended"],
    ["expire", { expire: { "public.keys": { now: [], set: { stat: "x" } } } }, "stat"],
    ["secrets", { secrets: { "public.keys": ["id", "hsah"] } }, "hsah"],
    ["chain", { chain: { "public.keys": { order: "id", previous: "id", own: "own" } } }, "own"],
    ["logs", { logs: { "public.keys": "at" } }, "at"],
  ];
  for (const [entry, profile, column] of misspelt) {
    test(`refuses a column "${column}" of "${entry}" that its table lacks`, () => {
      assert.throws(() => classified([table("keys", { tenant: "tenants" })], profile), {
        code: "invalid-profile",
        exitCode: 2,
        message: `profile "custom": "public.keys" has no column "${column}", which "${entry}" names`,
      });
      assert.equal(classified([], profile).tables.length, 1, "the table is not there");
    });
  }

  test("lets the built-in profile name columns of later migrations", () => {
    const catalog = catalogOf(
      table("tenants", {}, { columns: [column("id"), column("slug")] }),
      table("users", { tenant_id: "tenants" }),
      table("schema_migrations"),
    );
    assert.equal(classify(catalog, nKudo).tables.length, 2);
  });
});

function inFlight(rule: Partial<InFlight>): Profile["inFlight"] {
  return { "public.keys": { column: "id", states: [], set: {}, clear: [], ...rule } };
}
