import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { pgtenant } from "../harness/command.ts";
import { convertBytes } from "../harness/convert.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import {
  assertImportRefused,
  assertUnchanged,
  changesOf,
  digestOf,
  importBytes,
  withDatabase,
} from "../harness/import.ts";
import { documentColumns, makeOrdinary, stateDocument } from "../harness/state-document.ts";

const fixture = new URL("../../fixtures/n-kudo/state.json", import.meta.url);
const schema = new URL("../../fixtures/n-kudo/schema.sql", import.meta.url);
const tenant = "5a7e0000-0000-4000-8000-000000000001";

async function withEmpty(use: (database: TestDatabase) => Promise<void>): Promise<void> {
  const database = await createDatabase("convert", "empty");
  try {
    await database.query(await readFile(schema, "utf8"));
    await use(database);
  } finally {
    await database.drop();
  }
}

suite("a converted state document", () => {
  test("brings its rows into an empty database, with the tenant's own row from the command line", () =>
    withEmpty(async (database) => {
      const { bytes, result } = await convertBytes(await readFile(fixture), {
        root: { slug: "kudos", name: "Kudos B.V." },
        dropReferences: true,
      });
      assert.deepEqual(
        result.references.map(({ column, to, rows, dropped }) => [column, to, rows, dropped]),
        [
          ["actor_user_id", "public.users", 1, true],
          ["actor_agent_id", "public.agents", 1, true],
        ],
      );
      const { applied } = await importBytes(database.url, bytes);
      assert.equal(applied, true);
      const one = async (query: string) => (await database.query(query))[0];
      assert.deepEqual(
        await one("SELECT id, slug, name, primary_region, data_retention_days FROM tenants"),
        {
          id: tenant,
          slug: "kudos",
          name: "Kudos B.V.",
          primary_region: "eu-central-1",
          data_retention_days: 30,
        },
      );
      assert.deepEqual(
        await one(`SELECT name, memory_mib, host_id IS NULL AS hostless, net_ifaces, last_transition_at = '2026-01-01 00:00:00+00' AS at
                     FROM microvms ORDER BY id LIMIT 1`),
        {
          name: 'db "one" \\ \n',
          memory_mib: "9223372036854775807",
          hostless: false,
          net_ifaces: [],
          at: true,
        },
      );
      assert.deepEqual(
        await one("SELECT host_id, last_transition_at FROM microvms ORDER BY id DESC LIMIT 1"),
        { host_id: null, last_transition_at: null },
      );
      assert.deepEqual(
        await one(`SELECT metadata_json::text AS metadata, source_ip::text AS ip, actor_user_id, prev_hash, entry_hash,
                          occurred_at = '2026-02-01 00:00:00.123456+00' AS at
                     FROM audit_events WHERE id = 9007199254740995`),
        {
          metadata: '{"a": [1.5, null, "ä"], "html": "<&>"}',
          ip: "2001:db8::7/128",
          actor_user_id: null,
          prev_hash: "b".repeat(64),
          entry_hash: "c".repeat(64),
          at: true,
        },
      );
      assert.deepEqual(await one("SELECT storage_bytes_total FROM hosts ORDER BY id LIMIT 1"), {
        storage_bytes_total: "9007199254740993",
      });
      assert.deepEqual(await one("SELECT count(*) FROM api_keys"), { count: "0" });
    }));

  test("without the tenant's row goes only where the tenant is live", () =>
    withEmpty(async (database) => {
      const { bytes } = await convertBytes(await readFile(fixture), { dropReferences: true });
      const refused = await assertImportRefused(
        database,
        bytes,
        {},
        {
          exitCode: 4,
          message: new RegExp(`part of tenant "${tenant}" without its row in "public.tenants"`),
          hint: /--slug and --name/,
        },
      );
      assert.equal(refused.code, "no-live-tenant");
      await database.query("INSERT INTO tenants (id, slug, name) VALUES ($1, 'k', 'K')", [tenant]);
      const { applied, plan } = await importBytes(database.url, bytes);
      assert.equal(applied, true);
      assert.equal(changesOf({ plan }).sites, "insert 2");
    }));

  test("is refused by name where it refers to rows that are neither in it nor live", () =>
    withEmpty(async (database) => {
      const { bytes, result } = await convertBytes(await readFile(fixture), {
        root: { slug: "kudos", name: "Kudos" },
      });
      assert.match(
        result.warnings.join("\n"),
        /1 row\(s\) of "public\.audit_events" refer by "actor_user_id" to rows of "public\.users" that the document lacks; import takes them only where those rows are live, or convert with --drop-references/,
      );
      await assertImportRefused(
        database,
        bytes,
        {},
        {
          exitCode: 4,
          message: /refers to a row of "public\.(users|agents)" that is neither in the bundle nor/,
        },
      );
    }));

  test("brings deleted VMs and a deleted site back, by the commands, and leaves all else alone", () =>
    withDatabase("convert-live", async (database) => {
      const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
      try {
        await makeOrdinary(database);
        const [acme] = await database.query<{ id: string }>(
          "SELECT id FROM tenants WHERE slug = 'acme'",
        );
        const id = acme?.id ?? "";
        const rowsOf = (table: string) =>
          database.query(
            `SELECT ${documentColumns(table)
              .map((column) => `${column}::text`)
              .join(", ")} FROM ${table} WHERE tenant_id = $1 ORDER BY id`,
            [id],
          );
        const tables = ["sites", "hosts", "microvms", "audit_events"];
        const before = new Map<string, unknown>();
        for (const table of tables) before.set(table, await rowsOf(table));
        await writeFile(join(folder, "state.json"), await stateDocument(database, id));
        await database.query(`
          DELETE FROM sites WHERE name = 'Spare 3' AND tenant_id = '${id}';
          DELETE FROM microvms WHERE tenant_id = '${id}' AND id NOT IN (SELECT vm_id FROM executions WHERE vm_id IS NOT NULL)
            AND id NOT IN (SELECT vm_id FROM plan_actions WHERE vm_id IS NOT NULL);`);
        const run = async (...args: readonly string[]) => {
          const options = { url: database.url, env: { TMPDIR: folder } };
          const { code, stdout, stderr } = await pgtenant(args, options);
          assert.equal(code, 0, stderr);
          return stdout.toString();
        };
        const bundle = join(folder, "acme.jsonl.zst");
        const text = await run("convert", join(folder, "state.json"), "-o", bundle);
        assert.match(text, /left out: public\.agents, public\.plans \(N-Kudo never fills it in\)/);
        assert.match(text, /public\.api_keys \(\d+ row\(s\) without key_hash, which cannot/);
        assert.match(await run("verify", bundle), /is whole and valid/);
        const imported = JSON.parse(await run("import", bundle, "--json")) as {
          readonly plan: { readonly tables: readonly { table: string; insert: number }[] };
        };
        const inserted = new Map(imported.plan.tables.map((t) => [t.table, t.insert]));
        assert.equal(inserted.get("public.sites"), 1);
        assert.ok((inserted.get("public.microvms") ?? 0) > 0);
        for (const table of tables) assert.deepEqual(await rowsOf(table), before.get(table), table);
        const after = await digestOf(database);
        await importBytes(database.url, await readFile(bundle));
        await assertUnchanged(database, after);
        assert.deepEqual((await readdir(folder)).sort(), ["acme.jsonl.zst", "state.json"]);
      } finally {
        await rm(folder, { recursive: true });
      }
    }));
});

suite("the command convert", () => {
  let folder: string;
  const document = async () => await readFile(fixture, "utf8");

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  after(() => rm(folder, { recursive: true }));

  test("writes a dated bundle below BACKUP_DIR, encrypted when it is asked to be, from a pipe", async () => {
    const keys = await pgtenant(["keygen", "--json", "-o", join(folder, "key")]);
    const recipient = /age1[0-9a-z]+/.exec(keys.stdout.toString() + keys.stderr)?.[0] ?? "";
    const { code, stdout, stderr } = await pgtenant(
      ["convert", "-", "--slug", "kudos", "--name", "K", "--recipient", recipient, "--json"],
      { input: await document(), env: { BACKUP_DIR: folder } },
    );
    assert.equal(code, 0, stderr);
    const result = JSON.parse(stdout.toString()) as Readonly<Record<string, unknown>>;
    assert.equal(
      result.output,
      `${folder}/tenants/kudos/tenant_kudos_20260203_040506.jsonl.zst.age`,
    );
    assert.deepEqual(result.tenant, { id: tenant, slug: "kudos", name: "K" });
    const leftOut = result.leftOut as readonly Readonly<Record<string, string>>[];
    assert.deepEqual(
      leftOut.filter((entry) =>
        /agents$|plans$|api_keys|tokens$|updated_at/.test(entry.table ?? entry.column ?? ""),
      ),
      [
        { table: "public.agents", reason: "N-Kudo never fills it in" },
        { table: "public.api_keys", reason: "1 row(s) without key_hash, which cannot be restored" },
        { table: "public.email_verification_tokens", reason: "a state document does not hold it" },
        {
          table: "public.enrollment_tokens",
          reason: "2 row(s) without token_hash or expires_at, which cannot be restored",
        },
        { table: "public.password_reset_tokens", reason: "a state document does not hold it" },
        { table: "public.plans", reason: "N-Kudo never fills it in" },
        {
          column: "public.tenants.updated_at",
          reason: "a state document does not hold it; new rows get the column's default",
        },
        {
          column: "public.sites.updated_at",
          reason: "a state document does not hold it; new rows get the column's default",
        },
        {
          column: "public.hosts.updated_at",
          reason: "a state document does not hold it; new rows get the column's default",
        },
      ],
    );
  });

  test("says what is wrong, with exit code 3 and the place, and leaves no file", async () => {
    const state = join(folder, "cut.json");
    await writeFile(state, (await document()).slice(0, -400));
    const output = join(folder, "never.jsonl");
    const { code, stderr } = await pgtenant(["convert", state, "-o", output]);
    assert.equal(code, 3);
    assert.match(
      stderr,
      /cut\.json" is incomplete: it ends in or after enrollment_tokens\[0\]\.consumed/,
    );
    assert.deepEqual((await readdir(folder)).includes("never.jsonl"), false);
    const half = await pgtenant(["convert", state, "--slug", "x", "-o", output]);
    assert.equal(half.code, 2);
    const other = await pgtenant(["convert", state, "--profile", "shop.json", "-o", output]);
    assert.equal(other.code, 2);
    assert.match(other.stderr, /convert reads N-Kudo's state documents/);
  });
});
