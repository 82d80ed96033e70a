import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { ClonePolicy, Profile } from "../../src/profile/profile.ts";
import { commitElsewhere } from "../harness/audit-chain.ts";
import { shapeOf } from "../harness/clone.ts";
import type { TestDatabase } from "../harness/database.ts";
import {
  assertImportRefused,
  changesOf,
  importBytes,
  importInto,
  tenantDigests,
} from "../harness/import.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";
import { exportBundle, withTenantSchema } from "../harness/tenant-bundle.ts";

const clone = { slug: "copy", withAudit: false };
const orders = 'app."Order ""Lines"" v1.2"';
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "pgtenant-clone-"));
});
after(() => rm(folder, { recursive: true }));

/** The fixture's profile with another clone policy, in a file. */
async function profileWith(policy: Partial<ClonePolicy> | undefined): Promise<string> {
  const profile = JSON.parse(await readFile(otherProfile, "utf8")) as Profile & {
    clone?: Partial<ClonePolicy>;
  };
  const { $schema, clone: own, ...rest } = profile as typeof profile & { $schema?: string };
  const path = join(folder, `${Math.random()}.json`);
  const changed = policy === undefined ? rest : { ...rest, clone: { ...own, ...policy } };
  await writeFile(path, JSON.stringify(changed));
  return path;
}

async function withOther(
  suite: string,
  use: (database: TestDatabase, exported: (profile: string) => Promise<Buffer>) => Promise<void>,
): Promise<void> {
  const database = await createOtherDatabase(suite);
  try {
    await use(database, async (profile) => {
      const { bytes } = await exportBundle(database.url, "north", { profile });
      return bytes;
    });
  } finally {
    await database.drop();
  }
}

test("integer keys, cycles, identity columns and partitions are cloned, as the profile says", () =>
  withOther("clone-other", async (database, exported) => {
    const choice = { profile: otherProfile };
    const bytes = await exported(otherProfile);
    const old = await tenantDigests(database, choice);
    const shape = await shapeOf(database, "north", [], choice);
    const dry = await importBytes(database.url, bytes, { ...choice, clone, dryRun: true });
    const done = await importBytes(database.url, bytes, { ...choice, clone });
    assert.deepEqual(changesOf(done), changesOf(dry));
    await importBytes(database.url, bytes, {
      ...choice,
      clone: { ...clone, slug: "second", name: "Second" },
    });
    for (const slug of ["copy", "second"]) {
      assert.deepEqual(await shapeOf(database, slug, [], choice), shape);
    }
    const now = await tenantDigests(database, choice);
    for (const slug of ["north", "south", "west"])
      assert.deepEqual(now.get(slug), old.get(slug), slug);
    const accounts = await database.query(
      "SELECT account_no, handle, title, pin LIKE 'pgtenant-clone-%' AS dropped FROM app.accounts ORDER BY 1",
    );
    assert.deepEqual(accounts.slice(-2), [
      { account_no: 3, handle: "copy", title: "North & Sons", dropped: true },
      { account_no: 4, handle: "second", title: "Second", dropped: true },
    ]);
    // Each row's partners are the copies of the original's partners.
    const people = (slug: string) =>
      database.query(`
        SELECT c.full_name, r.full_name AS recruiter, c.email, a.main_contact = c.id AS contact
          FROM app.customers c JOIN app.accounts a USING (account_no) LEFT JOIN app.customers r ON r.id = c.recruited_by
         WHERE handle = '${slug}' ORDER BY c.id`);
    assert.deepEqual(await people("copy"), await people("north"));
    const steps = await database.query(`
      SELECT DISTINCT "Id" - lag("Id") OVER (ORDER BY "Id") AS step FROM ${orders} WHERE "Id" > 690`);
    assert.deepEqual(
      steps.map((row) => row.step).filter((step) => step !== null),
      [10],
    );
    const moves = (slug: string) =>
      database.query(`
        SELECT m.moved_on, kind, amount, i.name, t.name AS top
          FROM stock.movements m JOIN stock.items i ON i.id = item_id JOIN stock.shelves s ON s.id = shelf_id JOIN stock.items t ON t.id = top_item
          JOIN app.accounts USING (account_no) WHERE handle = '${slug}' ORDER BY m.id`);
    assert.deepEqual(await moves("copy"), await moves("north"));
  }));

test("without a policy a clone of natural keys is refused, and each key is named", () =>
  withOther("clone-no-policy", async (database, exported) => {
    const profile = await profileWith(undefined);
    const bytes = await exported(profile);
    const { details } = await assertImportRefused(
      database,
      bytes,
      { clone, profile },
      {
        exitCode: 4,
        message:
          /^a clone needs other keys than its original, and the profile does not say which: app\.accounts \(account_no\); /,
        hint: /"renumber": .+"drop": .+"leaveOut": /,
      },
    );
    assert.deepEqual(details, [
      "app.accounts (account_no)",
      "stock.oddities (no)",
      "stock.shelves (id)",
      "stock.items (id)",
    ]);
    const narrow = await profileWith({
      renumber: {
        "stock.items": { id: { min: 101, max: 115 } },
        "stock.shelves": { id: { min: 1, max: 99 } },
        "app.accounts": { account_no: { min: 1, max: 99 } },
        "stock.oddities": { no: { min: 1, max: 99 } },
      },
    });
    await assertImportRefused(
      database,
      bytes,
      { clone, profile: narrow },
      {
        exitCode: 4,
        message:
          /^"stock\.items\.id" has not 6 numbers left between 101 and 115; nothing was written$/,
        hint: /^Widen its range/,
      },
    );
  }));

