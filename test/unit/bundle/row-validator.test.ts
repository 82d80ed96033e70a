import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { JsonSchema } from "../../../src/bundle/format.ts";
import { columnSchema } from "../../../src/bundle/row-schema.ts";
import {
  createRowValidator,
  type Row,
  requirePlainSchema,
} from "../../../src/bundle/row-validator.ts";
import { AppError } from "../../../src/errors.ts";
import { column } from "../../harness/sample-catalog.ts";

function rowSchema(properties: Readonly<Record<string, JsonSchema>>): JsonSchema {
  const required = Object.keys(properties);
  return { type: "object", properties, required, additionalProperties: false };
}

const plain = rowSchema({ id: { type: "integer" }, body: { type: ["string", "null"] } });

/** What is wrong with the lines; undefined if nothing is. */
function problem(schema: JsonSchema, lines: string | Buffer, limit = 1000): string | undefined {
  try {
    createRowValidator("public.t", schema, limit).check(Buffer.from(lines), 7);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof AppError);
    assert.equal(error.exitCode, 3);
    assert.equal(error.code, "invalid-row");
    assert.ok(error.hint);
    return error.message;
  }
}

const invalid = (reason: string, row = 7) => `row ${row} of table "public.t" is invalid: ${reason}`;

suite("a row", () => {
  test("passes when it has exactly the table's columns, each of its type", () => {
    assert.equal(problem(plain, '{"id":1,"body":"x"}\n{"id":2,"body":null}\n'), undefined);
  });

  test("is counted and handed on with its number", () => {
    const seen: [Row, number][] = [];
    const validator = createRowValidator("public.t", plain, 1000);
    const lines = Buffer.from('{"id":1,"body":"x"}\n{"id":2,"body":null}\n');
    assert.equal(
      validator.check(lines, 7, (row, number) => seen.push([row, number])),
      2,
    );
    assert.deepEqual(seen, [
      [{ id: 1, body: "x" }, 7],
      [{ id: 2, body: null }, 8],
    ]);
  });

  test("is refused with its number and column, and never with a value", () => {
    const good = '{"id":1,"body":"x"}\n';
    const cases: readonly (readonly [line: string, reason: string])[] = [
      ['{"id":1}\n', 'column "body" is missing'],
      ['{"id":1,"body":"x","more":"secret"}\n', 'column "more" is not one of the table\'s'],
      ['{"id":"secret","body":"x"}\n', 'column "id" must be integer'],
      ['{"id":1.5,"body":"x"}\n', 'column "id" must be integer'],
      ['{"id":1,"body":true}\n', 'column "body" must be string or null'],
      ["[1]\n", "it is not an object"],
      ["null\n", "it is not an object"],
      ["{secret\n", "it is not JSON"],
      ["\n", "it is not JSON"],
      ['{"id":1,"body":"x"} {"id":2,"body":"x"}\n', "it is not JSON"],
      ['{"id":1,"body":"x"}', "its line has no end"],
    ];
    for (const [line, reason] of cases) {
      assert.equal(problem(plain, good + line), invalid(reason, 8), line);
    }
  });

  test("is refused when it is not UTF-8, though decoding would make something of it", () => {
    const lines = Buffer.concat([
      Buffer.from('{"id":1,"body":"\ufffd"}\n{"id":2,"body":"'),
      Buffer.from([0xff]),
      Buffer.from('"}\n'),
    ]);
    assert.equal(problem(plain, lines), invalid("it is not UTF-8", 8));
  });

  test("is refused when it is too long, to the byte", () => {
    const line = '{"id":1,"body":"x"}\n';
    assert.equal(problem(plain, line, line.length), undefined);
    assert.equal(problem(plain, line, line.length - 1), invalid("it is longer than 19 bytes"));
  });

  test("gains nothing from __proto__, constructor or toString", () => {
    assert.equal(
      problem(plain, '{"id":1,"body":"x","__proto__":{"id":2}}\n'),
      invalid('column "__proto__" is not one of the table\'s'),
    );
    assert.equal(
      problem(plain, '{"__proto__":{"id":1,"body":"x"}}\n'),
      invalid('column "id" is missing'),
    );
    assert.equal(
      problem(plain, '{"id":1,"body":"x","constructor":1}\n'),
      invalid('column "constructor" is not one of the table\'s'),
    );
    assert.equal(({} as Record<string, unknown>).id, undefined);
  });

  test("may have columns with the names of an object's own methods", () => {
    const schema = rowSchema({ constructor: { type: "string" }, toString: { type: "integer" } });
    assert.equal(problem(schema, '{"constructor":"x","toString":1}\n'), undefined);
    assert.equal(problem(schema, '{"constructor":"x"}\n'), invalid('column "toString" is missing'));
    assert.equal(problem(schema, '{"toString":1}\n'), invalid('column "constructor" is missing'));
  });

  test("is judged by the last of duplicate keys, which is also the one PostgreSQL takes", () => {
    assert.equal(problem(plain, '{"id":"x","id":1,"body":"x"}\n'), undefined);
    assert.equal(
      problem(plain, '{"id":1,"body":"x","id":"x"}\n'),
      invalid('column "id" must be integer'),
    );
  });

  test("may have numbers beyond what JavaScript holds", () => {
    const number = columnSchema(column("n", { encoding: { as: "value", shape: "number" } }));
    for (const value of ["1e400", "-1e-400", "123456789012345678901234567890.5", '"NaN"', "-0"]) {
      assert.equal(problem(rowSchema({ n: number }), `{"n":${value}}\n`), undefined, value);
    }
    assert.match(problem(rowSchema({ n: number }), '{"n":"nan"}\n') ?? "", /column "n"/);
    const int64 = columnSchema(column("n", { encoding: { as: "value", shape: "int64" } }));
    assert.equal(problem(rowSchema({ n: int64 }), '{"n":9223372036854775807}\n'), undefined);
  });

  test("has lengths in characters, not in UTF-16", () => {
    const schema = rowSchema({ c: { type: "string", minLength: 2, maxLength: 2 } });
    assert.equal(problem(schema, '{"c":"\u{1f600}e"}\n'), undefined);
    assert.equal(
      problem(schema, '{"c":"\u{1f600}"}\n'),
      invalid('column "c" must NOT have fewer than 2 characters'),
    );
  });
});

