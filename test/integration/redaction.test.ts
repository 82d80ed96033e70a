import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { defaultMaxRowBytes } from "../../src/bundle/format.ts";
import { verifyBundle } from "../../src/bundle/verify.ts";
import { AppError } from "../../src/errors.ts";
import { nKudo } from "../../src/profile/n-kudo.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { assertImportRefused, importBytes, withDatabase } from "../harness/import.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";
import {
  exportBundle,
  inChunks,
  type ReadBundle,
  readWholeBundle,
  rowsOf,
} from "../harness/tenant-bundle.ts";

const acme = "(SELECT id FROM tenants WHERE slug LIKE 'acme%')";
const acmesAgents = `(SELECT id FROM agents WHERE tenant_id = ${acme})`;

/** Puts a text that nothing else holds into every column that the profile calls secret or personal. */
async function plant(database: TestDatabase): Promise<void> {
  await database.query(`
    UPDATE users SET password_hash = 'planted secret ' || id, display_name = 'Planted Person ' || id,
           email = 'Planted.' || id || '@Acme.example' WHERE tenant_id = ${acme};
    UPDATE users SET display_name = '' WHERE id = (SELECT max(id::text)::uuid FROM users WHERE tenant_id = ${acme});
    UPDATE project_invitations SET token_hash = 'planted secret ' || id,
           email = (SELECT lower(min(email)) FROM users WHERE tenant_id = ${acme})
     WHERE tenant_id = ${acme} AND status <> 'PENDING';
    UPDATE project_invitations SET token_hash = 'planted secret ' || id, email = 'planted-' || id || '@other.example'
     WHERE tenant_id = ${acme} AND status = 'PENDING';
    UPDATE agents SET refresh_token_hash = 'planted secret ' || id, enrollment_token_hash = 'planted secret ' || id
     WHERE tenant_id = ${acme};
    UPDATE api_keys SET key_hash = 'planted secret ' || id WHERE tenant_id = ${acme};
    UPDATE enrollment_tokens SET token_hash = 'planted secret ' || id WHERE tenant_id = ${acme};
    UPDATE password_reset_tokens SET token_hash = 'planted secret ' || id WHERE tenant_id = ${acme};
    UPDATE email_verification_tokens SET token_hash = 'planted secret ' || id WHERE tenant_id = ${acme};
    UPDATE sites SET name = 'Planted Site ' || id, external_key = 'planted-' || id WHERE tenant_id = ${acme};
    UPDATE hosts SET hostname = 'planted-' || id WHERE tenant_id = ${acme};
    UPDATE executions SET error_message = 'planted ' || id WHERE tenant_id = ${acme};
    UPDATE execution_logs SET message = 'planted ' || id WHERE tenant_id = ${acme} AND message <> '';
    UPDATE audit_events SET source_ip = '203.0.113.77', metadata_json = jsonb_build_object('by', 'planted ' || id)
     WHERE tenant_id = ${acme} AND id % 2 = 0;
    UPDATE audit_events SET source_ip = '2001:db8:ffff::77/64', metadata_json = '{}'
     WHERE tenant_id = ${acme} AND id % 2 = 1;
    UPDATE tenants SET name = 'Planted Customer', slug = 'acme-planted' WHERE slug = 'acme';`);
}

