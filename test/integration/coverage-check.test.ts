import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { AppError } from "../../src/errors.ts";
import type { TestDatabase } from "../harness/database.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";
import { withTenantSchema } from "../harness/tenant-bundle.ts";

const orders = 'app."Order ""Lines"" v1.2"';

let database: TestDatabase;
before(async () => {
  database = await createOtherDatabase("coverage check");
});
after(() => database.drop());

suite("the coverage check", () => {
  const profile = readFile(otherProfile, "utf8").then(
    (text) => JSON.parse(text) as Record<string, Record<string, unknown>>,
  );

  async function withProfile<T>(document: unknown, use: (file: string) => Promise<T>): Promise<T> {
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    try {
      const file = join(folder, "profile.json");
      await writeFile(file, JSON.stringify(document));
      return await use(file);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  function classified(file: string, acceptUnclassified = false) {
    return withTenantSchema(database.url, async (_session, schema) => schema, {
      profile: file,
      acceptUnclassified,
    });
  }

  test("passes with every table of the schema, parents before children", async () => {
    const schema = await classified(otherProfile);
    assert.deepEqual(
      schema.tables.map((table) => table.name),
      [
        "app.accounts",
        "app.categories",
        "app.customers",
        orders,
        "app.notes",
        "stock.oddities",
        "stock.shelves",
        "stock.items",
        "stock.movements",
      ],
    );
    assert.deepEqual(
      schema.linkedLater.map((key) => [key.from, key.columns, key.to]),
      [
        ["app.accounts", ["main_contact"], "app.customers"],
        ["stock.shelves", ["top_item"], "stock.items"],
      ],
    );
    assert.deepEqual(schema.unclassified, []);
    assert.deepEqual(schema.warnings, []);
  });

  test("names a table without its entry, and says how to classify it", async () => {
    const { "app.currencies": _, ...global } = (await profile).global ?? {};
    await withProfile({ ...(await profile), global }, async (file) => {
      const error = await failure(classified(file));
      assert.equal(error.code, "unclassified-table");
      assert.equal(error.exitCode, 2);
      assert.equal(
        error.message,
        'table "app.currencies" has no foreign key that leads to "app.accounts", and the profile does not classify it',
      );
      assert.deepEqual(error.details, ["app.currencies (code, digits)"]);
      assert.match(
        error.hint ?? "",
        /"global": \{"app\.currencies": "why it belongs to no tenant"\}/,
      );
      assert.match(error.hint ?? "", /"references": \[\{"table": "app\.currencies", /);
      assert.match(error.hint ?? "", /"references": "app\.accounts", "to": \["account_no"\]/);
      assert.match(error.hint ?? "", /--accept-unclassified/);
    });
  });

  test("names every table when several are unclassified, and goes on when told to", async () => {
    const { global: _, references: __, ...rest } = await profile;
    await withProfile({ ...rest, oneWay: {} }, async (file) => {
      const error = await failure(classified(file));
      assert.equal(
        error.message,
        '3 tables have no foreign key that leads to "app.accounts", and the profile does not classify them',
      );
      assert.deepEqual(error.data, {
        tables: ["app.currencies", "app.migrations", "app.notes"],
      });
      const schema = await classified(file, true);
      assert.deepEqual(schema.unclassified, ["app.currencies", "app.migrations", "app.notes"]);
    });
  });

  test("refuses a profile that does not fit the database, saying where", async () => {
    const cases: readonly (readonly [unknown, string])[] = [
      [
        { root: { table: "app.tenants" } },
        'the database has no table "app.tenants", the root of profile "custom"',
      ],
      [
        { root: { table: "app.accounts", key: "id" } },
        'profile "custom": root column "id" does not exist in "app.accounts"',
      ],
      [
        {
          ...(await profile),
          references: [
            {
              table: "app.notes",
              columns: ["acount"],
              references: "app.accounts",
              to: ["account_no"],
            },
          ],
        },
        'profile "shop": the reference from "app.notes" (acount) to "app.accounts" (account_no) does not fit the database: acount does not exist',
      ],
      [
        { ...(await profile), ownership: { "stock.items": ["owner"] } },
        'profile "shop": "stock.items" has no foreign key over (owner), which "ownership" names',
      ],
    ];
    for (const [document, message] of cases) {
      await withProfile(document, async (file) => {
        const error = await failure(classified(file));
        assert.equal(error.message, message);
        assert.equal(error.exitCode, 2);
        assert.ok(error.hint);
      });
    }
  });

  test("refuses a profile file that is not one", async () => {
    const message = async (document: unknown) =>
      withProfile(document, async (file) => (await failure(classified(file))).message);
    assert.match(await message({}), /is invalid: the document must have required property 'root'$/);
    assert.match(
      await message({ root: { table: "app.accounts" }, globl: {} }),
      /is invalid: the document must NOT have additional properties/,
    );
    const missing = await failure(classified("/nowhere/profile.json"));
    assert.equal(missing.message, 'the profile "/nowhere/profile.json" cannot be read');
    assert.equal(missing.exitCode, 2);
  });
});

async function failure(promise: Promise<unknown>): Promise<AppError> {
  const error: unknown = await promise.then(
    () => assert.fail("nothing was refused"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof AppError, String(error));
  return error;
}
