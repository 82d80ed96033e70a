import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import type { BundleHeader, JsonSchema } from "../../src/bundle/format.ts";
import { defaultMaxRowBytes } from "../../src/bundle/format.ts";
import { type VerifiedBundle, verifyBundle } from "../../src/bundle/verify.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { edit, type ForgedRow, type Forgery, forge } from "../harness/forge.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";
import { exportBundle, inChunks } from "../harness/tenant-bundle.ts";

const nowhere = "00000000-0000-0000-0000-000000000000";

function verify(bytes: Uint8Array): Promise<VerifiedBundle> {
  return verifyBundle(inChunks(bytes), { name: '"b"', maxRowBytes: defaultMaxRowBytes });
}

/** `kind table row (columns)` of each finding of the forged bundle. */
async function findingsOf(bytes: Uint8Array, forgery: Forgery): Promise<readonly string[]> {
  const { findings } = await verify(await forge(bytes, forgery));
  return findings.map(({ kind, table, row, columns }) => {
    const place = columns.length === 0 ? "" : ` (${columns.join(", ")})`;
    return `${kind} ${table} ${row}${place}`;
  });
}

/** The header with another schema for one table. */
function withSchema(table: string, change: (schema: JsonSchema) => JsonSchema) {
  return (header: BundleHeader): BundleHeader => ({
    ...header,
    tables: header.tables.map((entry) =>
      entry.name === table ? { ...entry, schema: change(entry.schema) } : entry,
    ),
  });
}

function bigNumber(digits: string): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(digits);
}