suite("a redacted bundle", () => {
  let database: TestDatabase;
  let folder: string;
  let plain: ReadBundle;
  let redactedBytes: Buffer;
  let anonymousBytes: Buffer;
  let redacted: ReadBundle;
  let anonymous: ReadBundle;
  let columns: readonly string[];
  let warnings: readonly string[];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("redaction", "n-kudo", { settings: { "seed.big": "off" } });
    await plant(database);
    const read = async (redact?: { readonly personal: boolean }) =>
      exportBundle(database.url, "acme-planted", redact === undefined ? {} : { redact });
    plain = await readWholeBundle((await read()).bytes);
    redactedBytes = (await read({ personal: false })).bytes;
    const exported = await read({ personal: true });
    anonymousBytes = exported.bytes;
    columns = exported.result.redacted?.columns ?? [];
    warnings = exported.result.warnings;
    redacted = await readWholeBundle(redactedBytes);
    anonymous = await readWholeBundle(anonymousBytes);
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await database.drop();
  });

  test("holds none of the secrets, and all of the names", () => {
    const text = redactedBytes.toString("utf8");
    assert.doesNotMatch(text, /planted secret/);
    assert.match(text, /Planted Person/);
    assert.deepEqual(redacted.header.redacted?.personal, false);
    assert.equal(redacted.header.tenant.slug, "acme-planted");
    // Everything but secrets is as it was.
    for (const table of plain.tables) {
      const secrets = new Set(nKudo.secrets[table.name]);
      const chain = nKudo.chain[table.name];
      assert.equal(chain !== undefined && secrets.size > 0, false);
      const without = (bundle: ReadBundle) =>
        rowsOf(bundle, table.name).map((row) =>
          Object.entries(row).filter(([name]) => !secrets.has(name)),
        );
      assert.deepEqual(without(redacted), without(plain), table.name);
    }
  });

  test("anonymised, holds nothing of what was planted, in any case of letters", () => {
    const text = anonymousBytes.toString("utf8");
    assert.doesNotMatch(text, /planted/i);
    assert.doesNotMatch(text, /203\.0\.113\.77|ffff::77/);
    for (const { name } of plain.tables) {
      for (const column of [
        ...(nKudo.secrets[name] ?? []),
        ...Object.keys(nKudo.personal[name] ?? {}),
      ]) {
        assert.ok(columns.includes(`${name}.${column}`), `${name}.${column}`);
      }
    }
    assert.deepEqual(anonymous.header.redacted, { secrets: true, personal: true, columns });
  });

  test("replaces by the same kind, the same for equal values in every table", () => {
    const users = rowsOf(anonymous, "public.users");
    const emails = users.map((row) => String(row.email));
    for (const email of emails) assert.match(email, /^u-[0-9a-f]{16}@example\.invalid$/);
    assert.equal(new Set(emails).size, users.length);
    const invited = rowsOf(anonymous, "public.project_invitations").map((row) => String(row.email));
    const before = rowsOf(plain, "public.users").map((row) => String(row.email).toLowerCase());
    const invitedBefore = rowsOf(plain, "public.project_invitations").map((row) => row.email);
    for (const [i, email] of invited.entries()) {
      const at = before.indexOf(String(invitedBefore[i]));
      if (at >= 0) assert.equal(email, emails[at]);
    }
    assert.ok(invited.some((email) => emails.includes(email)));
    const names = users.map((row) => String(row.display_name));
    assert.deepEqual(
      names.filter((name) => !/^Name [0-9a-f]{14}$/.test(name)),
      [""],
    );
    for (const row of rowsOf(anonymous, "public.hosts")) {
      assert.match(String(row.hostname), /^name-[0-9a-f]{14}$/);
    }
    for (const row of rowsOf(anonymous, "public.users")) {
      assert.match(String(row.password_hash), /^[0-9a-f]{64}$/);
    }
    const addresses = new Set(rowsOf(anonymous, "public.audit_events").map((row) => row.source_ip));
    assert.equal(addresses.size, 2);
    for (const address of addresses) {
      assert.match(String(address), /^10\.\d+\.\d+\.\d+$|^2001:db8:[0-9a-f:]+\/64$/);
    }
    const metadata = rowsOf(anonymous, "public.audit_events").map((row) =>
      String(row.metadata_json),
    );
    assert.ok(metadata.includes("{}"), "empty stays empty");
    assert.ok(metadata.some((text) => /^\{"redacted": "[0-9a-f]{16}"\}$/.test(text)));
    const [log] = rowsOf(anonymous, "public.execution_logs").filter((row) => row.message !== "");
    assert.match(String(log?.message), /^text of \d+ characters removed$/);
  });

  test("keeps NULL and empty where they were, and every other column", () => {
    for (const table of plain.tables) {
      const replaced = new Set(
        columns
          .filter((place) => place.startsWith(`${table.name}.`))
          .map((place) => place.slice(table.name.length + 1)),
      );
      const rows = rowsOf(anonymous, table.name);
      for (const [i, row] of rowsOf(plain, table.name).entries()) {
        for (const [name, value] of Object.entries(row)) {
          const now = rows[i]?.[name];
          const stays = !replaced.has(name) || value === null || value === "" || value === "{}";
          if (stays) assert.deepEqual(now, value, `${table.name}.${name}`);
          else assert.ok(/hash$/.test(name) || now !== value, `${table.name}.${name}`);
        }
      }
    }
  });

  test("replaces the hashes of a chain whose rows it alters, and the chain still holds", async () => {
    const hashes = (bundle: ReadBundle) =>
      rowsOf(bundle, "public.audit_events").map((row) => row.entry_hash);
    assert.notDeepEqual(hashes(anonymous), hashes(plain));
    const found = await verifyBundle(inChunks(anonymousBytes), {
      name: "b",
      maxRowBytes: defaultMaxRowBytes,
    });
    assert.equal(found.found, 0, JSON.stringify(found.findings.slice(0, 3)));
    const [chain] = found.chains;
    assert.ok(chain !== undefined && chain.holding > 0 && chain.broken === 0);
  });

  test("has other replacements in each export, since the salt is drawn anew", async () => {
    const again = await exportBundle(database.url, "acme-planted", { redact: { personal: true } });
    const emails = (bundle: ReadBundle) => rowsOf(bundle, "public.users").map((row) => row.email);
    const second = await readWholeBundle(again.bytes);
    assert.equal(
      emails(second).some((email) => emails(anonymous).includes(email)),
      false,
    );
  });

  test("says in one line that other text may hold personal data", () => {
    const [warning, ...more] = warnings.filter((text) => /text or JSON/.test(text));
    assert.match(
      warning ?? "",
      /^\d+ text or JSON columns are exported as they are, such as "public\.\w+\.\w+"; where one holds personal data, name it under "personal" in the profile$/,
    );
    assert.deepEqual(more, []);
  });

  test("is refused by import unless it is accepted, and nothing is written", async () => {
    const error = await assertImportRefused(
      database,
      redactedBytes,
      {},
      {
        exitCode: 4,
        message:
          /^"bundle" is redacted: its secrets were replaced when it was exported; nothing was written$/,
        hint: /add --accept-redacted/,
      },
    );
    assert.equal(error.code, "redacted-bundle");
    await assertImportRefused(
      database,
      anonymousBytes,
      { dryRun: true },
      { exitCode: 4, message: /its secrets, names and addresses were replaced/ },
    );
  });

  test("goes into an empty database when it is accepted, with all of its rows", async () => {
    const staging = await createDatabase("redaction staging", "empty");
    try {
      await staging.query(
        await readFile(new URL("../../fixtures/n-kudo/schema.sql", import.meta.url), "utf8"),
      );
      const { plan, applied } = await importBytes(staging.url, anonymousBytes, {
        acceptRedacted: true,
      });
      assert.equal(applied, true);
      assert.ok(plan.warnings.some((text) => /^the bundle is redacted: /.test(text)));
      const again = await exportBundle(staging.url, anonymous.header.tenant.slug ?? "");
      const copy = await readWholeBundle(again.bytes);
      assert.deepEqual(
        copy.tables.map(({ name, end }) => [name, end.rows, end.sha256]),
        anonymous.tables.map(({ name, end }) => [name, end.rows, end.sha256]),
      );
      const [found] = await staging.query<{ count: string }>(
        `SELECT count(*) FROM users u JOIN tenants t ON t.id = u.tenant_id WHERE t.name ~ '^Name '`,
      );
      assert.equal(found?.count, String(rowsOf(plain, "public.users").length));
      const revoked = await staging.query(
        `SELECT count(*) FROM crl_entries WHERE agent_id IN (SELECT id FROM agents)`,
      );
      assert.deepEqual(
        revoked,
        await database.query(`SELECT count(*) FROM crl_entries WHERE agent_id IN ${acmesAgents}`),
      );
    } finally {
      await staging.drop();
    }
  });

  test("tells of the replaced columns in the command's result, in inspect and in verify; its name is the replaced one", async () => {
    const run = async (...args: readonly string[]) => {
      const { code, stdout, stderr } = await pgtenant(args, {
        url: database.url,
        env: { BACKUP_DIR: folder },
      });
      assert.equal(code, 0, stderr);
      return { text: stdout.toString(), stderr };
    };
    const exported = await run("export", "acme-planted", "--anonymise", "--json");
    const result = JSON.parse(exported.text) as {
      readonly output: string;
      readonly redacted: { readonly columns: readonly string[]; readonly tenant: { slug: string } };
    };
    assert.deepEqual(result.redacted.columns, columns);
    assert.match(result.redacted.tenant.slug, /^name-[0-9a-f]{14}$/);
    assert.equal(
      result.output.replace(/_\d{8}_\d{6}/, "_TIME"),
      `${folder}/tenants/${result.redacted.tenant.slug}/tenant_${result.redacted.tenant.slug}_TIME.jsonl.zst`,
    );
    assert.match(exported.stderr, /replaced: the values of \d+ columns \(.*public\.users\.email/);
    const inspected = await run("inspect", result.output);
    assert.match(
      inspected.text,
      /^redacted +secrets, and what names people and places, were replaced: .*public\.users\.email/m,
    );
    const verified = await run("verify", result.output);
    assert.match(verified.text, /^ {2}redacted: secrets, and what/m);
    const all = await run("export", "--all", "--anonymise", "-o", join(folder, "all"), "--json");
    assert.doesNotMatch(JSON.stringify(await readdir(join(folder, "all"))), /acme|globex|initech/);
    assert.equal((JSON.parse(all.text) as { exported: unknown[] }).exported.length, 3);
  });
});

