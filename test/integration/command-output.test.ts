import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { assertUnchanged, digestOf } from "../harness/digest.ts";

interface Json {
  readonly [name: string]: unknown;
}

suite("what the commands print and write", () => {
  let database: TestDatabase;
  let folder: string;
  let bundle: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("output", "n-kudo", { settings: { "seed.big": "off" } });
    bundle = join(folder, "acme.jsonl.zst");
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await database.drop();
  });

  /** Runs a command that must succeed, and gives what people read. */
  async function text(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await pgtenant(args, { url: database.url });
    assert.equal(code, 0, stderr);
    return stdout.toString();
  }

  /** The same with --json, for programs: one line on the standard output. */
  async function json(...args: readonly string[]): Promise<Json> {
    const printed = await text(...args, "--json");
    assert.match(printed, /^\{.*\}\n$/);
    return JSON.parse(printed) as Json;
  }

  test("tenants: one line each, and rows by table in --json", async () => {
    const lines = (await text("tenants")).trimEnd().split("\n");
    assert.match(lines[0] ?? "", /^id +slug +name +rows$/);
    assert.match(lines[1] ?? "", /^[0-9a-f-]{36} +acme +Acme Corporation +\d+$/);
    assert.equal(lines.length, 4);
    const { tenants } = (await json("tenants")) as { tenants: readonly Json[] };
    assert.deepEqual(
      tenants.map(({ slug, name }) => [slug, name]),
      [
        ["acme", "Acme Corporation"],
        ["globex", "Globex Corporation"],
        ["initech", "Initech Inc."],
      ],
    );
    assert.equal(typeof tenants[0]?.totalRows, "number");
    assert.ok(tenants[0]?.rows);
  });

  test("export: says what went where, and what to do next", async () => {
    const printed = await text("export", "acme", "-o", bundle);
    assert.match(printed, /^exported tenant "acme": [\d,]+ rows of \d+ tables in [\d.]+ s/m);
    assert.ok(printed.includes(`to ${bundle} (`));
    assert.ok(printed.includes(`pgtenant verify ${bundle}`));
    const found = await json("export", "acme", "-o", bundle, "--overwrite");
    assert.deepEqual([found.output, found.validated, found.leftOut], [bundle, true, []]);
    assert.equal(found.bytes, (await stat(bundle)).size);
    assert.equal((await stat(bundle)).mode & 0o777, 0o600);
  });

  test("export: a dated file below BACKUP_DIR, for its owner's eyes only", async () => {
    const backups = join(folder, "backups");
    const env = { BACKUP_DIR: backups };
    const result = await pgtenant(["export", "acme"], { url: database.url, env });
    assert.equal(result.code, 0, result.stderr);
    const place = join(backups, "tenants", "acme");
    const files = await readdir(place);
    assert.equal(files.length, 1);
    assert.match(files[0] ?? "", /^tenant_acme_\d{8}_\d{6}\.jsonl\.zst$/);
    const mode = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);
    assert.equal(await mode(join(place, files[0] ?? "")), "600");
    for (const made of [backups, join(backups, "tenants"), place]) {
      assert.equal(await mode(made), "700", made);
    }
  });

  test("export --all: one bundle a tenant, all from one snapshot", async () => {
    const all = join(folder, "all");
    const found = await json("export", "--all", "-o", all);
    const exported = found.exported as readonly { output: string; tenant: Json }[];
    assert.deepEqual(
      exported.map(({ tenant }) => tenant.slug),
      ["acme", "globex", "initech"],
    );
    assert.deepEqual([found.failed, found.exitCode], [[], 0]);
    const names = (await readdir(all)).filter((name) => !name.startsWith("tenant_"));
    assert.equal((await readdir(all)).length, 4);
    assert.match(names.join(), /^set_\d{8}_\d{6}\.manifest\.json$/);
    const snapshots = new Set<unknown>();
    for (const { output } of exported) {
      const { source, createdAt } = (await json("inspect", output)) as { source: Json } & Json;
      snapshots.add(`${source.snapshotLsn} ${createdAt}`);
    }
    assert.equal(snapshots.size, 1);
    assert.match([...snapshots].join(), new RegExp(String(found.snapshotLsn)));
  });

  test("export -o -: the standard output carries the bundle and nothing else", async () => {
    for (const more of [[], ["--json"], ["--quiet"]]) {
      const args = ["export", "acme", "-o", "-", ...more];
      const { code, stdout, stderr } = await pgtenant(args, { url: database.url });
      assert.equal(code, 0, stderr);
      const lines = stdout.toString().trimEnd().split("\n");
      assert.match(lines[0] ?? "", /^\{"\$bundle":/);
      assert.match(lines.at(-1) ?? "", /^\{"\$trailer":/);
      for (const line of lines) JSON.parse(line);
      assert.match(stderr, /exported tenant "acme"/);
    }
  });

  test("export -o - | verify - and | import - work", async () => {
    const { stdout: input } = await pgtenant(["export", "acme", "-o", "-"], { url: database.url });
    const verified = await pgtenant(["verify", "-"], { input });
    assert.equal(verified.code, 0, verified.stderr);
    assert.match(
      verified.stdout.toString(),
      /^the standard input is whole and valid: tenant "acme"/,
    );
    const digest = await digestOf(database.url);
    await database.query("DELETE FROM tenants WHERE slug = 'acme'");
    const imported = await pgtenant(["import", "-", "--keep-in-flight"], {
      url: database.url,
      input,
    });
    assert.equal(imported.code, 0, imported.stderr);
    await assertUnchanged(database.url, digest);
  });

  test("inspect: the tenant, the source and each table's rows", async () => {
    const printed = await text("inspect", bundle);
    assert.match(printed, /^tenant +acme \([0-9a-f-]{36}\), Acme Corporation$/m);
    assert.match(printed, /^source +database "test_output_\w+", PostgreSQL \d+\.\d+, WAL /m);
    assert.match(printed, /^format +1, jsonl$/m);
    assert.match(printed, /^public\.sites +\d+ +[\d.]+ k?B$/m);
    const found = await json("inspect", bundle);
    assert.equal(found.format, 1);
    const tables = found.tables as readonly Json[];
    assert.deepEqual(
      tables.slice(0, 1).map(({ name, rows }) => [name, rows]),
      [["public.tenants", 1]],
    );
  });

  test("verify: that it holds, and what was checked", async () => {
    const printed = await text("verify", bundle);
    assert.match(printed, /^".*acme\.jsonl\.zst" is whole and valid: tenant "acme" as of 20/);
    assert.match(printed, /hashes, counts, schemas, keys and references hold$/m);
    assert.match(printed, /^ {2}chain of public\.audit_events: \d+ links? holds?, \d+ leads? to/m);
    const { valid, found, findings, rows } = await json("verify", bundle);
    assert.deepEqual([valid, found, findings], [true, 0, []]);
    assert.equal(typeof rows, "number");
  });

  test("import: the plan, the command that applies it, and what was done", async () => {
    await database.query("DELETE FROM tenants WHERE slug = 'acme'");
    const gone = await digestOf(database.url);
    const planned = await text("import", bundle, "--dry-run");
    assert.match(planned, /^plan for tenant "acme" \(Acme Corporation\), mode missing:$/m);
    assert.match(planned, /^ {2}public\.sites +\d+ +\d+/m);
    assert.match(planned, /^dry run, nothing was written; it would be: [\d,]+ rows inserted/m);
    assert.match(planned, /was PENDING, comes back CANCELLED, so that it does not run again$/m);
    const [, hash] = /^hash of this plan: ([0-9a-f]{20})$/m.exec(planned) ?? [];
    assert.ok(planned.includes(`to apply it: pgtenant import ${bundle} --plan ${hash}\n`));
    const dry = await json("import", bundle, "--dry-run");
    assert.deepEqual([dry.dryRun, dry.applied], [true, false]);
    await assertUnchanged(database.url, gone);

    const done = await text("import", bundle);
    assert.match(done, /^done in [\d.]+ s, committed: [\d,]+ rows inserted/m);
    const again = await json("import", bundle);
    assert.deepEqual([again.dryRun, again.applied], [false, false]);
    const plan = again.plan as { mode: string; tables: readonly Record<string, number>[] };
    assert.equal(plan.mode, "missing");
    assert.ok(
      plan.tables.every((table) => table.insert === 0 && table.inBundle === table.unchanged),
    );
    assert.match(
      await text("import", bundle),
      /^nothing to do: all [\d,]+ rows of the bundle are/m,
    );
  });

  test("doctor: a finding a line, and a list of findings in --json", async () => {
    const printed = await text("doctor");
    assert.match(printed, /^ok +.+PostgreSQL/m);
    const { findings, problems } = await json("doctor");
    assert.equal(problems, 0);
    for (const { level, message } of findings as readonly Json[]) {
      assert.match(String(level), /^(ok|note|warning)$/);
      assert.equal(typeof message, "string");
    }
  });

  test("--help of every command has an example and its exit codes", async () => {
    for (const command of ["tenants", "export", "inspect", "verify", "import", "doctor", "demo"]) {
      const help = await text(command, "--help");
      assert.match(help, new RegExp(`^pgtenant ${command}`));
      assert.match(help, /^Examples:$/m, command);
      assert.match(help, /^Exit codes:\n {2}0 +done$/m, command);
    }
  });
});
