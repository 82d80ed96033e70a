import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { encodingOf, type TypeRow, underlyingType } from "../../../src/catalog/value-encoding.ts";

const types = new Map(
  (
    [
      [1, "pg_catalog", "int4", "b", 0],
      [2, "pg_catalog", "jsonb", "b", 0],
      [3, "pg_catalog", "_int4", "b", 0],
      [4, "app", "status", "e", 0],
      [5, "app", "positive", "d", 1],
      [6, "app", "small_positive", "d", 5],
      [7, "app", "int4", "b", 0],
      [8, "app", "state", "d", 4],
      [9, "app", "list", "d", 3],
      [10, "pg_catalog", "constructor", "b", 0],
      [11, "pg_catalog", "int4range", "r", 0],
      [12, "app", "address", "c", 0],
      [13, "pg_catalog", "timestamptz", "b", 0],
      [14, "app", "document", "d", 2],
      [15, "pg_catalog", "json", "b", 0],
    ] as const
  ).map(([oid, schema, name, kind, baseType]): [number, TypeRow] => [
    oid,
    { oid, schema, name, kind, baseType },
  ]),
);

suite("the encoding of a type", () => {
  test("is a JSON value for plain scalars and enums", () => {
    assert.deepEqual(encodingOf(1, types), { as: "value", shape: "int32" });
    assert.deepEqual(encodingOf(4, types), { as: "value", shape: "enum" });
    assert.deepEqual(encodingOf(13, types), { as: "value", shape: "timestamptz" });
  });

  test("is that of the type below a domain, however deep", () => {
    assert.deepEqual(encodingOf(5, types), { as: "value", shape: "int32" });
    assert.deepEqual(encodingOf(6, types), { as: "value", shape: "int32" });
    assert.deepEqual(encodingOf(8, types), { as: "value", shape: "enum" });
    assert.deepEqual(encodingOf(14, types), { as: "text", json: true });
    assert.equal(underlyingType(6, types)?.name, "int4");
  });

  test("is text for what JSON would change: json, arrays, ranges, composites", () => {
    assert.deepEqual(encodingOf(2, types), { as: "text", json: true });
    assert.deepEqual(encodingOf(15, types), { as: "text", json: true });
    for (const oid of [3, 9, 11, 12]) {
      assert.deepEqual(encodingOf(oid, types), { as: "text", json: false });
    }
  });

  test("is text for types that only have the name of a known one, and for unknown ones", () => {
    assert.deepEqual(encodingOf(7, types), { as: "text", json: false });
    assert.deepEqual(encodingOf(10, types), { as: "text", json: false });
    assert.deepEqual(encodingOf(999, types), { as: "text", json: false });
  });
});
