import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { AppError, ExitCode } from "../../../src/errors.ts";
import { splitStatements } from "../../../src/postgres/sql-statements.ts";

const texts = (sql: string) => splitStatements(sql).map(({ text }) => text);

suite("splitting what pg_dump writes into statements", () => {
  test("a semicolon ends a statement only outside of quotes and comments", () => {
    const sql = `
      -- a comment; with a semicolon
      CREATE ROLE "a;b ""c""";
      /* another; /* inside; */ one; */ ALTER ROLE x SET y TO 'it''s; here';
      ALTER ROLE x SET y TO E'a\\'; b' ; ;
      COMMENT ON ROLE x IS $q$ ; ' " $$ ; $q$;
      SELECT 1 - -1, 2 / 3;`;
    assert.deepEqual(texts(sql), [
      'CREATE ROLE "a;b ""c"""',
      "ALTER ROLE x SET y TO 'it''s; here'",
      "ALTER ROLE x SET y TO E'a\\'; b'",
      "COMMENT ON ROLE x IS $q$ ; ' \" $$ ; $q$",
      "SELECT 1 - -1, 2 / 3",
    ]);
  });

  test("a backslash is a letter like any other in a plain string", () => {
    assert.deepEqual(texts("SET a TO '\\'; SET b TO 'c';"), ["SET a TO '\\'", "SET b TO 'c'"]);
  });

  test("lines for psql are passed over, but not inside of a string", () => {
    const sql =
      "\\restrict abc;\nSET a TO 'x\n\\connect y\n';\n\\connect \"o'dd;\nSET b TO 'z';\n\\unrestrict";
    assert.deepEqual(texts(sql), ["SET a TO 'x\n\\connect y\n'", "SET b TO 'z'"]);
  });

  test("names are told without their quotes, words in lower case", () => {
    const [statement] = splitStatements('ALTER Role "We""ird" SET É TO 5;');
    assert.deepEqual(
      statement?.tokens.map(({ kind, value }) => [kind, value]),
      [
        ["word", "alter"],
        ["word", "role"],
        ["quoted", 'We"ird'],
        ["word", "set"],
        ["word", "É"],
        ["word", "to"],
        ["other", "5"],
      ],
    );
  });

  test("a token's place is that of its text", () => {
    const [, statement] = splitStatements("SELECT 1;\n\n  COMMENT ON ROLE \"ü🔑\" IS 'x';");
    assert.ok(statement !== undefined);
    for (const { text, start, end } of statement.tokens) {
      assert.equal(statement.text.slice(start, end), text);
    }
  });

  test("text that is cut short is refused", () => {
    for (const sql of [
      "SET a TO 'x",
      'CREATE ROLE "x',
      "/* /* */",
      "SET a TO $x$ y;",
      "SET a",
      "SET a TO E'\\';",
    ]) {
      assert.throws(
        () => splitStatements(sql),
        (error) =>
          error instanceof AppError &&
          error.exitCode === ExitCode.invalidInput &&
          /is cut short/.test(error.message),
        sql,
      );
    }
  });

  test("whatever stands in quotes, the statements are those that were written", () => {
    const value = fc.string({ unit: fc.constantFrom(..."a;'\"\\$-*/\n ü🔑") });
    const statement = fc.oneof(
      value.map((text) => `SET a TO '${text.replaceAll("'", "''")}'`),
      value.map((text) => `SET a TO E'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`),
      value.map((text) => `CREATE ROLE "${text.replaceAll('"', '""')}"`),
    );
    fc.assert(
      fc.property(fc.array(statement), (statements) => {
        assert.deepEqual(texts(statements.map((text) => `${text};\n`).join("")), statements);
      }),
    );
  });

  test("a megabyte in one string is no obstacle", () => {
    const long = `SET a TO '${"x''".repeat(1_000_000)}'`;
    assert.deepEqual(texts(`${long};`), [long]);
  });
});
