import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { rowFormats } from "../../src/bundle/formats.ts";
import { withSession } from "../../src/postgres/session.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";

/** Moments all over the range, made by the server from a seed: 4713 BC to 294276 AD. */
const moments = `
  SELECT json_build_object('v', v)->>'v' AS printed FROM (
    SELECT to_timestamp((random() * 1.02 - 0.02) * 9e12)::$TYPE$ AS v FROM generate_series(1, 3000)
     UNION ALL SELECT to_timestamp(random() * 4e9)::$TYPE$ FROM generate_series(1, 3000)
     UNION ALL SELECT to_timestamp(-61e9 - random() * 1.4e11)::$TYPE$ FROM generate_series(1, 3000)
     UNION ALL SELECT unnest(ARRAY['infinity', '-infinity', '0001-01-01', '0001-12-31 BC',
                                   '4714-11-24 BC', '10000-01-01']::$TYPE$[])) AS s`;

suite("the formats of row schemas", () => {
  let database: TestDatabase;
  before(async () => {
    database = await createDatabase("formats", "empty");
  });
  after(() => database.drop());

  for (const [format, type] of [
    ["postgres-date", "date"],
    ["postgres-timestamp", "timestamp"],
    ["postgres-timestamptz", "timestamptz"],
  ] as const) {
    test(`take whatever PostgreSQL prints of a ${type}, and no other type's text`, async () => {
      const seed = Math.random();
      const printed = await withSession(
        { databaseUrl: database.url, applicationName: "test formats" },
        async ({ client }) => {
          await client.query("SELECT setseed($1)", [seed]);
          const sql = moments.replaceAll("$TYPE$", type);
          const { rows } = await client.query<{ printed: string }>(sql);
          return rows.map((row) => row.printed);
        },
      );
      assert.equal(printed.length, 9006);
      assert.ok(printed.some((text) => text.endsWith(" BC")));
      assert.ok(printed.some((text) => /^\d{6}-/.test(text)));
      const regex = rowFormats[format];
      assert.ok(regex);
      const refused = printed.filter((text) => !regex.test(text));
      assert.deepEqual(refused, [], `seed ${seed}`);
      for (const [other, pattern] of Object.entries(rowFormats)) {
        if (other === format) continue;
        const taken = printed.filter((text) => pattern.test(text) && !text.includes("infinity"));
        assert.deepEqual(taken, [], other);
      }
    });
  }

  test("take uuids as PostgreSQL prints them, in lower case only", () => {
    const uuid = rowFormats.uuid;
    assert.ok(uuid?.test("6ba7b810-9dad-11d1-80b4-00c04fd430c8"));
    for (const text of [
      "6BA7B810-9dad-11d1-80b4-00c04fd430c8",
      "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}",
      "6ba7b8109dad11d180b400c04fd430c8",
      "6ba7b810-9dad-11d1-80b4-00c04fd430c8\n",
    ]) {
      assert.ok(!uuid?.test(text), text);
    }
  });
});