suite("verify", () => {
  let database: TestDatabase;
  let bundle: Buffer;
  let rows: number;
  before(async () => {
    database = await createDatabase("verify", "n-kudo", { settings: { "seed.big": "off" } });
    const { bytes, result } = await exportBundle(database.url, "acme");
    bundle = bytes;
    rows = result.rows;
  });
  after(() => database.drop());

  test("finds nothing in what export wrote, and counts the chain's links", async () => {
    const found = await verify(bundle);
    assert.equal(found.found, 0);
    assert.deepEqual(found.findings, []);
    assert.deepEqual(found.further, []);
    assert.deepEqual(found.notes, []);
    assert.equal(found.rows, rows);
    // In runs of three, so that each run's first link leads to another tenant's row.
    assert.deepEqual(found.chains, [
      { table: "public.audit_events", holding: 20, leadingOutside: 10, broken: 0, unhashed: 0 },
    ]);
    const { code, stdout } = await pgtenant(["verify", "-"], { input: bundle });
    assert.equal(code, 0);
    assert.match(
      stdout.toString(),
      new RegExp(
        `^the standard input is whole and valid: tenant "acme" as of \\S+Z\\n {2}${rows} rows of 21 tables; hashes, counts, schemas, keys and references hold\\n {2}chain of public\\.audit_events: 20 links hold, 10 lead to rows outside the bundle\\n {2}checked in .* s \\([\\d,]+ rows/s\\)\\n$`,
      ),
    );
  });

  test("finds a row that does not fit its schema, and goes on behind it", async () => {
    const forgery: Forgery = {
      rows: {
        sites: (sites) =>
          sites.map((row, i) => {
            if (i === 0) return { ...row, name: 5 };
            return i === 1 ? { ...row, extra: "x" } : row;
          }),
        users: edit({ id: "no uuid" }),
      },
    };
    assert.deepEqual(
      (await findingsOf(bundle, forgery)).filter((one) => one.startsWith("invalid-row")),
      ["invalid-row public.users 1", "invalid-row public.sites 1", "invalid-row public.sites 2"],
    );
    const { findings } = await verify(await forge(bundle, forgery));
    const messages = findings.map((finding) => finding.message);
    for (const expected of [
      'row 1 of table "public.users" is invalid: column "id" must match format "uuid"',
      'row 1 of table "public.sites" is invalid: column "name" must be string',
      'row 2 of table "public.sites" is invalid: column "extra" is not one of the table\'s',
    ]) {
      assert.ok(messages.includes(expected), messages.join("\n"));
    }
  });

  test("finds a line that is no JSON", async () => {
    const notJson = await findingsOf(bundle, { lines: { api_keys: (l) => l.with(1, "{oops") } });
    assert.deepEqual(notJson, ["invalid-row public.api_keys 2"]);
  });

  test("finds the key of a row before it", async () => {
    const doubled = (all: ForgedRow[]) => [...all, ...all.slice(0, 1)];
    assert.deepEqual(await findingsOf(bundle, { rows: { api_keys: doubled } }), [
      "duplicate-key public.api_keys 5 (id)",
    ]);
  });

  test("finds a reference to a row that is not there, by all of its columns", async () => {
    assert.deepEqual(await findingsOf(bundle, { rows: { agents: edit({ host_id: nowhere }) } }), [
      "dangling-reference public.agents 1 (host_id, tenant_id)",
    ]);
    const { findings } = await verify(
      await forge(bundle, { rows: { agents: edit({ host_id: nowhere }) } }),
    );
    assert.equal(
      findings[0]?.message,
      'row 1 of table "public.agents" refers by (host_id, tenant_id) to a row of "public.hosts" (id, tenant_id) that is not in the bundle',
    );
  });

  test("finds text that is not JSON where JSON has to be", async () => {
    for (const text of ["", "{", "NaN", "{'a':1}", "1 2"]) {
      const found = await findingsOf(bundle, {
        rows: { audit_events: edit({ metadata_json: text }) },
      });
      assert.deepEqual(found, ["invalid-json public.audit_events 1 (metadata_json)"], text);
    }
    const fine = { rows: { audit_events: edit({ metadata_json: " null " }) } };
    assert.deepEqual(await findingsOf(bundle, fine), []);
  });

  test("tells a broken link from one that leads to a row outside", async () => {
    const relink = (at: number) => (events: ForgedRow[]) =>
      events.with(at, { ...events[at], prev_hash: "0".repeat(64) });
    // Rows 1 to 3 are one run, so nothing can lie between 1 and 2; row 4 begins another.
    assert.deepEqual(await findingsOf(bundle, { rows: { audit_events: relink(1) } }), [
      "broken-chain public.audit_events 2 (prev_hash)",
    ]);
    assert.deepEqual(await findingsOf(bundle, { rows: { audit_events: relink(3) } }), []);
    const altered = await findingsOf(bundle, {
      rows: { audit_events: edit({ entry_hash: "f".repeat(64) }) },
    });
    assert.deepEqual(altered, ["broken-chain public.audit_events 2 (prev_hash)"]);
  });

  test("follows the chain over ids that are one as doubles", async () => {
    const renumber = (last: string) => (events: ForgedRow[]) => {
      const [first, second] = events.slice(-2);
      return [
        ...events.slice(0, -2),
        { ...first, id: bigNumber("9007199254740992") },
        { ...second, id: bigNumber(last), prev_hash: "0".repeat(64) },
      ];
    };
    assert.deepEqual(
      await findingsOf(bundle, { rows: { audit_events: renumber("9007199254740993") } }),
      ["broken-chain public.audit_events 30 (prev_hash)"],
    );
    assert.deepEqual(
      await findingsOf(bundle, { rows: { audit_events: renumber("9007199254740995") } }),
      [],
    );
  });

  test("lists twenty of each kind at each place, and counts the others", async () => {
    const logs = (all: ForgedRow[]) => all.map((row) => ({ ...row, execution_id: nowhere }));
    const forged = await forge(bundle, { rows: { execution_logs: logs } });
    const found = await verify(forged);
    assert.equal(found.found, 40);
    assert.equal(found.findings.length, 20);
    const columns = ["execution_id", "tenant_id"];
    assert.deepEqual(found.further, [
      { kind: "dangling-reference", table: "public.execution_logs", columns, count: 20 },
    ]);
    const { code, stdout, stderr } = await pgtenant(["verify", "-", "--json"], { input: forged });
    assert.equal(code, 3);
    const lines = stderr.split("\n");
    assert.equal(
      lines[0],
      "pgtenant: the standard input is whole, but 40 things in it do not hold",
    );
    assert.equal(lines.filter((line) => line.startsWith("  row ")).length, 20);
    assert.equal(
      lines[21],
      '  20 more in table "public.execution_logs" (execution_id, tenant_id): dangling-reference',
    );
    assert.match(lines[22] ?? "", /^hint: The bundle was made by other means than pgtenant export/);
    const { error } = JSON.parse(stdout.toString());
    assert.equal(error.code, "invalid-bundle");
    assert.equal(error.valid, false);
    assert.equal(error.found, 40);
    assert.equal(error.findings.length, 20);
    assert.deepEqual(error.findings[19], { ...found.findings[19] });
  });

  test("says one thing does not hold, in the singular", async () => {
    const forged = await forge(bundle, { rows: { agents: edit({ host_id: nowhere }) } });
    const { code, stderr } = await pgtenant(["verify", "-"], { input: forged });
    assert.equal(code, 3);
    assert.match(
      stderr,
      /^pgtenant: the standard input is whole, but 1 thing in it does not hold\n {2}row 1 of/,
    );
  });

  test("names columns whose schema in the header is not the profile's", async () => {
    const looser = withSchema("public.sites", (schema) => ({
      ...schema,
      properties: { ...(schema.properties as object), name: {}, new: { type: "string" } },
    }));
    const { found, notes } = await verify(await forge(bundle, { header: looser }));
    assert.equal(found, 0);
    assert.deepEqual(notes, [
      'column "public.sites.name" has another schema than the profile\'s',
      'column "public.sites.new" is not in the profile\'s schema',
    ]);
  });

  test("does not compile a header's schema with anything unusual in it: exit 3", async () => {
    const unusual: readonly (readonly [what: object, reason: RegExp])[] = [
      [{ pattern: "^(a+)+$" }, /uses the keyword "pattern"$/],
      [{ $ref: "#" }, /uses the keyword "\$ref"$/],
      [{ patternProperties: {} }, /uses the keyword "patternProperties"$/],
      [{ anyOf: [{ not: {} }] }, /uses the keyword "not"$/],
      [{ properties: { id: { $dynamicRef: "#" } } }, /uses the keyword "\$dynamicRef"$/],
      [{ additionalProperties: {} }, /has an "additionalProperties" that is not true or false$/],
      [{ type: "colour" }, /^the schema of table "public\.sites" cannot be used$/],
    ];
    for (const [change, message] of unusual) {
      const header = withSchema("public.sites", (schema) => ({ ...schema, ...change }));
      await assert.rejects(verify(await forge(bundle, { header })), {
        code: "invalid-embedded-schema",
        exitCode: 3,
        message,
      });
    }
  });
});

