import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { columnSchema, rowSchemaOf } from "../../../src/bundle/row-schema.ts";
import { column, table } from "../../harness/sample-catalog.ts";

const text = { as: "value", shape: "string" } as const;

suite("the schema of a column", () => {
  test("follows its type, and NULL has to be allowed", () => {
    assert.deepEqual(columnSchema(column("a")), {
      type: "integer",
      minimum: -2147483648,
      maximum: 2147483647,
    });
    assert.deepEqual(columnSchema(column("a", { encoding: text, notNull: false })), {
      type: ["string", "null"],
    });
    assert.deepEqual(columnSchema(column("a", { encoding: { as: "value", shape: "int64" } })), {
      type: "integer",
    });
  });

  test("has the lengths of char and varchar, and not those of other types", () => {
    const of = (type: string) => columnSchema(column("a", { type, encoding: text }));
    assert.deepEqual(of("character(2)"), { type: "string", minLength: 2, maxLength: 2 });
    assert.deepEqual(of("character varying(60)"), { type: "string", maxLength: 60 });
    assert.deepEqual(of("character varying"), { type: "string" });
    assert.deepEqual(of("bit(3)"), { type: "string" });
  });

  test("lets numbers be what JSON numbers cannot say", () => {
    const encoding = { as: "value", shape: "number" } as const;
    assert.deepEqual(columnSchema(column("a", { encoding, notNull: false })), {
      anyOf: [{ type: "number" }, { enum: ["NaN", "Infinity", "-Infinity"] }, { type: "null" }],
    });
  });

  test("has an enum's labels, and null among them where it may be NULL", () => {
    const changes = { encoding: { as: "value", shape: "enum" }, enumLabels: ["b", "a"] } as const;
    assert.deepEqual(columnSchema(column("a", changes)), { enum: ["b", "a"] });
    assert.deepEqual(columnSchema(column("a", { ...changes, notNull: false })), {
      enum: ["b", "a", null],
    });
  });

  test("tells JSON text from other text", () => {
    assert.deepEqual(columnSchema(column("a", { encoding: { as: "text", json: true } })), {
      type: "string",
      contentMediaType: "application/json",
    });
    assert.deepEqual(columnSchema(column("a", { encoding: { as: "text", json: false } })), {
      type: "string",
    });
  });
});

suite("the schema of a row", () => {
  const own = table(
    "t",
    {},
    {
      columns: [
        column("id"),
        column("name", { encoding: text }),
        column("twice", { generatedAs: "(id * 2)" }),
        column("constructor", { encoding: text }),
      ],
    },
  );
  const id = columnSchema(column("id"));

  test("has every stored column and nothing else, in the table's order", () => {
    const { schema, differing } = rowSchemaOf(own, undefined);
    assert.deepEqual(schema, {
      type: "object",
      properties: { id, name: { type: "string" }, constructor: { type: "string" } },
      required: ["id", "name", "constructor"],
      additionalProperties: false,
    });
    assert.deepEqual(differing, []);
  });

  test("agrees with a shipped one whose columns only have notes in addition", () => {
    const properties = { id: { ...id, description: "its number" }, name: { type: "string" } };
    assert.deepEqual(rowSchemaOf(own, { properties }).differing, []);
    assert.deepEqual(rowSchemaOf(own, { properties }).schema, rowSchemaOf(own, undefined).schema);
  });

  test("is the database's where a shipped one differs, and names the column", () => {
    const shipped = { properties: { id: { type: "string" }, name: { type: ["string", "null"] } } };
    const { schema, differing } = rowSchemaOf(own, shipped);
    assert.deepEqual(differing, ["id", "name"]);
    assert.deepEqual(schema, rowSchemaOf(own, undefined).schema);
  });
});
