import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import type { Catalog, Column, Table } from "../../src/catalog/catalog.ts";
import { readCatalog } from "../../src/catalog/read-catalog.ts";
import { withSession } from "../../src/postgres/session.ts";
import type { TestDatabase } from "../harness/database.ts";
import { createOtherDatabase } from "../harness/other-database.ts";

const orders = 'app."Order ""Lines"" v1.2"';

let database: TestDatabase;
before(async () => {
  database = await createOtherDatabase("other schema");
});
after(() => database.drop());

suite("the catalog of a schema that is not N-Kudo's", () => {
  let catalog: Catalog;
  before(async () => {
    catalog = await withSession(
      { databaseUrl: database.url, applicationName: "pgtenant-test" },
      readCatalog,
    );
  });

  function table(name: string): Table {
    const found = catalog.tables.get(name);
    assert.ok(found, `no table ${name}`);
    return found;
  }

  function column(tableName: string, name: string): Column {
    const found = table(tableName).columns.find((entry) => entry.name === name);
    assert.ok(found, `no column ${tableName}.${name}`);
    return found;
  }

  test("has the tables of both schemas, a partitioned one once, names quoted where needed", () => {
    assert.deepEqual(
      [...catalog.tables.keys()],
      [
        orders,
        "app.accounts",
        "app.categories",
        "app.currencies",
        "app.customers",
        "app.migrations",
        "app.notes",
        "stock.items",
        "stock.movements",
        "stock.oddities",
        "stock.shelves",
      ],
    );
    assert.equal(table("stock.movements").kind, "partitioned");
    assert.equal(table("stock.movements").storage.length, 4);
    assert.equal(table("stock.items").kind, "table");
    assert.equal(table("stock.items").storage.length, 1);
  });

  test("tells primary keys, composite ones, and unique indexes that stand in for one", () => {
    assert.deepEqual(table("app.categories").key, ["account_no", "code"]);
    assert.deepEqual(table("stock.movements").key, ["id", "moved_on", "kind"]);
    assert.deepEqual(table("stock.oddities").key, ["no"]);
    assert.deepEqual(table(orders).key, ["Id"]);
  });

  test("tells identity and generated columns", () => {
    assert.equal(column("app.customers", "id").identity, "always");
    assert.equal(column(orders, "Id").identity, "by default");
    assert.equal(column("app.customers", "first_name").identity, undefined);
    assert.match(
      column("app.customers", "full_name").generatedAs ?? "",
      /first_name \|\| ' '::text/,
    );
    assert.ok(column("app.accounts", "pin").hasDefault);
    assert.ok(!column("app.accounts", "title").hasDefault);
  });

  test("tells foreign keys over several columns, their actions, and which can wait", () => {
    const self = table("app.categories").foreignKeys.find((key) => key.to === "app.categories");
    assert.deepEqual(self?.columns, ["account_no", "parent"]);
    assert.deepEqual(self?.toColumns, ["account_no", "code"]);
    assert.equal(self?.deferrable, true);
    const [contact] = table("app.accounts").foreignKeys;
    assert.equal(contact?.onDelete, "set null");
    assert.deepEqual(contact?.clearedColumns, ["main_contact"]);
    assert.deepEqual(
      table(orders).foreignKeys.map((key) => [key.columns, key.to, key.onDelete]),
      [
        [["currency"], "app.currencies", "no action"],
        [["customer.id"], "app.customers", "cascade"],
      ],
    );
    // Partitions inherit the key; it counts once.
    assert.equal(table("stock.movements").foreignKeys.length, 1);
  });

  test("tells unique indexes with a condition, an expression, and NULLs that are alike", () => {
    const open = table(orders).uniqueIndexes.find((index) => index.name === "one_new_order_key");
    assert.deepEqual(open?.columns, ["customer.id"]);
    assert.equal(open?.predicate, "(state = 'new'::app.status)");
    const email = table("app.customers").uniqueIndexes.find(
      (index) => index.name === "customers_email_key",
    );
    assert.equal(email?.columns, undefined);
    assert.deepEqual(email?.expressions, ["account_no", "lower(email)"]);
    const recruit = table("app.customers").uniqueIndexes.find(
      (index) => index.name === "customers_recruit_key",
    );
    if (recruit !== undefined) assert.equal(recruit.nullsNotDistinct, true);
    assert.equal(open?.nullsNotDistinct, false);
  });

  test("tells the sequences behind columns, with their increments", () => {
    assert.deepEqual(table("stock.movements").sequences, [
      {
        schema: "stock",
        relation: "movements_id_seq",
        column: "id",
        increment: 1n,
        limit: 9223372036854775807n,
      },
    ]);
    assert.equal(table(orders).sequences[0]?.column, "Id");
    assert.equal(table(orders).sequences[0]?.increment, 10n);
    assert.deepEqual(table("stock.items").sequences, []);
  });

  test("lets only types travel as values whose JSON form reads back to the same bits", () => {
    const encodings = (as: "value" | "text") =>
      table("stock.oddities")
        .columns.filter((entry) => entry.encoding.as === as)
        .map((entry) => entry.name)
        .filter((name) => name !== "nickname" && name !== "pairs");
    assert.deepEqual(encodings("text"), [
      ...["cash", "doc", "doc_b", "path", "markup", "words", "search", "spot", "outline"],
      ...["integers", "texts", "stamps", "grid", "statuses", "home", "homes", "tags"],
      ...["span_int", "span_num", "span_day", "span_time", "spans"],
      ...["type_oid", "position"],
    ]);
    assert.deepEqual(column("stock.oddities", "doc_b").encoding, { as: "text", json: true });
    assert.deepEqual(column("stock.oddities", "tags").encoding, { as: "text", json: false });
    // A domain over a domain over text is text; an enum is known by its labels.
    assert.deepEqual(column("stock.oddities", "handle").encoding, { as: "value", shape: "string" });
    assert.deepEqual(column("stock.oddities", "state").enumLabels, [
      "new",
      "in progress",
      'it\'s "done"',
    ]);
    assert.deepEqual(column(orders, "quantity").encoding, { as: "value", shape: "int32" });
  });
});
