import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { type CommandResult, pgtenant } from "../harness/command.ts";
import { watchingCommandLines } from "../harness/command-lines.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { dropDatabases, onServer } from "../harness/server-databases.ts";

const role = `secret_keeper_${process.pid}`;
const password = `Zq7!p@s/s:w%rd "'\\ &#?=+ü{}`;
const secrets = {
  passphrase: "Corr3ct-hörse 'battery' \"staple\"",
  typed: `Typ3d on the "line"/ü`,
  s3Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
  s3Token: "IQoJb3JpZ2luX2VjEPz//////////wEaCXVzLWVhc3QtMSJH==",
} as const;

/** Above these files are the database's own rows, not ours to read each time. */
const longestRead = 1 << 20;

suite("secrets of whole-database commands", () => {
  let database: TestDatabase;
  let root: string;
  let url: string;
  let env: Readonly<Record<string, string>>;
  /** Every form of a secret that must not be seen, by its name. */
  const hidden = new Map<string, string>();
  const gossip = createServer((request, response) => {
    // An S3 server that repeats what it was given.
    const { authorization = "", "x-amz-security-token": token = "" } = request.headers;
    request.resume();
    response.writeHead(400, { "content-type": "application/xml" });
    response.end(
      `<Error><Code>InvalidArgument</Code><Message>${token} ${secrets.s3Secret} ${authorization}</Message></Error>`,
    );
  });

  before(async () => {
    root = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    await mkdir(join(root, "temp"));
    database = await createDatabase("backup secrets", "empty");
    // Half a second to load, so that a look every few hundredths sees the programs that load it.
    await database.query(`
      CREATE TABLE t (g int CHECK (pg_sleep(0.005)::text IS NOT NULL));
      INSERT INTO t SELECT generate_series(1, 100)`);
    await onServer(
      `CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD '${password.replaceAll("'", "''")}'`,
    );
    const [row] = await onServer<{ hash: string }>(
      "SELECT rolpassword AS hash FROM pg_authid WHERE rolname = $1",
      [role],
    );
    url = database.url.replace(/\/\/[^@]+@/, `//${role}:${encodeURIComponent(password)}@`);
    gossip.listen(0, "127.0.0.1");
    await once(gossip, "listening");
    env = {
      BACKUP_DIR: join(root, "backups"),
      TMPDIR: join(root, "temp"),
      BACKUP_ENCRYPTION_KEY: secrets.passphrase,
      AWS_ACCESS_KEY_ID: "AKIAIOSFODNN7EXAMPLE",
      AWS_SECRET_ACCESS_KEY: secrets.s3Secret,
      AWS_SESSION_TOKEN: secrets.s3Token,
      BACKUP_S3_BUCKET: "gossip",
      BACKUP_S3_ENDPOINT: `http://127.0.0.1:${(gossip.address() as AddressInfo).port}`,
    };
    for (const [name, secret] of Object.entries({ ...secrets, password, hash: row?.hash ?? "" })) {
      assert.ok(secret.length > 10, name);
      for (const form of [
        secret,
        encodeURIComponent(secret),
        JSON.stringify(secret).slice(1, -1),
      ]) {
        hidden.set(form, name);
      }
    }
    hidden.set("Zq7!p@s", "half of the password");
  });
  after(async () => {
    gossip.closeAllConnections();
    gossip.close();
    await dropDatabases(`${database.name}_into`);
    await database.drop();
    await onServer(`DROP ROLE ${role}`);
    await rm(root, { recursive: true });
  });

  function assertClean(text: string, where: string): void {
    for (const [form, name] of hidden) {
      assert.ok(!text.includes(form), `the ${name} is in ${where}:\n${text.slice(0, 2000)}`);
    }
  }

  /** What stands in the files of our folders now, by path. */
  async function filesNow(): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true }).catch(
      () => [],
    )) {
      const path = join(entry.parentPath, entry.name);
      const info = await stat(path).catch(() => undefined);
      if (info === undefined || !info.isFile() || info.size > longestRead) continue;
      const bytes = await readFile(path).catch(() => Buffer.alloc(0)); // it may be gone by now
      found.set(path, bytes.toString("utf8"));
    }
    return found;
  }

  /** Runs a command, and looks everywhere meanwhile and afterwards. */
  async function assertKept(
    args: readonly string[],
    exitCode: number,
    changes: { readonly url?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<CommandResult> {
    const options = { url: changes.url ?? url, env: changes.env ?? env };
    const files = new Map<string, string>();
    let working = true;
    const looking = (async () => {
      while (working) {
        for (const [path, content] of await filesNow()) files.set(`${path}\n${content}`, path);
        await sleep(40);
      }
    })();
    const { result, seen, last } = await watchingCommandLines(pgtenant(args, options)).finally(
      () => {
        working = false;
      },
    );
    await looking;
    if (exitCode === 0 && args[0] === "restore") {
      assert.ok(
        [...seen].some((line) => /psql|pg_restore/.test(line)),
        "no program was seen",
      );
    }
    const name = args.join(" ");
    assert.equal(result.code, exitCode, `${name}\n${result.stderr}`);
    assertClean(result.stdout.toString(), `the standard output of ${args[0]}`);
    assertClean(result.stderr, `stderr of ${args[0]}`);
    for (const line of seen) {
      // What was typed stands there until the program has started and taken it away.
      if (!/src\/main\.ts/.test(line)) assertClean(line, "/proc/*/cmdline");
      else if (!name.includes(secrets.typed)) assertClean(line, "/proc/*/cmdline");
    }
    for (const line of last) assertClean(line, "/proc/*/cmdline at the end");
    for (const [content, path] of files) assertClean(content, path);
    for (const [path, content] of await filesNow()) assertClean(content, path);
    return result;
  }

  const typed = ["-k", secrets.typed];

  test("are in no command line, output, journal or other file while backups are made and used", async () => {
    const made = await assertKept(["backup", "--encrypt", "--role-passwords"], 8);
    assert.match(made.stderr, /the backup is not in s3:\/\/gossip/);
    assert.match(made.stderr, /\*\*\*/); // the server's words are shown, and what it repeats is masked
    await assertKept(["backup", "--encrypt", "--format", "directory", "--json"], 8);
    const { BACKUP_S3_BUCKET: _, ...alone } = env;
    await assertKept(["verify", "latest", "-v", ...typed], 0, { env: alone });
    const into = `${database.name}_into`;
    await assertKept(["restore", "latest", "--into", into, ...typed], 0, { env: alone });
    await assertKept(["prune", "-k", "5", "--json"], 8);
    await assertKept(["history", "--json"], 0, { env: alone });
  });

  test("nor when they fail", async () => {
    const { BACKUP_ENCRYPTION_KEY: _, BACKUP_S3_BUCKET: __, ...keyless } = env;
    await assertKept(["verify", "latest", ...typed], 6, { env: keyless });
    await assertKept(["restore", "-f", "latest", `--key=${secrets.typed}`], 6, { env: keyless });
    await assertKept(["restore", "latest", ...typed], 4, {
      env: { ...keyless, BACKUP_ENCRYPTION_KEY: secrets.passphrase },
    });
    await assertKept(["restore", "-fk", secrets.typed, "--no-such-option", "latest"], 2, {
      env: keyless,
    });
    await assertKept(["backup", "--encrypt", "--json"], 7, {
      url: url.replace(role, "no_such_role"),
    });
    await assertKept(["backup", "--recipient", "age1nonsense"], 2);
    await assertKept(["list", "--json"], 8);
  });

  test("role passwords are in the globals only when they are asked for", async () => {
    const dir = join(root, "..", `${root.split("/").at(-1)}-plain`);
    try {
      for (const [args, expected] of [
        [[], false],
        [["--role-passwords"], true],
      ] as const) {
        const options = { url, env: { BACKUP_DIR: dir } };
        const { code, stderr } = await pgtenant(["backup", ...args], options);
        assert.equal(code, 0, stderr);
        const name = (await readdir(dir)).filter((one) => one.endsWith(".globals.sql.gz")).at(-1);
        const text = gunzipSync(await readFile(join(dir, name ?? ""))).toString("utf8");
        assert.equal(/PASSWORD 'SCRAM-SHA-256/.test(text), expected);
      }
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});
