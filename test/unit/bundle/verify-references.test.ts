import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { FindingList } from "../../../src/bundle/findings.ts";
import type { BundleHeader, BundleTable } from "../../../src/bundle/format.ts";
import { RowValues } from "../../../src/bundle/row-values.ts";
import { ReferenceCheck } from "../../../src/bundle/verify-references.ts";
import { sampleHeader } from "../../harness/sample-bundle.ts";

type Tables = Readonly<Record<string, readonly string[]>>;

/** A bundle's tables, in order, with the rows' lines; `references` by table. */
function check(
  tables: Tables,
  references: Readonly<Record<string, BundleTable["references"]>>,
  changes: (table: BundleTable) => Partial<BundleTable> = () => ({}),
  header: Partial<BundleHeader> = {},
): readonly string[] {
  const sample = sampleHeader(Object.keys(tables));
  const all = sample.tables.map((table) => ({
    ...table,
    references: references[table.name] ?? [],
    ...changes(table),
  }));
  const findings = new FindingList();
  const checker = new ReferenceCheck({ ...sample, tables: all, ...header }, findings);
  for (const table of all) {
    const lines = tables[table.name] ?? [];
    const values = new RowValues(Buffer.from(lines.map((l) => `${l}\n`).join("")), 1, table);
    for (const [i, line] of lines.entries()) checker.row(table, JSON.parse(line), i + 1, values);
    checker.endOfTable(table.name);
  }
  checker.endOfBundle();
  return findings.listed.map((f) => `${f.kind} ${f.table} ${f.row} (${f.columns.join()})`);
}

const up = { columns: ["up"], table: "p", to: ["id"] };

suite("references inside a bundle", () => {
  test("hold to rows before, and dangle where there is none", () => {
    const rows = {
      p: ['{"id":1}'],
      c: ['{"id":1,"up":1}', '{"id":2,"up":2}', '{"id":3,"up":null}'],
    };
    assert.deepEqual(check(rows, { c: [up] }), ["dangling-reference c 2 (up)"]);
  });

  test("hold to rows further down, in another table and in the same one", () => {
    const forward = { c: ['{"id":1,"up":7}', '{"id":2,"up":8}'], p: ['{"id":7}'] };
    assert.deepEqual(check(forward, { c: [up] }), ["dangling-reference c 2 (up)"]);
    const self = { p: ['{"id":1,"up":2}', '{"id":2,"up":2}', '{"id":3,"up":4}'] };
    assert.deepEqual(check(self, { p: [up] }), ["dangling-reference p 3 (up)"]);
  });

  test("hold over all of several columns, and none is checked when one is NULL", () => {
    const pair = { columns: ["a", "b"], table: "p", to: ["x", "y"] };
    const rows = {
      p: ['{"id":1,"x":1,"y":"u"}', '{"id":2,"x":2,"y":"v"}'],
      c: ['{"id":1,"a":1,"b":"u"}', '{"id":2,"a":1,"b":"v"}', '{"id":3,"a":9,"b":null}'],
    };
    assert.deepEqual(check(rows, { c: [pair] }), ["dangling-reference c 2 (a,b)"]);
  });

  test("tell numbers apart that are one as doubles", () => {
    const rows = {
      p: ['{"id":9007199254740993}'],
      c: ['{"id":1,"up":9007199254740993}', '{"id":2,"up":9007199254740992}'],
    };
    assert.deepEqual(check(rows, { c: [up] }), ["dangling-reference c 2 (up)"]);
  });

  test("compare padded characters and citext as PostgreSQL does", () => {
    const typed = (type: string) => (table: BundleTable) => ({
      columns: [...table.columns, { name: "up", type, nullable: true, encoding: "value" as const }],
    });
    const rows = { p: ['{"id":1,"code":"AB"}'], c: ['{"id":1,"up":"AB  "}', '{"id":2,"up":"ab"}'] };
    const toCode = { c: [{ columns: ["up"], table: "p", to: ["code"] }] };
    assert.deepEqual(check(rows, toCode, typed("character(4)")), ["dangling-reference c 2 (up)"]);
    assert.equal(check(rows, toCode, typed("text")).length, 2);
    const lower = { p: ['{"id":1,"code":"ab"}'], c: ['{"id":1,"up":"AB"}'] };
    assert.deepEqual(check(lower, toCode, typed("public.citext")), []);
  });

  test("dangle, all of them, to a table that the bundle does not have", () => {
    assert.deepEqual(check({ c: ['{"id":1,"up":1}'] }, { c: [up] }), [
      "dangling-reference c 1 (up)",
    ]);
  });

  test("are not asked for in what was selected of a tenant", () => {
    assert.deepEqual(
      check({ c: ['{"id":1,"up":1}'] }, { c: [up] }, undefined, { selection: {} }),
      [],
    );
  });
});

suite("keys inside a bundle", () => {
  test("stand for one row each, in one table", () => {
    const rows = { p: ['{"id":1}', '{"id":2}', '{"id":1}'], c: ['{"id":1}'] };
    assert.deepEqual(check(rows, {}), ["duplicate-key p 3 (id)"]);
  });

  test("are compared over all of their columns, with every digit", () => {
    const both = () => ({ primaryKey: ["a", "b"] });
    const rows = ['{"a":1,"b":2}', '{"a":12,"b":""}', '{"a":1,"b":3}', '{"a":1,"b":2}'];
    assert.deepEqual(check({ p: rows }, {}, both), ["duplicate-key p 4 (a,b)"]);
    const large = ['{"id":9007199254740992}', '{"id":9007199254740993}', '{"id":9007199254740993}'];
    assert.deepEqual(check({ p: large }, {}), ["duplicate-key p 3 (id)"]);
  });
});

suite("a list of findings", () => {
  test("has the first twenty of each kind and place, and counts the others", () => {
    const findings = new FindingList();
    const finding = { kind: "duplicate-key", columns: ["id"], message: "m" } as const;
    for (let row = 1; row <= 23; row += 1) findings.add({ ...finding, table: "a", row });
    for (let row = 1; row <= 20; row += 1) findings.add({ ...finding, table: "b", row });
    findings.add({ ...finding, kind: "invalid-row", table: "a", row: 99 });
    assert.equal(findings.total, 44);
    assert.equal(findings.listed.length, 41);
    assert.equal(findings.listed.at(-1)?.row, 99);
    assert.deepEqual(findings.further, [
      { kind: "duplicate-key", table: "a", columns: ["id"], count: 3 },
    ]);
  });
});
