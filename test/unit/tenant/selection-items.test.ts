import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { AppError } from "../../../src/errors.ts";
import { classify } from "../../../src/profile/classify.ts";
import { withDefaults } from "../../../src/profile/load.ts";
import { nKudo } from "../../../src/profile/n-kudo.ts";
import type { Profile } from "../../../src/profile/profile.ts";
import {
  belongingAncestors,
  belongingKeys,
  isLeaf,
} from "../../../src/tenant/selection/belonging.ts";
import {
  describeSelection,
  headerSelection,
  parseSelection,
  selectionOfHeader,
} from "../../../src/tenant/selection/items.ts";
import { catalogOf, column, table } from "../../harness/sample-catalog.ts";

const columns = (...names: string[]) => ["id", "tenant", ...names].map((name) => column(name));

function schemaOf(groups: Profile["groups"] = nKudo.groups) {
  return classify(
    catalogOf(
      table("tenants"),
      table("sites", { tenant: "tenants" }, { columns: columns("name", "a=b", "x.y") }),
      table(
        "microvms",
        { tenant: "tenants", site: "sites", "host?": "hosts" },
        { columns: [...columns("name", "site"), column("host", { notNull: false })] },
      ),
      table("hosts", { tenant: "tenants", site: "sites" }),
      table("plans", { tenant: "tenants" }),
      { ...table("plans", { tenant: "tenants" }), name: "other.plans", schema: "other" },
      {
        ...table('Odd "name".v=1', { tenant: "tenants" }),
        name: 'public."Odd ""name"".v=1"',
      },
      table("logs", { tenant: "tenants", vm: "microvms" }),
    ),
    withDefaults({ root: { table: "public.tenants", key: "id", lookup: [] }, groups }),
  );
}

function parsed(item: string, schema = schemaOf()) {
  const [found] = parseSelection(schema, { select: [item], exclude: [] }).select;
  if (found === undefined) throw new Error("nothing was parsed");
  return found.kind === "tables"
    ? `${found.tables.map(({ name }) => name)}${found.spreads ? " and more" : ""}`
    : `${found.table.name} by ${[...(found.byKey ? ["key"] : []), ...found.columns]} = ${found.value}`;
}

suite("an item of a selection", () => {
  for (const [item, meaning] of [
    ["sites", "public.sites and more"],
    ["vms", "public.microvms and more"],
    ["public.sites", "public.sites"],
    ["microvms", "public.microvms"],
    ["other.plans", "other.plans"],
    ['public."Odd ""name"".v=1"', 'public."Odd ""name"".v=1"'],
    ['Odd "name".v=1', 'public."Odd ""name"".v=1"'],
    ["site=berlin", "public.sites by key,name = berlin"],
    ["vm=a=b.c", "public.microvms by key,name = a=b.c"],
    ["site=", "public.sites by key,name = "],
    ["microvms.name=vm-7", "public.microvms by name = vm-7"],
    ["public.microvms.name=vm.7=x", "public.microvms by name = vm.7=x"],
    ["sites.a=b=c", "public.sites by a=b = c"],
    ["sites.x.y=z", "public.sites by x.y = z"],
    ['public."Odd ""name"".v=1".id=5', 'public."Odd ""name"".v=1" by id = 5'],
    ["other.plans.id=1", "other.plans by id = 1"],
  ] as const) {
    test(`"${item}" is ${meaning}`, () => assert.equal(parsed(item), meaning));
  }

  for (const [item, message, hint] of [
    [
      "sitez",
      '--select "sitez": there is no such group or table',
      /^Did you mean "sites"\? Groups: sites, hosts, /,
    ],
    ["", "an item of --select is empty", /^Groups: sites/],
    [
      "plans.id=1",
      '--select "plans.id" may mean "other.plans" or "public.plans"',
      /^Name the table with its schema\.$/,
    ],
    [
      "sote=berlin",
      '--select "sote=berlin": there is no "sote" to choose rows by',
      /^Did you mean "site"\? Rows are named as table\.column=value, or by site=, host=/,
    ],
    [
      "microvms.nam=x",
      'table "public.microvms" has no column "nam"',
      /^Did you mean "name"\? It has: id, tenant, name/,
    ],
    [
      "microvm.name=x",
      '--select "microvm.name=x": the tenant has no table "microvm"',
      /^Did you mean "microvms"\?/,
    ],
    [
      "microvms.name",
      '--select "microvms.name" names a column and no value',
      /microvms\.name=VALUE/,
    ],
    [
      "networks",
      'the database has no table of group "networks": "public.vxlan_networks"',
      /^Older schemas/,
    ],
    ["__proto__", '--select "__proto__": there is no such group or table', /^Groups: /],
  ] as const) {
    test(`"${item}" is refused with what is near`, () => {
      assert.throws(() => parsed(item), { exitCode: 2, message, hint });
    });
  }

  test("of a group has the columns that the database has", () => {
    const groups = {
      x: { tables: ["public.hosts", "public.gone"], row: "x", by: ["name", "site"] },
    };
    assert.equal(parsed("x=1", schemaOf(groups)), "public.hosts by key,site = 1");
    assert.equal(parsed("x", schemaOf(groups)), "public.hosts and more");
  });

  test("never ends in anything but an answer or a message", () => {
    const schema = schemaOf();
    const words = fc.constantFrom(
      "site",
      "sites",
      "public",
      "microvms",
      ".",
      "=",
      '"',
      "name",
      " ",
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.oneof(words, fc.string({ maxLength: 3 }))).map((w) => w.join("")),
    );
    fc.assert(
      fc.property(
        fc.array(text, { maxLength: 3 }),
        fc.array(text, { maxLength: 2 }),
        (select, exclude) => {
          try {
            parseSelection(schema, { select, exclude });
          } catch (error) {
            assert.ok(error instanceof AppError);
            assert.equal(error.exitCode, 2);
            assert.ok(error.hint);
          }
        },
      ),
    );
  });
});