suite("a schema that came with a bundle", () => {
  const refused = (schema: unknown) => {
    try {
      requirePlainSchema("public.t", schema);
    } catch (error) {
      assert.ok(error instanceof AppError);
      assert.equal(error.code, "invalid-embedded-schema");
      assert.equal(error.exitCode, 3);
      return error.message;
    }
    return undefined;
  };
  const start = 'the schema of table "public.t" in the bundle\'s header ';

  test("may be what export writes", () => {
    assert.equal(refused(plain), undefined);
  });

  test("may not have patterns, references, or anything else that is not on the list", () => {
    for (const keyword of ["pattern", "$ref", "$dynamicRef", "not", "if", "patternProperties"]) {
      assert.equal(refused({ [keyword]: {} }), `${start}uses the keyword "${keyword}"`);
      assert.equal(
        refused({ properties: { a: { anyOf: [{ [keyword]: "(a+)+$" }] } } }),
        `${start}uses the keyword "${keyword}"`,
      );
    }
    assert.equal(
      refused({ additionalProperties: { pattern: "x" } }),
      `${start}has an "additionalProperties" that is not true or false`,
    );
  });

  test("may not be deep, or no object", () => {
    let deep: JsonSchema = {};
    for (let i = 0; i < 10; i += 1) deep = { anyOf: [deep] };
    assert.equal(refused(deep), `${start}is nested too deeply`);
    assert.equal(refused({ properties: { a: true } }), `${start}is not an object`);
  });

  test("that cannot be compiled is refused, as is one that another has the $id of", () => {
    assert.throws(() => createRowValidator("public.t", { type: "nothing" }, 10), {
      code: "invalid-embedded-schema",
      exitCode: 3,
      message: 'the schema of table "public.t" cannot be used',
    });
    const $id = "urn:pgtenant:n-kudo:1:public.t";
    createRowValidator("public.t", { ...plain, $id }, 1000);
    const other = rowSchema({ id: { type: "string" } });
    assert.equal(problem({ ...other, $id }, '{"id":"x"}\n'), undefined);
  });
});
