import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import type { Table } from "../../../src/catalog/catalog.ts";
import { orderTables } from "../../../src/catalog/order.ts";
import { catalogOf, referencesIn, table } from "../../harness/sample-catalog.ts";

function order(...tables: readonly Table[]) {
  const { names, linkedLater } = orderTables(tables, referencesIn(catalogOf(...tables)));
  return {
    names: names.map((name) => name.replace("public.", "")),
    linkedLater: linkedLater.map((key) =>
      `${key.from}.${key.columns.join()}`.replace("public.", ""),
    ),
  };
}

suite("the order of tables", () => {
  test("has parents before children, and names decide between equals", () => {
    const tables = [table("b", { c: "c" }), table("d"), table("a", { b: "b", d: "d" }), table("c")];
    const expected = { names: ["c", "b", "d", "a"], linkedLater: [] };
    assert.deepEqual(order(...tables), expected);
    assert.deepEqual(order(...tables.toReversed()), expected);
  });

  test("does not mind a table that refers to itself, or to one that is not there", () => {
    assert.deepEqual(order(table("a", { parent: "a", other: "elsewhere" })), {
      names: ["a"],
      linkedLater: [],
    });
  });

  test("breaks a cycle at a key that can be NULL, and links it later", () => {
    assert.deepEqual(order(table("a", { "b?": "b" }), table("b", { a: "a" })), {
      names: ["a", "b"],
      linkedLater: ["a.b"],
    });
    assert.deepEqual(order(table("a", { b: "b" }), table("b", { "a?": "a" })), {
      names: ["b", "a"],
      linkedLater: ["b.a"],
    });
  });

  test("breaks a cycle at a deferrable key when none can be NULL", () => {
    assert.deepEqual(
      order(table("a", { b: "b" }), table("b", { c: "c" }), table("c", { "a!": "a" })),
      {
        names: ["c", "b", "a"],
        linkedLater: ["c.a"],
      },
    );
  });

  test("is refused when no row could ever enter the cycle", () => {
    assert.throws(() => order(table("a", { b: "b" }), table("b", { a: "a" }), table("c")), {
      code: "reference-cycle",
      exitCode: 2,
      message: 'the foreign keys of "public.a", "public.b" form a cycle that no row can enter',
      hint: /^Make one of these keys nullable, or DEFERRABLE/,
    });
  });

  test("holds for any graph of nullable keys: every key points back, or is linked later", () => {
    const edges = fc.array(fc.tuple(fc.nat(7), fc.nat(7)), { maxLength: 20 });
    fc.assert(
      fc.property(edges, (pairs) => {
        const tables = Array.from({ length: 8 }, (_, from) =>
          table(
            `t${from}`,
            Object.fromEntries(
              pairs.filter(([f]) => f === from).map(([, to]) => [`c${to}?`, `t${to}`]),
            ),
          ),
        );
        const { names, linkedLater } = order(...tables);
        assert.deepEqual(
          names.toSorted(),
          tables.map((t) => t.relation),
        );
        const late = new Set(linkedLater);
        for (const { relation, foreignKeys } of tables) {
          for (const key of foreignKeys) {
            const ahead = names.indexOf(key.to.replace("public.", "")) > names.indexOf(relation);
            assert.equal(late.has(`${relation}.${key.columns.join()}`), ahead);
          }
        }
      }),
    );
  });
});