suite("a selection", () => {
  const schema = schemaOf({ all: { tables: ["public.tenants"], row: "tenant", by: [] } });

  test("of the tenant itself, or of nothing in particular, is everything", () => {
    for (const select of [[], ["all"], ["tenant=1"], ["public.tenants.id=1", "sites"]]) {
      assert.ok(parseSelection(schema, { select, exclude: [] }).everything);
    }
    assert.ok(!parseSelection(schema, { select: ["tenants"], exclude: [] }).everything);
    assert.throws(() => parseSelection(schema, { select: [], exclude: ["tenant=1"] }), {
      exitCode: 2,
      message: '--exclude "tenant=1" leaves out the tenant itself, and so everything',
    });
  });

  test("stands in a bundle's header and is read from there", () => {
    for (const given of [
      { select: ["a"], exclude: ["b", "c"], since: "2026-01-01T00:00Z" },
      { select: [], exclude: [] },
    ]) {
      const selection = headerSelection(given);
      assert.deepEqual(selectionOfHeader(JSON.parse(JSON.stringify({ selection }))), given);
    }
    assert.equal(selectionOfHeader({ selection: null }), undefined);
    for (const selection of [
      { select: "x" },
      { exclude: [1] },
      { since: 5 },
      { since: "'; DROP" },
    ]) {
      assert.throws(() => selectionOfHeader({ selection }), {
        exitCode: 3,
        code: "corrupt-bundle",
      });
    }
  });

  test("has words", () => {
    assert.equal(describeSelection({ select: ["site=x", "users"], exclude: [] }), "site=x, users");
    assert.equal(
      describeSelection({ select: [], exclude: ["audit"], since: "2026-01-01T00:00Z" }),
      "everything; without audit; logs since 2026-01-01T00:00Z",
    );
  });
});

suite("what hangs on a row", () => {
  test("refers to it by a key that must be there, or cascades, or is its way to the tenant", () => {
    const schema = classify(
      catalogOf(
        table("tenants"),
        table("sites", { tenant: "tenants" }),
        table("users", { tenant: "tenants" }),
        table("hosts", { tenant: "tenants", site: "sites", "user?": "users" }),
        table("crl", { "host?": "hosts" }),
      ),
      withDefaults({ root: { table: "public.tenants", key: "id", lookup: [] } }),
    );
    const of = (name: string) => belongingKeys(schema, name).map(({ to }) => to);
    assert.deepEqual(of("public.sites"), []);
    assert.deepEqual(of("public.hosts"), ["public.sites"]);
    assert.deepEqual(of("public.crl"), ["public.hosts"]);
    assert.deepEqual(
      [...belongingAncestors(schema, "public.crl")],
      ["public.hosts", "public.sites"],
    );
    assert.ok(isLeaf(schema, "public.crl"));
    // Somebody may need a user, though nothing hangs on one.
    assert.ok(!isLeaf(schema, "public.users"));
  });
});