suite("verify, of a schema that is not N-Kudo's", () => {
  let database: TestDatabase;
  let bundle: Buffer;
  before(async () => {
    database = await createOtherDatabase("verify other");
    const { bytes } = await exportBundle(database.url, "north", { profile: otherProfile });
    bundle = bytes;
  });
  after(() => database.drop());

  test("goes by the schemas in the header", async () => {
    const found = await verify(bundle);
    assert.deepEqual(found.findings, []);
    assert.deepEqual(found.notes, []);
    assert.deepEqual(found.chains, []);
    assert.ok(found.rows > 10);
    const oddity = edit({ yes: "perhaps" });
    assert.deepEqual(await findingsOf(bundle, { rows: { "stock.oddities": oddity } }), [
      "invalid-row stock.oddities 1",
    ]);
  });

  test("follows references to rows further down, and to rows of the same table", async () => {
    const forward = await findingsOf(bundle, {
      rows: { "app.accounts": edit({ main_contact: 999_999 }) },
    });
    assert.deepEqual(forward, ["dangling-reference app.accounts 1 (main_contact)"]);
    const self = await findingsOf(bundle, {
      rows: { "app.customers": edit({ recruited_by: 999_999 }) },
    });
    assert.deepEqual(self, ["dangling-reference app.customers 1 (recruited_by)"]);
    const composite = await findingsOf(bundle, {
      rows: { "app.categories": edit({ parent: "nowhere" }) },
    });
    assert.deepEqual(composite, ["dangling-reference app.categories 1 (account_no, parent)"]);
  });

  test("takes a key of several columns as one", async () => {
    const doubled = await findingsOf(bundle, {
      rows: { "stock.movements": (all) => [...all, ...all.slice(0, 1)] },
    });
    assert.equal(doubled.length, 1);
    assert.match(doubled[0] ?? "", /^duplicate-key stock\.movements \d+ \(id, moved_on, kind\)$/);
  });
});