test("a column that an older database lacks is named, and the others are replaced", () =>
  withDatabase(
    "redaction-0004",
    async (database) => {
      const redact = { personal: true };
      const { bytes, result } = await exportBundle(database.url, "acme", { redact });
      assert.ok(
        result.warnings.includes(
          'the profile names column "public.users.password_hash", which the database does not have',
        ),
      );
      const users = rowsOf(await readWholeBundle(bytes), "public.users");
      assert.ok(users.every((row) => /^u-\w+@example\.invalid$/.test(String(row.email))));
    },
    "n-kudo-0004",
  ));

suite("redaction by a profile of one's own", () => {
  let database: TestDatabase;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createOtherDatabase("redaction other");
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await database.drop();
  });

  async function profileWith(change: object): Promise<string> {
    const path = join(folder, "profile.json");
    const profile = JSON.parse(await readFile(otherProfile, "utf8")) as object;
    await writeFile(path, JSON.stringify({ ...profile, ...change }));
    return path;
  }

  async function exportWith(personal: object, secrets: object = {}) {
    const profile = await profileWith({ personal, secrets });
    const { bytes, result } = await exportBundle(database.url, "north", {
      profile,
      redact: { personal: true },
    });
    return { bundle: await readWholeBundle(bytes), bytes, profile, result };
  }

  async function refused(personal: object, message: RegExp, secrets: object = {}): Promise<void> {
    const error: unknown = await exportWith(personal, secrets).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, "cannot-redact");
    assert.equal(error.exitCode, 2);
    assert.match([error.message, ...error.details].join("\n"), message);
  }

  test("keys that other rows refer to are replaced on both sides, and rows stand in the new order", async () => {
    const { bundle, bytes, profile } = await exportWith(
      {
        "app.accounts": { handle: "name", title: "name" },
        "app.categories": { code: "name", parent: "name", label: "text" },
        "app.customers": { email: "email", first_name: "name", last_name: "name" },
      },
      { "app.accounts": ["pin"] },
    );
    const rows = rowsOf(bundle, "app.categories");
    const codes = rows.map((row) => String(row.code));
    assert.deepEqual(codes, [...codes].sort());
    assert.ok(rows.every((row) => row.parent === null || codes.includes(String(row.parent))));
    assert.ok(codes.includes(""), "an empty key stays empty");
    const staging = await createDatabase("redaction other staging", "empty");
    try {
      const schema = new URL("../../fixtures/other/schema.sql", import.meta.url);
      await staging.query(await readFile(schema, "utf8"));
      await staging.query("INSERT INTO app.currencies VALUES ('EUR', 2), ('JPY', 0), ('XX ', 9)");
      const { applied } = await importBytes(staging.url, bytes, { profile, acceptRedacted: true });
      assert.equal(applied, true);
    } finally {
      await staging.drop();
    }
  });

  test("addresses that differ in case alone stay different where they must", async () => {
    await database.query(`
      ALTER TABLE app.customers ADD contact text;
      ALTER TABLE app.customers ADD UNIQUE (account_no, contact);
      UPDATE app.customers SET contact = 'c' || id || '@example.org';
      UPDATE app.customers SET contact = 'ANN@example.org' WHERE id = (SELECT min(id) FROM app.customers WHERE account_no = 1);
      UPDATE app.customers SET contact = 'ann@example.org' WHERE id = (SELECT max(id) FROM app.customers WHERE account_no = 1);`);
    const { bundle, result } = await exportWith({ "app.customers": { contact: "email" } });
    const contacts = rowsOf(bundle, "app.customers").map((row) => row.contact);
    assert.equal(new Set(contacts).size, contacts.length);
    assert.ok(result.warnings.some((text) => /differ in case alone/.test(text)));
  });

  test("every type that has a replacement gets one of its own kind, which the bundle's schema takes", async () => {
    await database.query(`
      CREATE TABLE app.people (
        id integer PRIMARY KEY, account_no integer NOT NULL REFERENCES app.accounts,
        short varchar(9), fixed char(20), blob bytea UNIQUE, token uuid UNIQUE, doc json, docs jsonb,
        ip inet UNIQUE, net cidr, mac macaddr, mac8 macaddr8, note varchar(12), ip_text text, nobody text);
      INSERT INTO app.people VALUES (1, 1, 'Bob', 'fix', '\\x0102030405060708090a0b0c0d0e0f10', gen_random_uuid(),
        '{"a": 1}', '[1]', '198.51.100.7', '198.51.100.0/24', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
        'longer note', '198.51.100.7', NULL),
        (2, 1, 'Bob', '', '\\x', gen_random_uuid(), '"text"', '{}', '198.51.100.8/24', NULL, NULL, NULL, '', '2001:db9::1', NULL);`);
    const { bundle, bytes } = await exportWith({
      "app.people": {
        short: "name",
        fixed: "name",
        blob: "text",
        token: "name",
        doc: "json",
        docs: "json",
        ip: "address",
        net: "address",
        mac: "address",
        mac8: "address",
        note: "text",
        ip_text: "address",
        nobody: "name",
      },
    });
    const [one, two] = rowsOf(bundle, "app.people");
    assert.match(String(one?.short), /^Name-[0-9a-f]{4}$/);
    assert.equal(two?.short, one?.short);
    assert.match(String(one?.fixed), /^name-[0-9a-f]{14} $/);
    assert.match(String(one?.blob), /^\\x[0-9a-f]{32}$/);
    assert.equal(two?.blob, "\\x");
    assert.match(String(one?.doc), /^\{"redacted": "[0-9a-f]{16}"\}$/);
    assert.match(String(two?.doc), /^"redacted-[0-9a-f]{16}"$/);
    assert.deepEqual([one?.docs, two?.docs], ["[]", "{}"]);
    assert.match(String(one?.ip), /^2001:db8:[0-9a-f:]+$/);
    assert.match(String(two?.ip), /^2001:db8:[0-9a-f:]+\/24$/);
    assert.match(String(one?.net), /^10\.\d+\.\d+\.0\/24$/);
    assert.match(String(one?.mac), /^02(:[0-9a-f]{2}){5}$/);
    assert.match(String(one?.mac8), /^02(:[0-9a-f]{2}){7}$/);
    assert.deepEqual([one?.note, two?.note], ["text of 11 c", ""]);
    assert.match(String(one?.ip_text), /^10\./);
    assert.match(String(two?.ip_text), /^2001:db8:/);
    assert.equal(one?.nobody, null);
    const found = await verifyBundle(inChunks(bytes), {
      name: "b",
      maxRowBytes: defaultMaxRowBytes,
    });
    assert.equal(found.found, 0);
  });

  test("a column that has no replacement is refused by name", async () => {
    await refused(
      { "app.accounts": { account_no: "name" } },
      /app\.accounts\.account_no: other rows know the tenant by it/,
    );
    await refused(
      { "app.accounts": { main_contact: "name" } },
      /app\.accounts\.main_contact: its type, bigint, has no replacement/,
    );
    await refused(
      { "app.categories": { code: "name" } },
      /it is one end of the reference from app\.categories\.parent to app\.categories\.code, and both/,
    );
    await refused(
      { "app.accounts": { handle: "email" } },
      /"app\.accounts\.handle" would break the rules of its type, app\.short_handle/,
    );
    await database.query(`
      ALTER TABLE app.customers ADD initials varchar(3);
      ALTER TABLE app.customers ADD CONSTRAINT real_name CHECK (last_name LIKE 'O''Last%');`);
    await refused(
      { "app.customers": { initials: "name" } },
      /app\.customers\.initials: its type, character varying\(3\), is too short for a replacement \(9 characters\)/,
    );
    await refused(
      { "app.customers": { last_name: "name" } },
      /\(last_name\) would break its check "real_name"/,
    );
  });
});
