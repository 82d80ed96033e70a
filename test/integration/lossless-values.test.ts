import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { storedColumns } from "../../src/catalog/catalog.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";
import { exportBundle, readWholeBundle, withTenantSchema } from "../harness/tenant-bundle.ts";

/** Every value of every bundle, read back by PostgreSQL and printed beside the live one. */
async function comparePrinted(database: TestDatabase, tenants: readonly string[], profile: string) {
  let compared = 0;
  for (const tenant of tenants) {
    const { bytes } = await exportBundle(database.url, tenant, { profile });
    const { tables } = await readWholeBundle(bytes);
    await withTenantSchema(
      database.url,
      async ({ client }, schema) => {
        const quote = (name: string) => client.escapeIdentifier(name);
        for (const { name, lines } of tables) {
          const table = schema.catalog.tables.get(name);
          assert.ok(table?.key);
          const columns = storedColumns(table);
          const fields = columns
            .map((c) => `${quote(c.name)} ${c.encoding.as === "value" ? c.type : "text"}`)
            .join(", ");
          const printed = columns.map((c) => `${quote(c.name)}::text`).join(", ");
          const live = `SELECT ${printed} FROM ${quote(table.schema)}.${quote(table.relation)}`;
          const read = columns
            .map((c) => `r.${quote(c.name)}::${c.type}::text AS ${quote(c.name)}`)
            .join(", ");
          for (const line of lines) {
            const { rows } = await client.query<{ same: string }>({
              text: `WITH r AS (SELECT ${read} FROM json_to_record($1) AS r (${fields}))
                     SELECT count(*) AS same FROM r WHERE to_json(r)::text IN
                       (SELECT to_json(l)::text FROM (${live}) AS l)`,
              values: [line],
            });
            assert.equal(rows[0]?.same, "1", `${name}: ${line.slice(0, 2000)}`);
            compared += 1;
          }
        }
      },
      { profile },
    );
  }
  return compared;
}

suite("the values of a bundle", () => {
  let kudo: TestDatabase;
  let other: TestDatabase;

  before(async () => {
    kudo = await createDatabase("lossless", "n-kudo", { settings: { "seed.big": "off" } });
    other = await createOtherDatabase("lossless other");
  });
  after(async () => {
    await kudo.drop();
    await other.drop();
  });

  test("are those that PostgreSQL prints, for every row of N-Kudo's", async () => {
    assert.ok((await comparePrinted(kudo, ["acme", "globex"], "n-kudo")) > 400);
  });

  test("are those that PostgreSQL prints, for every type of another schema", async () => {
    assert.ok((await comparePrinted(other, ["north", "south", "west"], otherProfile)) > 100);
  });

  test("are spelled in JSON as the format says, the nasty ones too", async () => {
    const text = (await exportBundle(kudo.url, "acme")).bytes.toString("utf8");
    const expected = [
      "9007199254740993",
      '"infinity"',
      '"-infinity"',
      '"0044-03-15T12:00:00.123456+00:00 BC"',
      '"12345-06-07T08:09:10.000001+00:00"',
      '"294276-12-31T23:59:59.999999+00:00"',
      // jsonb as its text: key order and numbers as PostgreSQL keeps them.
      '"{\\"9\\": 6, \\"a\\": {\\"x\\": 3, \\"z\\": 1, \\"yy\\": 2}, \\"b\\": 4, \\"10\\": 5, \\"mm\\": 3, \\"apple\\": 2, ',
      "123456789012345678901234567890",
      '"null"',
      '"-0.50"',
      '"C:\\\\new\\\\table\\\\x41\\\\101\\\\u0041 and a backslash at the end \\\\"',
      '"\\\\."',
      '"\\\\N"',
      '"first line\\nsecond line\\n\\nfourth line\\n"',
      '"carriage\\rreturn\\r"',
      '"line\u2028separator, paragraph\u2029separator, next\u0085line"',
      '"control \\u0001\\u0002\\u001f \\b\\f\\u000b\\u001b[31m\u007f characters"',
      "\u{1f600} \u{1f468}\u200d\u{1f469}\u200d\u{1f467}",
      '"  spaces in front and behind  "',
      '"\ufeffbyte order mark in front, zero\u200bwidth, no-break\u00a0space"',
    ];
    for (const fragment of expected) assert.ok(text.includes(fragment), fragment);
  });

  test("of five million bytes come through whole", async () => {
    const database = await createDatabase("lossless big", "n-kudo");
    try {
      const bundle = await readWholeBundle((await exportBundle(database.url, "acme")).bytes);
      const lines = bundle.tables.find((t) => t.name === "public.execution_logs")?.lines ?? [];
      const longest = lines.reduce((a, b) => (a.length > b.length ? a : b), "");
      const { id, message } = JSON.parse(longest) as { id: number; message: string };
      assert.ok(Buffer.byteLength(message) >= 5_000_000);
      const [live] = await database.query<{ message: string }>(
        "SELECT message FROM execution_logs WHERE id = $1",
        [id],
      );
      assert.ok(live?.message === message);
    } finally {
      await database.drop();
    }
  });
});