test("with a table that is left out goes what cannot be without it, and other references to it are cleared", () =>
  withOther("clone-left-out", async (database, exported) => {
    const profile = await profileWith({ leaveOut: { "app.customers": "people of the original" } });
    const { plan } = await importBytes(database.url, await exported(profile), { clone, profile });
    assert.deepEqual(plan.leftOut, [{ table: "app.customers", reason: "people of the original" }]);
    const notes = plan.notes.map((note) => `${note.table}: ${note.reason}`);
    const rows = plan.tables.find(({ table }) => table.includes("Lines"));
    assert.equal(rows?.insert, 0);
    assert.ok(
      notes.includes(
        'app."Order ""Lines"" v1.2": 30 row(s) stay out, because they hang on rows of app.customers that are left out',
      ),
      notes.join("\n"),
    );
    assert.ok(
      notes.includes(
        "app.accounts: 1 row(s) lose main_contact, because the rows of app.customers that it names are left out",
      ),
    );
    const [account] = await database.query(
      "SELECT main_contact, (SELECT count(*) FROM stock.movements) AS moves FROM app.accounts WHERE handle = 'copy'",
    );
    assert.deepEqual(account, { main_contact: null, moves: "36" });
  }));

test("a natural key can become one that fits nothing, in a column of any length, and references follow", () =>
  withOther("clone-text-keys", async (database, exported) => {
    await database.query(`
      CREATE TABLE app.labels (label varchar(12) PRIMARY KEY, account_no integer NOT NULL REFERENCES app.accounts);
      CREATE TABLE app.uses (label varchar(12) REFERENCES app.labels, n integer, account_no integer REFERENCES app.accounts,
        token uuid NOT NULL, bits bytea NOT NULL, PRIMARY KEY (label, n));
      INSERT INTO app.labels SELECT 'label ' || n, 1 FROM generate_series(1, 3) AS n;
      INSERT INTO app.uses SELECT 'label ' || n, m, 1, md5('x')::uuid, 'x' FROM generate_series(1, 3) AS n, generate_series(1, n) AS m;`);
    const profile = await profileWith({
      drop: { "app.labels": ["label"], "app.uses": ["token", "bits"] },
    });
    await importBytes(database.url, await exported(profile), { clone, profile });
    const uses = await database.query(`
      SELECT count(*) AS uses, length(label) AS length, count(DISTINCT token) AS tokens, min(length(bits)) AS bytes
        FROM app.uses JOIN app.accounts USING (account_no) WHERE handle = 'copy' GROUP BY label ORDER BY 1`);
    assert.deepEqual(
      uses,
      [1, 2, 3].map((n) => ({ uses: `${n}`, length: 12, tokens: `${n}`, bytes: 32 })),
    );
    const numbers = await profileWith({ drop: { "stock.movements": ["amount"] } });
    await assertImportRefused(
      database,
      await exported(profile),
      {
        clone: { ...clone, slug: "other" },
        profile: await profileWith({
          ...JSON.parse(await readFile(numbers, "utf8")).clone,
          drop: { "app.labels": ["label"], "stock.movements": ["amount"] },
        }),
      },
      {
        exitCode: 4,
        message:
          /^"stock\.movements\.amount" must have a value, and no integer is known that fits nothing/,
      },
    );
  }));

test("a column that holds keys of any table follows them, also when they are drawn by others meanwhile", () =>
  withOther("clone-ids", async (database, exported) => {
    const profile = await profileWith({ ids: { "app.notes": ["body"] } });
    await database.query(`
      UPDATE app.notes SET body = coalesce((
        SELECT "Id"::text FROM ${orders} o JOIN app.customers c ON c.id = "customer.id"
         WHERE c.account_no = notes.account_no AND "Id" > 200 AND external_no IS NOT NULL ORDER BY "Id" LIMIT 1), body)
       WHERE id = (SELECT min(id::text)::uuid FROM app.notes WHERE account_no = 1)`);
    const bytes = await exported(profile);
    const meant = (slug: string) =>
      database.query(`
        SELECT o.external_no, o.quantity FROM app.notes n JOIN app.accounts USING (account_no)
          JOIN ${orders} o ON o."Id"::text = body WHERE handle = '${slug}'`);
    const wanted = await meant("north");
    assert.equal(wanted.length, 1);
    await withTenantSchema(
      database.url,
      (session, schema) =>
        importInto(session, schema, bytes, {
          clone,
          onPlan: () =>
            commitElsewhere(
              database,
              `SELECT nextval(pg_get_serial_sequence('app."Order ""Lines"" v1.2"', 'Id'))`,
            ),
        }),
      { profile },
    );
    assert.deepEqual(await meant("copy"), wanted);
    const [moved] = await database.query(
      `SELECT min("Id") AS first FROM ${orders} WHERE "Id" > 690`,
    );
    assert.deepEqual(moved, { first: 710 });

    await database.query("UPDATE app.notes SET body = '110' WHERE account_no = 1");
    await assertImportRefused(
      database,
      await exported(profile),
      { clone: { ...clone, slug: "other" }, profile },
      {
        exitCode: 4,
        message: /^"110" in "app\.notes\.body" is the key of rows of several tables/,
        hint: /"ids" of "clone"/,
      },
    );
  }));
