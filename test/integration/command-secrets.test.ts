import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { type CommandOptions, type CommandResult, pgtenant } from "../harness/command.ts";
import { watchingCommandLines } from "../harness/command-lines.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";

const password = `Zq7!p@s/s:w%rd "'\\ &#?=+ü{}`;
const core = ["Zq7!p@s", "Zq7!p%40s", "Zq7%21p%40s", 's:w%rd "', "s%3Aw%25rd"];
const role = `secretive_${process.pid}`;

suite("the password of the database URL", () => {
  let database: TestDatabase;
  let folder: string;
  let bundle: string;
  let url: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    bundle = join(folder, "acme.jsonl.zst");
    database = await createDatabase("secrets", "n-kudo", { settings: { "seed.big": "off" } });
    const quoted = `'${password.replaceAll("'", "''")}'`;
    await database.query(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD ${quoted}`);
    url = withPassword(database.url);
  });
  after(async () => {
    await database.query(`DROP ROLE ${role}`);
    await rm(folder, { recursive: true });
    await database.drop();
  });

  function withPassword(plain: string): string {
    return plain.replace(/\/\/[^@]+@/, `//${role}:${encodeURIComponent(password)}@`);
  }

  /** Runs a command under watch, and asserts that no part of the password is to be seen. */
  async function assertKept(
    args: readonly string[],
    options: CommandOptions,
    exitCode: number,
  ): Promise<CommandResult> {
    const { result, seen, last } = await watchingCommandLines(pgtenant(args, options));
    assert.equal(result.code, exitCode, result.stderr);
    assertClean(result.stdout.toString(), `the standard output of ${args.join(" ")}`);
    assertClean(result.stderr, `stderr of ${args.join(" ")}`);
    assert.ok(
      [...seen].some((line) => /src\/main\.ts|^pgtenant/.test(line)),
      "it was never seen",
    );
    // What somebody typed stands there until the program has started and taken it away.
    const typed = args.some((word) => word.includes("://"));
    for (const line of typed ? last : seen) assertClean(line, "/proc/*/cmdline");
    return result;
  }

  function assertClean(text: string, where: string): void {
    for (const part of core) assert.ok(!text.includes(part), `"${part}" in ${where}:\n${text}`);
  }

  test("in DATABASE_URL is kept by every command that succeeds", async () => {
    await assertKept(["tenants"], { url }, 0);
    await assertKept(["doctor", "--json"], { url }, 0);
    await assertKept(["export", "acme", "-o", bundle], { url }, 0);
    await assertKept(["export", "--all", "-o", join(folder, "all"), "--json"], { url }, 0);
    await assertKept(["inspect", bundle], { url }, 0);
    await assertKept(["verify", bundle, "--json"], { url }, 0);
    await assertKept(["import", bundle, "--dry-run", "--json"], { url }, 0);
    await database.query("DELETE FROM tenants WHERE slug = 'acme'");
    await assertKept(["import", bundle], { url }, 0);
  });

  test("in DATABASE_URL is kept by every command that fails", async () => {
    const { port } = new URL(url);
    const nowhere = [
      [["tenants"], url.replace(`:${port}/`, ":1/")],
      [["doctor"], url.replace(/127\.0\.0\.1/, "no-such-host.invalid")],
      [["export", "acme", "-o", "-"], url.replace(/test_secrets\w*/, "no_such_database")],
      [["import", bundle, "--json"], url.replace(role, "no_such_role")],
    ] as const;
    for (const [args, other] of nowhere) await assertKept(args, { url: other }, 7);
    await assertKept(["export", "nobody"], { url }, 2);
    await assertKept(["frobnicate"], { url }, 2);
    await assertKept(["export", "--frob", url], { url }, 2);
    await assertKept([url], { url }, 2);
    await assertKept(["import", join(folder, "missing")], { url }, 2);
  });

  test("in a URL that cannot be read is not repeated", async () => {
    const raw = `postgres://${role}:${password}@127.0.0.1:5432/db`;
    for (const broken of [
      raw,
      url.replace("postgres:", "mysql:"),
      url.replace(/:\d+\//, ":99999/"),
    ]) {
      await assertKept(["tenants", "--json"], { url: broken }, 2);
      await assertKept(["tenants", "--database-url", broken], {}, 2);
    }
  });

  test("in the file of DATABASE_URL_FILE is used and kept", async () => {
    const file = join(folder, "url");
    await writeFile(file, `${url}\n`, { mode: 0o600 });
    const env = { DATABASE_URL_FILE: file };
    await assertKept(["tenants"], { env }, 0);
    await assertKept(["doctor", "--json"], { env }, 0);
    await assertKept(["export", "nobody"], { env }, 2);
    await writeFile(file, url.replace(role, "no_such_role"));
    await assertKept(["tenants", "--json"], { env }, 7);
  });

  test("after --database-url is taken out of the command line, with a warning", async () => {
    const { stderr } = await assertKept(["tenants", "--database-url", url], {}, 0);
    assert.match(stderr, /^warning: a password on the command line can be seen by other users/m);
    await assertKept(
      ["export", "acme", `--database-url=${url}`, "-o", bundle, "--overwrite"],
      {},
      0,
    );
    await assertKept(["import", bundle, "--database-url", url, "--json"], {}, 0);
    await assertKept(["tenants", "--database-url", url.replace(role, "no_such_role")], {}, 7);
    await assertKept(["tenants", "--databse-url", url], {}, 2);
  });

  test("is in no file that an export has written", async () => {
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || entry.name === "url") continue;
      assertClean(
        (await readFile(join(entry.parentPath, entry.name))).toString("latin1"),
        entry.name,
      );
    }
  });

  test("in PGPASSWORD is kept too", async () => {
    const env = { PGPASSWORD: password };
    const without = url.replace(/:[^:@/]+@/, "@");
    await assertKept(["tenants"], { url: without, env }, 0);
    await assertKept(["tenants"], { url: without.replace(role, "no_such_role"), env }, 7);
  });
});
