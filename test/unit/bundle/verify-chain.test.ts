import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { FindingList } from "../../../src/bundle/findings.ts";
import type { BundleTable } from "../../../src/bundle/format.ts";
import { RowValues } from "../../../src/bundle/row-values.ts";
import { ChainCheck } from "../../../src/bundle/verify-chain.ts";
import { sampleHeader } from "../../harness/sample-bundle.ts";

const chain = { order: "id", previous: "prev", own: "own" };

type Link = readonly [id: number | string, previous: string | null, own: string | null];

/** Follows links that are written as the lines of one batch. */
function follow(...links: readonly Link[]) {
  const [table] = sampleHeader(["public.events"]).tables as [BundleTable];
  const lines = links.map(
    ([id, prev, own]) =>
      `{"id":${id},"prev":${JSON.stringify(prev)},"own":${JSON.stringify(own)}}\n`,
  );
  const findings = new FindingList();
  const check = new ChainCheck(table, chain, findings);
  const values = new RowValues(Buffer.from(lines.join("")), 1, table);
  for (const [i, line] of lines.entries()) check.row(JSON.parse(line), i + 1, values);
  const { table: _table, ...counts } = check.counts;
  return { counts, findings: findings.listed };
}

suite("the links of a hash chain", () => {
  test("hold when each leads to the row before it", () => {
    const { counts, findings } = follow([1, "", "a"], [2, "a", "b"], [3, "b", "c"]);
    assert.deepEqual(counts, { holding: 2, leadingOutside: 1, broken: 0, unhashed: 0 });
    assert.deepEqual(findings, []);
  });

  test("hold across a gap, where another tenant's rows would be expected", () => {
    assert.equal(follow([1, "", "a"], [9, "a", "b"]).counts.holding, 1);
  });

  test("lead outside of the bundle where other rows can lie between", () => {
    const { counts, findings } = follow([1, "x", "a"], [5, "y", "b"], [6, "b", "c"]);
    assert.deepEqual(counts, { holding: 1, leadingOutside: 2, broken: 0, unhashed: 0 });
    assert.deepEqual(findings, []);
  });

  test("are broken where no row can lie between, which is told by table, row and column", () => {
    const { counts, findings } = follow([1, "", "a"], [2, "x", "b"], [3, "b", "c"]);
    assert.deepEqual(counts, { holding: 1, leadingOutside: 1, broken: 1, unhashed: 0 });
    assert.deepEqual(findings, [
      {
        kind: "broken-chain",
        table: "public.events",
        row: 2,
        columns: ["prev"],
        message:
          'row 2 of table "public.events" does not link to the row before it: its "prev" is not that row\'s "own"',
      },
    ]);
  });

  test("are told apart by every digit of numbers beyond 2^53", () => {
    // As doubles, the last three are all 9007199254740992 or ...994.
    const adjacent = follow(["9007199254740992", "", "a"], ["9007199254740993", "x", "b"]);
    assert.equal(adjacent.counts.broken, 1);
    const apart = follow(["9007199254740993", "", "a"], ["9007199254740995", "x", "b"]);
    assert.deepEqual(apart.counts, { holding: 0, leadingOutside: 2, broken: 0, unhashed: 0 });
  });

  test("begin anew after rows from before the chain was introduced", () => {
    const { counts, findings } = follow(
      [1, null, null],
      [2, null, ""],
      [3, "", "a"],
      [4, "a", "b"],
      [5, null, null],
      [6, "b", "c"],
    );
    assert.deepEqual(counts, { holding: 1, leadingOutside: 2, broken: 0, unhashed: 3 });
    assert.deepEqual(findings, []);
  });

  test("cannot be called broken where the order is no whole number", () => {
    assert.equal(follow(['"a"', "", "a"], ['"b"', "x", "b"]).counts.leadingOutside, 2);
  });
});
