import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import type { TestDatabase } from "../harness/database.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";
import {
  exportBundle,
  type ReadBundle,
  readWholeBundle,
  rowsOf,
  withTenantSchema,
} from "../harness/tenant-bundle.ts";

const orders = 'app."Order ""Lines"" v1.2"';

suite("an export by a profile of one's own", () => {
  let database: TestDatabase;
  let north: ReadBundle;
  let west: ReadBundle;

  before(async () => {
    database = await createOtherDatabase("other export");
    const read = async (tenant: string) =>
      readWholeBundle((await exportBundle(database.url, tenant, { profile: otherProfile })).bytes);
    north = await read("north");
    west = await read("-7");
  });
  after(() => database.drop());

  test("names tenant, profile, migrations and what is left out in its header", () => {
    assert.deepEqual(north.header.tenant, { id: "1", slug: "north", name: "North & Sons" });
    assert.deepEqual(west.header.tenant, { id: "-7", slug: "west", name: null });
    assert.deepEqual(north.header.profile, { name: "shop", version: 1 });
    assert.deepEqual(north.header.source.migrations, ["001", "002"]);
    const reason = "generated: the target database computes it";
    assert.deepEqual(north.header.leftOut, [
      { column: "app.customers.full_name", reason },
      { column: `${orders}.total`, reason },
    ]);
  });

  test("describes each column: type, nullability and encoding", () => {
    const columns = north.header.tables.find((table) => table.name === orders)?.columns;
    assert.deepEqual(columns, [
      { name: "Id", type: "integer", nullable: false, encoding: "value" },
      { name: "customer.id", type: "bigint", nullable: false, encoding: "value" },
      { name: "currency", type: "character(3)", nullable: false, encoding: "value" },
      { name: 'say "price"', type: "numeric(12,2)", nullable: false, encoding: "value" },
      { name: "quantity", type: "app.positive", nullable: false, encoding: "value" },
      { name: "state", type: "app.status", nullable: false, encoding: "value" },
      { name: "external_no", type: "text", nullable: true, encoding: "value" },
    ]);
  });

  test("names the way to the tenant and the references that hold inside the bundle", () => {
    const find = (name: string) => north.header.tables.find((table) => table.name === name);
    assert.deepEqual(find("app.notes")?.ownedThrough, ["account_no -> app.accounts (account_no)"]);
    assert.deepEqual(find(orders)?.ownedThrough, ["customer.id -> app.customers (id)"]);
    assert.deepEqual(find(orders)?.references, [
      { columns: ["customer.id"], table: "app.customers", to: ["id"] },
    ]);
    // A reference without a constraint may dangle, so it is no promise of the bundle.
    assert.deepEqual(find("app.notes")?.references, []);
  });

  test("has the rows of its tenant, sorted by the key's bytes", async () => {
    assert.deepEqual(
      rowsOf(north, "app.categories").map((row) => row.code),
      ["", "B", "_", "a", "z", "\u00e4"],
    );
    assert.deepEqual(rowsOf(west, "app.categories"), []);
    assert.equal(west.trailer.rows, 1);
    const [count] = await database.query<{ count: string }>(`
      SELECT count(*) FROM stock.movements m JOIN stock.items i ON i.id = m.item_id
        JOIN stock.shelves s ON s.id = i.shelf_id WHERE s.account_no = 1`);
    assert.equal(rowsOf(north, "stock.movements").length, Number(count?.count));
  });

  test("has every row of every tenant in exactly one bundle", async () => {
    const south = await readWholeBundle(
      (await exportBundle(database.url, "south", { profile: otherProfile })).bytes,
    );
    await withTenantSchema(
      database.url,
      async (_session, schema) => {
        for (const table of schema.tables) {
          const lines = [north, south, west].flatMap(
            (bundle) => bundle.tables.find((entry) => entry.name === table.name)?.lines ?? [],
          );
          const name = `"${table.schema}"."${table.relation.replaceAll('"', '""')}"`;
          const [total] = await database.query<{ count: string }>(`SELECT count(*) FROM ${name}`);
          assert.equal(new Set(lines).size, Number(total?.count), table.name);
          assert.equal(lines.length, Number(total?.count), table.name);
        }
      },
      { profile: otherProfile },
    );
  });

  test("keeps values that JSON's own types would change", () => {
    const lines = north.tables.find((table) => table.name === "stock.oddities")?.lines ?? [];
    const expected: readonly (readonly [row: number, fragments: readonly string[]])[] = [
      [
        0,
        [
          '"big":9223372036854775807',
          '"exact":123456789012345678901234567890.123456789012345678901234567890',
          '"exact_2":1234567890123456789012345678.90',
          '"double":1e-300',
          '"cash":"$1,234.56"',
          '"one_char":"a"',
          '"char_5":"ab   "',
          '"bytes":"\\\\x00ff0a5c22"',
          '"bits_3":"101","bits":""',
          '"day":"0044-03-15 BC","clock":"24:00:00","clock_zone":"23:59:59.999999-15:59:59"',
          '"moment":"infinity"',
          '"moment_zone":"-infinity"',
          '"span":"P-177Y-7M-3DT4H5M6.789012S"',
          '"ip":"192.168.1.5/24"',
          '"mac_8":"08:00:2b:01:02:03:04:05"',
          '"doc":"{\\"b\\" : 1,\\n \\"a\\":1, \\"a\\": 2, \\"n\\": 1.10, \\"u\\": \\"\\\\u00e9\\"}"',
          '"doc_b":"null"',
          '"markup":"<a b=\\"c\\">&amp; d</a>"',
          '"integers":"[-2:0]={1,NULL,3}"',
          '"texts":"{\\"\\",\\"NULL\\",NULL,\\"a,b\\",\\"\\\\\\"q\\\\\\" \\\\\\\\ {}\\"}"',
          '"grid":"[0:1][5:6]={{1,2},{3,4}}"',
          '"home":"(\\"1 \\"\\"Main\\"\\" St, apt (2)\\",\\"\\",\\"{1,NULL}\\")"',
          '"state":"it\'s \\"done\\""',
          '"span_int":"[1,10)","span_num":"(,1.50]","span_day":"empty"',
          '"spans":"{[1,3),[5,8)}"',
          '"type_oid":"2147483648","relation":"app.accounts"',
        ],
      ],
      [
        1,
        [
          '"exact":"NaN","exact_2":0.00,"single":"NaN","double":-0',
          '"cash":"-$0.01"',
          '"one_char":""',
          '"char_5":"\u00e9    "',
          '"varchar_5":"\u00e9\u00e9\u00e9  "',
          '"moment":"294276-12-31T23:59:59.999999"',
          '"moment_zone":"4714-11-24T00:00:00+00:00 BC"',
          '"span":"PT0S"',
          '"doc_b":"{\\"n\\": 1.10, \\"big\\": 1',
          '"spot":"(NaN,Infinity)"',
          '"span_int":"(,)"',
          '"spans":"{}"',
        ],
      ],
      [2, ['"exact":"-Infinity","exact_2":"NaN","single":"-Infinity","double":"Infinity"']],
      [3, ['"single":3.4028235e+38,"double":5e-324']],
    ];
    for (const [row, fragments] of expected) {
      for (const fragment of fragments) {
        assert.ok(lines[row]?.includes(fragment), `row ${row}: ${fragment}\nin ${lines[row]}`);
      }
    }
    assert.match(lines[3] ?? "", /"exact":10{400},/);
    assert.equal(
      Object.values(rowsOf(north, "stock.oddities")[4] ?? {}).filter((v) => v !== null).length,
      2,
    );
  });
});
