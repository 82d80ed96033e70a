import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { ForeignKey, Table } from "../../../src/catalog/catalog.ts";
import {
  carriesTenant,
  findOwnership,
  type Ownership,
  tenantColumn,
} from "../../../src/catalog/ownership.ts";
import { catalogOf, column, referencesIn, table } from "../../harness/sample-catalog.ts";

const root = { table: "public.tenants", key: "id" };

function ownershipOf(
  tables: readonly Table[],
  options: { preferred?: Record<string, string>; global?: readonly string[] } = {},
): Ownership {
  const catalog = catalogOf(table("tenants"), ...tables);
  const references = referencesIn(catalog);
  const preferred = Object.entries(options.preferred ?? {}).flatMap(([name, wanted]) =>
    (references.get(name) ?? [])
      .filter((key) => key.columns[0] === wanted)
      .map((key): [string, ForeignKey] => [name, key]),
  );
  return findOwnership(catalog, root, references, new Map(preferred), new Set(options.global));
}

/** The columns that say whose a row is, by table. */
function paths(ownership: Ownership): Record<string, readonly string[]> {
  return Object.fromEntries(
    [...ownership].map(([name, keys]) => [
      name.replace("public.", ""),
      keys.map((key) => key.columns.join("+")),
    ]),
  );
}

suite("the way of a table's rows to their tenant", () => {
  test("leads over as many tables as it has to", () => {
    const ownership = ownershipOf([
      table("logs", { run: "runs" }),
      table("runs", { plan: "plans" }),
      table("plans", { tenant: "tenants" }),
    ]);
    assert.deepEqual(paths(ownership), {
      tenants: [],
      plans: ["tenant"],
      runs: ["plan"],
      logs: ["run"],
    });
  });

  test("is the shortest, straight to the root before any other", () => {
    const ownership = ownershipOf([
      table("sites", { tenant: "tenants" }),
      table("hosts", { site: "sites", tenant: "tenants" }),
      table("agents", { host: "hosts", site: "sites" }),
    ]);
    assert.deepEqual(paths(ownership), {
      tenants: [],
      sites: ["tenant"],
      hosts: ["tenant"],
      agents: ["host"],
    });
  });

  test("is one that no NULL can interrupt, even when it is longer", () => {
    const ownership = ownershipOf([
      table("sites", { tenant: "tenants" }),
      table("hosts", { site: "sites" }),
      table("notes", { "tenant?": "tenants", host: "hosts" }),
    ]);
    assert.deepEqual(paths(ownership).notes, ["host"]);
  });

  test("is every way when each can be interrupted", () => {
    const ownership = ownershipOf([
      table("users", { tenant: "tenants" }),
      table("sites", { tenant: "tenants" }),
      table("notes", { "user?": "users", "site?": "sites" }),
    ]);
    assert.deepEqual(paths(ownership).notes, ["user", "site"]);
  });

  test("is also a way over a table that itself can be interrupted", () => {
    // A note may have nothing but its topic; without that way no tenant would have it.
    const ownership = ownershipOf([
      table("users", { tenant: "tenants" }),
      table("topics", { "user?": "users" }),
      table("notes", { "user?": "users", "topic?": "topics" }),
    ]);
    assert.deepEqual(paths(ownership).topics, ["user"]);
    assert.deepEqual(paths(ownership).notes, ["user", "topic"]);
  });

  test("never leads in a circle", () => {
    const ownership = ownershipOf([
      table("a", { "tenant?": "tenants", "b?": "b", "a?": "a" }),
      table("b", { "a?": "a", "c?": "c" }),
      table("c", { "b?": "b" }),
    ]);
    assert.deepEqual(paths(ownership), { tenants: [], a: ["tenant"], b: ["a"], c: ["b"] });
  });

  test("is the one that the profile prefers, and no other beside it", () => {
    const tables = [
      table("users", { tenant: "tenants" }),
      table("sites", { tenant: "tenants" }),
      table("notes", { "user?": "users", site: "sites", "topic?": "topics" }),
      table("topics", { "user?": "users", "site?": "sites" }),
    ];
    const preferred = { "public.notes": "user", "public.topics": "site" };
    assert.deepEqual(paths(ownershipOf(tables, { preferred })).notes, ["user"]);
    assert.deepEqual(paths(ownershipOf(tables, { preferred })).topics, ["site"]);
    const late = { "public.notes": "topic" };
    assert.deepEqual(paths(ownershipOf(tables, { preferred: late })).notes, ["topic"]);
  });

  test("does not exist for tables that lead nowhere, or only to global ones", () => {
    const ownership = ownershipOf(
      [
        table("currencies"),
        table("rates", { currency: "currencies" }),
        table("presets", { tenant: "tenants" }),
        table("uses", { preset: "presets" }),
      ],
      { global: ["public.presets"] },
    );
    assert.deepEqual(paths(ownership), { tenants: [] });
  });
});

suite("a reference that cannot leave its tenant", () => {
  const composite = (from: string, columns: readonly string[]): ForeignKey => ({
    name: "x",
    from: `public.${from}`,
    columns,
    to: "public.sites",
    toColumns: ["id", "tenant"],
    onDelete: "no action",
    clearedColumns: columns,
    deferrable: false,
    source: "constraint",
  });
  const ownership = ownershipOf([
    table("sites", { tenant: "tenants" }),
    table(
      "hosts",
      { tenant: "tenants" },
      { columns: [column("id"), column("site"), column("tenant")] },
    ),
    table("tunnels", { host: "hosts" }),
  ]);

  test("carries the tenant's key along", () => {
    assert.equal(tenantColumn(ownership, root, "public.hosts"), "tenant");
    assert.equal(tenantColumn(ownership, root, "public.tenants"), "id");
    assert.equal(tenantColumn(ownership, root, "public.tunnels"), undefined);
    assert.equal(carriesTenant(ownership, root, composite("hosts", ["site", "tenant"])), true);
  });

  test("does not when the key stands in another column, or in none", () => {
    assert.equal(carriesTenant(ownership, root, composite("hosts", ["tenant", "site"])), false);
    assert.equal(carriesTenant(ownership, root, composite("hosts", ["site", "other"])), false);
    assert.equal(carriesTenant(ownership, root, composite("tunnels", ["site", "tenant"])), false);
  });
});
