import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { generateKeyPair } from "../../src/bundle/keys.ts";
import type { DiffFinding, DiffSummary } from "../../src/tenant/diff-types.ts";
import { assertFailure } from "../harness/assert-failure.ts";
import { pgtenant, spawnPgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { assertUnchanged, digestOf } from "../harness/import.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

interface Document extends DiffSummary {
  readonly findings: readonly DiffFinding[];
  readonly html?: { readonly path: string; readonly bytes: number };
}

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";

suite("pgtenant diff", () => {
  let database: TestDatabase;
  let folder: string;
  let bundle: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("command diff", "n-kudo", { settings: { "seed.big": "off" } });
    bundle = join(folder, "acme.jsonl");
    const { bytes } = await exportBundle(database.url, "acme");
    await writeFile(bundle, bytes);
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await database.drop();
  });

  const diff = (...args: readonly string[]) =>
    pgtenant(["diff", bundle, ...args], { url: database.url });

  test("ends with 0 when all is equal, in text and in --json", async () => {
    const { code, stdout, stderr } = await diff();
    assert.equal(code, 0, stderr);
    assert.match(
      stdout.toString(),
      /\nequal: the 260 rows of 21 tables are as the bundle has them \(compared in [\d.]+ s\)\n$/,
    );
    const asJson = await diff("--json", "--quiet");
    assert.equal(asJson.code, 0, asJson.stderr);
    const document = JSON.parse(asJson.stdout.toString()) as Document;
    assert.deepEqual([document.equal, document.findings], [true, []]);
  });

  test("ends with 9 when not, shows no secret anywhere, and writes nothing but the page", async () => {
    const secrets = ["live-secret-hash", "live-key-hash"];
    for (const [table, column] of [
      ["users", "password_hash"],
      ["api_keys", "key_hash"],
    ] as const) {
      for (const row of await database.query<{ value: string }>(
        `SELECT ${column} AS value FROM ${table} WHERE tenant_id = ${acme} AND ${column} <> ''`,
      )) {
        secrets.push(row.value);
      }
    }
    await database.query(`
      UPDATE users SET password_hash = 'live-secret-hash', display_name = '</script><b>Bold</b>'
       WHERE id = (SELECT min(id::text)::uuid FROM users WHERE tenant_id = ${acme});
      UPDATE api_keys SET key_hash = 'live-key-hash'
       WHERE id = (SELECT min(id::text)::uuid FROM api_keys WHERE tenant_id = ${acme});
      DELETE FROM sites WHERE name = 'Spare 3' AND tenant_id = ${acme};`);
    const digest = await digestOf(database);
    const page = join(folder, "pages", "diff.html");

    const text = await diff("--rows", "--html", page);
    assert.equal(text.code, 9, text.stderr);
    const printed = text.stdout.toString();
    assert.match(printed, /^tenant "acme" \(Acme Corporation\), bundle of /);
    assert.match(printed, /\n {2}public\.sites +1 +- +- +\d+\n/);
    assert.match(printed, /\npublic\.sites \(id\)=\(.{36}\) Spare 3: only in the bundle\n/);
    assert.match(
      printed,
      /\npublic\.users .*: different\n {2}display_name: <\/script><b>Bold<\/b> -> /,
    );
    assert.match(printed, /\n {2}password_hash: differs \(secret\)\n/);
    assert.ok(printed.includes(`\npage: ${page}\n`));
    assert.ok(
      printed.endsWith(`\nto see what an import would do: pgtenant import ${bundle} --dry-run\n`),
    );

    const html = await readFile(page, "utf8");
    assert.equal((await stat(page)).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(join(folder, "pages")), ["diff.html"]);
    assert.match(html, /&lt;\/script&gt;&lt;b&gt;Bold&lt;\/b&gt;/);
    assert.match(html, /<\/html>\n$/);

    const again = join(folder, "again.html");
    const asJson = await diff("--json", "--rows", "--html", again);
    assert.equal(asJson.code, 9, asJson.stderr);
    const json = asJson.stdout.toString();
    const document = JSON.parse(json) as Document;
    assert.equal(document.equal, false);
    assert.deepEqual(document.html, { path: again, bytes: (await stat(again)).size });
    const { onlyInBundle, onlyLive, different, boundary } = document.counts;
    assert.equal(document.findings.length, onlyInBundle + onlyLive + different + boundary);
    assert.deepEqual(
      document.findings.filter(({ table }) => table === "public.api_keys"),
      [
        {
          kind: "different",
          table: "public.api_keys",
          row: document.findings.flatMap((f) =>
            f.table === "public.api_keys" && "row" in f ? [f.row] : [],
          )[0],
          columns: [{ column: "key_hash", secret: true }],
        },
      ],
    );
    assert.ok(!asJson.stderr.includes("only in the bundle\n"), "--rows is for people");

    for (const secret of secrets) {
      for (const shown of [printed, text.stderr, html, json, asJson.stderr]) {
        assert.ok(!shown.includes(secret), secret);
      }
    }
    await assertUnchanged(database, digest);
  });

  test("refuses to overwrite a page before any work, unless it may", async () => {
    const page = join(folder, "taken.html");
    await writeFile(page, "mine");
    assertFailure(
      await pgtenant(["diff", "no such bundle", "--html", page], { url: database.url }),
      {
        code: 2,
        message: /^pgtenant: the file ".*taken\.html" exists already$/,
        hint: /Choose another name with --html, or add --overwrite\./,
      },
    );
    assert.equal(await readFile(page, "utf8"), "mine");
    const { code, stderr } = await diff("--html", page, "--overwrite");
    assert.equal(code, 9, stderr);
    assert.match(await readFile(page, "utf8"), /^<!doctype html>/);
    assertFailure(await diff("--overwrite"), {
      code: 2,
      message: /^pgtenant: --overwrite goes with --html$/,
      hint: /--html FILE/,
    });
    assertFailure(await diff("--html", ""), {
      code: 2,
      message: /^pgtenant: --html names nothing$/,
      hint: /./,
    });
    const both = await diff("--html", "-", "--json");
    assert.equal(both.code, 2, both.stderr);
    assert.match(both.stderr, /--html - and --json both want the standard output/);
  });

  test("the page goes to the standard output for -, and text then to stderr", async () => {
    const { code, stdout, stderr } = await diff("--html", "-");
    assert.equal(code, 9, stderr);
    assert.match(stdout.toString(), /^<!doctype html>[\s\S]*<\/html>\n$/);
    assert.match(stderr, /^different: /m);
  });

  test("reads a bundle from a pipe, and refuses one that is cut", async () => {
    const input = await readFile(bundle);
    const piped = await pgtenant(["diff", "-"], { url: database.url, input });
    assert.equal(piped.code, 9, piped.stderr);
    assertFailure(
      await pgtenant(["diff", "-"], { url: database.url, input: input.subarray(0, -9000) }),
      {
        code: 3,
        message: /the standard input/,
        hint: /./,
      },
    );
  });

  test("opens an encrypted bundle with its key alone", async () => {
    const { identity, recipient } = await generateKeyPair();
    const encryption = { method: "age", recipients: [recipient] } as const;
    const { bytes: input } = await exportBundle(database.url, "acme", { encryption });
    const key = join(folder, "identity.txt");
    await writeFile(key, identity);
    const opened = await pgtenant(["diff", "-", "-i", key], { url: database.url, input });
    assert.equal(opened.code, 0, opened.stderr);
    assertFailure(await pgtenant(["diff", "-"], { url: database.url, input }), {
      code: 6,
      message: /^pgtenant: the standard input is encrypted/,
      hint: /./,
    });
  });

  test("many findings are streamed, and a reader that leaves early does no harm", async () => {
    await database.query(`
      INSERT INTO execution_logs (id, tenant_id, execution_id, sequence, severity, message, emitted_at)
      SELECT 5000000 + n, e.tenant_id, e.id, 100000 + n, 'INFO', 'made since', '2026-01-01'
        FROM (SELECT id, tenant_id FROM executions WHERE tenant_id = ${acme} LIMIT 1) AS e,
             generate_series(1, 12000) AS n`);
    const asJson = await diff("--json", "--html", join(folder, "many.html"));
    assert.equal(asJson.code, 9, asJson.stderr);
    const document = JSON.parse(asJson.stdout.toString()) as Document;
    const logs = document.findings.filter(
      ({ table, kind }) => table === "public.execution_logs" && kind === "only-live",
    );
    assert.equal(logs.length, 12_000);
    assert.deepEqual(logs[0], {
      kind: "only-live",
      table: "public.execution_logs",
      row: "(id)=(5000001)",
    });
    const html = await readFile(join(folder, "many.html"), "utf8");
    assert.match(html, /The first 5,000 rows of 12,010 are listed here/);
    assert.ok(html.includes("(id)=(5004990)") && !html.includes("(id)=(5004991)"));

    for (const flag of ["--json", "--rows"]) {
      const child = spawnPgtenant(["diff", bundle, flag], { url: database.url });
      child.stdin.end();
      let stderr = "";
      child.stderr.on("data", (chunk: Buffer) => {
        stderr += chunk.toString();
      });
      child.stdout.once("data", () => child.stdout.destroy());
      const code = await new Promise((resolve) => child.once("close", resolve));
      // Different is what was asked, and the answer has been found.
      assert.equal(code, 9, `${flag}: ${stderr}`);
      assert.doesNotMatch(stderr, /pgtenant: |internal/);
    }
  });
});
