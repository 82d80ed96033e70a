import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gunzipSync, gzipSync } from "node:zlib";
import { Client } from "pg";
import tar from "tar-stream";
import type { BackupResult } from "../../src/backup/backup.ts";
import { type BackupManifest, manifestText } from "../../src/backup/manifest.ts";
import { type RunRestoreOptions, runRestore } from "../../src/backup/run-restore.ts";
import { scratchName } from "../../src/backup/scratch-database.ts";
import { withTargetLock } from "../../src/backup/target-lock.ts";
import { noKeys } from "../../src/bundle/encryption.ts";
import type { AppError } from "../../src/errors.ts";
import { openJournal, readJournal } from "../../src/journal/journal.ts";
import { findClientPrograms } from "../../src/postgres/client-programs.ts";
import { noProgress } from "../../src/progress.ts";
import { openLocalStore } from "../../src/storage/local-store.ts";
import type { Store } from "../../src/storage/store.ts";
import { assertFailure, failure } from "../harness/assert-failure.ts";
import { type CommandOptions, type CommandResult, pgtenant } from "../harness/command.ts";
import { createDatabase, serverUrl, type TestDatabase } from "../harness/database.ts";
import { databaseDigest } from "../harness/database-digest.ts";
import { databaseAt, databasesLike, dropDatabases, onServer } from "../harness/server-databases.ts";
import {
  makeBackup,
  openMade,
  ourPrograms,
  restoreMade,
  withScripts,
} from "../harness/whole-database.ts";

const execute = promisify(execFile);
const passphrase = "the passphrase";
const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

const schema = `
  CREATE TABLE parents (id int PRIMARY KEY, name text);
  INSERT INTO parents SELECT g, 'parent ' || g FROM generate_series(1, 20) g;
  CREATE TABLE children (id serial PRIMARY KEY, parent int REFERENCES parents);
  INSERT INTO children (parent) SELECT 1 + g % 20 FROM generate_series(1, 200) g;`;

suite("restore", () => {
  let root: string;
  let source: TestDatabase;
  /** What every restored database must be. */
  let original: Readonly<Record<string, string>>;
  let store: Store;
  let plain: BackupResult;
  let encrypted: BackupResult;
  /** Databases whose content does not matter behind a test are used by several. */
  let target: TestDatabase;
  const made: string[] = [];

  before(async () => {
    root = await mkdtemp(join(tmpdir(), "pgtenant test-"));
    store = openLocalStore(join(root, "backups"));
    source = await createDatabase("restore", "empty");
    await source.query(schema);
    original = await databaseDigest(source);
    encrypted = await makeBackup(source.url, [store], {
      encryption: { method: "openssl", passphrase },
    });
    plain = await makeBackup(source.url, [store]);
    target = await createDatabase("restore target", "empty");
    await damage();
  });
  after(async () => {
    await dropDatabases(...made, ...(await databasesLike(`${target.name}_`)));
    await source.drop();
    await target.drop();
    await rm(root, { recursive: true });
  });

  /** Makes the target anew, with other rows than the backup has. */
  async function damage(): Promise<Readonly<Record<string, string>>> {
    await dropDatabases(target.name);
    await onServer(`CREATE DATABASE ${target.name} TEMPLATE template0`);
    return await inDatabase(target.name, async (database) => {
      await database.query("CREATE TABLE parents AS SELECT 1 AS id, 'damaged' AS name");
      await database.query("CREATE TABLE ours AS SELECT 42 AS answer");
      return await databaseDigest(database);
    });
  }

  async function inDatabase<T>(
    name: string,
    work: (database: ReturnType<typeof databaseAt>) => Promise<T>,
  ): Promise<T> {
    const database = databaseAt(name);
    try {
      return await work(database);
    } finally {
      await database.end().catch(() => undefined);
    }
  }

  const digestOf = (name: string) => inDatabase(name, databaseDigest);

  function freshName(): string {
    const name = `${source.name}_new_${made.length}`;
    made.push(name);
    return name;
  }

  const run = (args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> =>
    pgtenant(["restore", ...args], {
      url: target.url,
      ...options,
      env: { BACKUP_DIR: store.place, ...options.env },
    });

  function succeeded(result: CommandResult): CommandResult {
    assert.equal(result.code, 0, result.stderr);
    return result;
  }

  async function assertUntouched(was: Readonly<Record<string, string>>): Promise<void> {
    assert.deepEqual(await digestOf(target.name), was);
    assert.deepEqual(await databasesLike(`${target.name}_restoring_`), []);
  }

  test("with programs of 17, which set what this server does not know, each format in each mode", async () => {
    const { binDir } = await findClientPrograms({ path: process.env.PATH, serverMajor: 14 });
    const addLine = "sed '0,/^SET lock_timeout/s//SET transaction_timeout = 0;\\\n&/'";
    const pgDump = `case " $* " in
*" --format=plain "*) ${join(binDir, "pg_dump")} "$@" | ${addLine};;
*) exec ${join(binDir, "pg_dump")} "$@";;
esac`;
    const real = join(binDir, "pg_restore");
    // As theirs is: connected to a server it sends the line itself, and the first error ends it.
    const pgRestore = `case " $* " in
*" --dbname="*) echo 'pg_restore: error: unrecognized configuration parameter "transaction_timeout"' >&2; exit 1;;
*" --file=- "*) ${real} "$@" | ${addLine};;
*) exec ${real} "$@";;
esac`;
    const programs = await withScripts(
      join(root, "of 17"),
      { pg_dump: pgDump, pg_restore: pgRestore },
      "17.2",
    );
    const elsewhere = openLocalStore(join(root, "by 17"));
    for (const format of ["plain", "custom", "directory"] as const) {
      const { id } = await makeBackup(source.url, [elsewhere], { format, programs });
      for (const mode of ["swap", "in-place"] as const) {
        await damage();
        const backup = await openMade(id, [elsewhere]);
        await restoreMade(target.url, backup, { mode, programs });
        const { "public.ours": _, ...restored } = await digestOf(target.name);
        assert.deepEqual(restored, original, `${format}, ${mode}`);
      }
    }
  });

  suite("the confirmation", () => {
    test("is wanted where the database exists, and without a terminal it is refused", async () => {
      const was = await damage();
      const result = await run([plain.id]);
      assert.equal(result.code, 4, result.stderr);
      assert.match(result.stdout.toString(), new RegExp(`beside database "${target.name}"`));
      assert.match(
        result.stderr,
        /^pgtenant: this needs a confirmation, and there is no terminal/m,
      );
      assert.match(result.stderr, /^hint: Add -f .* --into NAME/m);
      await assertUntouched(was);
    });

    test("is the name of the database, typed in a terminal", async (context) => {
      const was = await damage();
      const typing = async (word: string) => {
        const child = spawn(
          "script",
          ["-qec", `"${process.execPath}" "${main}" restore ${plain.id}`, "/dev/null"],
          {
            env: {
              PATH: process.env.PATH ?? "",
              HOME: process.env.HOME ?? "",
              DATABASE_URL: target.url,
              BACKUP_DIR: store.place,
            },
          },
        );
        child.on("error", () => undefined);
        let said = "";
        child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
          said += chunk;
          if (said.includes("to go on: ")) child.stdin.write(`${word}\n`);
          if (said.includes("to go on: ")) said = said.replace("to go on: ", "to go on …");
        });
        const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
        return { code, said };
      };
      if ((await execute("script", ["--version"]).catch(() => undefined)) === undefined) {
        context.skip("there is no script(1) here to make a terminal");
        return;
      }
      const wrong = await typing("yes");
      assert.equal(wrong.code, 4, wrong.said);
      assert.match(wrong.said, new RegExp(`"${target.name}" was not typed`));
      await assertUntouched(was);
      const right = await typing(target.name);
      assert.equal(right.code, 0, right.said);
      assert.deepEqual(await digestOf(target.name), original);
    });

    test("-f needs none; the database that was there is kept, named, and what it was", async () => {
      const was = await damage();
      const result = succeeded(await run(["-f", plain.id]));
      assert.deepEqual(await digestOf(target.name), original);
      const [, kept = ""] =
        /what was there before is in "(.*)"/.exec(result.stdout.toString()) ?? [];
      assert.match(kept, new RegExp(`^${target.name}_before_\\d{8}_\\d{6}$`));
      assert.deepEqual(await digestOf(kept), was);
      const journal = (await readFile(join(store.place, "journal.jsonl"), "utf8")).trimEnd();
      const { event, operation, subject, database } = JSON.parse(journal.split("\n").at(-1) ?? "");
      assert.deepEqual(
        [event, operation, subject, database],
        ["done", "restore", plain.id, target.name],
      );
    });

    test("two within one second keep both databases that were there", async (context) => {
      context.mock.timers.enable({ apis: ["Date"], now: Date.UTC(2026, 0, 1, 2) });
      const was = [await damage(), original];
      const opened = await openMade(plain.id, [store]);
      const kept = [
        (await restoreMade(target.url, opened)).plan.kept ?? "",
        (await restoreMade(target.url, opened)).plan.kept ?? "",
      ];
      assert.deepEqual(kept, [
        `${target.name}_before_20260101_020000`,
        `${target.name}_before_20260101_020001`,
      ]);
      for (const [at, name] of kept.entries()) assert.deepEqual(await digestOf(name), was[at]);
    });

    test("is not wanted where there is no such database, nor by --into and --dry-run", async () => {
      const [fresh, into] = [freshName(), freshName()];
      const result = succeeded(await run([plain.id], { url: serverUrl(fresh) }));
      assert.match(result.stdout.toString(), /which is not there yet/);
      assert.doesNotMatch(result.stdout.toString(), /what was there before/);
      assert.deepEqual(await digestOf(fresh), original);
      const was = await damage();
      const dry = succeeded(await run([plain.id, "--dry-run", "--json"]));
      const { dryRun, plan } = JSON.parse(dry.stdout.toString());
      assert.deepEqual(
        [dryRun, plan.target, plan.targetExists, plan.backup.rows],
        [true, target.name, true, 220],
      );
      await assertUntouched(was);
      succeeded(await run([plain.id, "--into", into]));
      assert.deepEqual(await digestOf(into), original);
      await assertUntouched(was);
      await assert.rejects(
        restoreMade(target.url, await openMade(plain.id, [store]), { into }),
        failure(4, "database-exists", /there is a database ".*" already/),
      );
    });
  });

  suite("clients that are connected", () => {
    test("are a reason to refuse, and named", async () => {
      const was = await damage();
      const client = new Client({
        connectionString: target.url,
        application_name: "control plane",
      });
      await client.connect();
      try {
        const result = await run(["-f", plain.id]);
        assert.equal(result.code, 4, result.stderr);
        assert.match(result.stderr, /^pgtenant: 1 client is connected to database/m);
        assert.match(result.stderr, /process \d+: control plane, user /);
        assert.match(result.stderr, /^hint: Stop the control plane first.*--disconnect/m);
      } finally {
        await client.end();
      }
      await assertUntouched(was);
    });

    test("one that comes during the load and leaves again is waited for, and named", async () => {
      await damage();
      const client = new Client({ connectionString: target.url, application_name: "a monitor" });
      const steps: string[] = [];
      let connected = Promise.resolve<unknown>(undefined);
      await restoreMade(target.url, await openMade(plain.id, [store]), {
        onStep: (step, text) => {
          steps.push(text);
          if (step === "load") connected = client.connect();
          if (text.startsWith("waiting")) void client.end();
        },
      });
      await connected;
      assert.match(steps.at(-1) ?? "", /^waiting a minute for .*: process \d+, a monitor, user /);
      assert.deepEqual(await digestOf(target.name), original);
    });

    test("of logical replication is one too: refused before the load, or disconnected", async () => {
      const was = await damage();
      const walsender = new Client({ connectionString: `${target.url}?replication=database` });
      walsender.on("error", () => undefined); // it is going to be ended
      await walsender.connect();
      await assert.rejects(
        restoreMade(target.url, await openMade(plain.id, [store]), { onStep: noLoad }),
        failure(4, "clients-connected", /^1 client is connected/),
      );
      await assertUntouched(was);
      await restoreMade(target.url, await openMade(plain.id, [store]), { disconnect: true });
      assert.deepEqual(await digestOf(target.name), original);

      function noLoad(step: string) {
        assert.notEqual(step, "load");
      }
    });

    test("that are gone and have left a prepared transaction: refused, and named", async (context) => {
      const [{ most } = { most: "0" }] = await onServer<{ most: string }>(
        "SELECT current_setting('max_prepared_transactions') AS most",
      );
      if (most === "0") return context.skip("max_prepared_transactions is 0 here");
      const was = await damage();
      await inDatabase(target.name, async (database) => {
        await database.query("BEGIN");
        await database.query("DELETE FROM ours");
        await database.query("PREPARE TRANSACTION 'left open'");
      });
      await assert.rejects(
        restoreMade(target.url, await openMade(plain.id, [store]), { disconnect: true }),
        failure(4, "prepared-transactions", /^1 prepared transaction is open in database/),
      );
      await inDatabase(target.name, (database) => database.query("ROLLBACK PREPARED 'left open'"));
      await assertUntouched(was);
    });

    test("a monitor that sits in every database is no reason to throw a restored one away", async () => {
      const into = freshName();
      let looping = true;
      let seen = 0;
      const look = async (name: string) => {
        const client = new Client({ connectionString: serverUrl(name) });
        const ended = new Promise<void>((resolve) => client.once("end", resolve));
        client.on("error", () => undefined); // it is going to be ended
        await client.connect();
        seen += 1;
        await ended;
      };
      const loop = async () => {
        while (looping) {
          const [name] = await databasesLike(`${into}_restoring`);
          // It may be gone, or renamed, meanwhile.
          if (name !== undefined) await look(name).catch(() => undefined);
          await sleep(20);
        }
      };
      const monitor = loop();
      try {
        await restoreMade(target.url, await openMade(plain.id, [store]), { into });
      } finally {
        looping = false;
        await monitor;
      }
      assert.ok(seen > 0, "the monitor was there");
      assert.deepEqual(await digestOf(into), original);
    });

    for (const mode of ["swap", "in-place"] as const) {
      test(`--disconnect wins over a client that comes back at once (${mode})`, async () => {
        await damage();
        let looping = true;
        let connections = 0;
        const loop = async () => {
          while (looping) {
            const client = new Client({ connectionString: target.url });
            client.on("error", () => undefined);
            try {
              await client.connect();
              connections += 1;
              await client.query("SELECT pg_sleep(0.05)");
              await client.end();
            } catch {
              // ended by the restore, or between the two databases
            }
          }
        };
        const loops = [loop(), loop()];
        try {
          const backup = await openMade(plain.id, [store]);
          await restoreMade(target.url, backup, { disconnect: true, mode });
        } finally {
          looping = false;
          await Promise.all(loops);
        }
        assert.ok(connections > 2, "the client was there");
        const { "public.ours": left, ...digest } = await digestOf(target.name);
        assert.deepEqual(digest, original);
        assert.equal(left === undefined, mode === "swap");
      });
    }
  });

  suite("what is refused leaves everything as it was", () => {
    test("a dump that fails half-way: beside the target, and in place", async () => {
      const was = await damage();
      const broken = await forged("broken", (sql) =>
        sql.replace(/(?=\nALTER TABLE ONLY public\.children\n)/, "\nSELECT no_such_function();\n"),
      );
      for (const mode of ["swap", "in-place"] as const) {
        const backup = await openMade(broken.id, [broken.store]);
        await assert.rejects(
          restoreMade(target.url, backup, { mode }),
          failure(7, "program-failed", /psql failed: .*no_such_function/),
        );
        await assertUntouched(was);
      }
    });

    test("in place, behind large objects, whose own transactions are none: everything is as it was", async () => {
      const withObjects = await createDatabase("restore objects", "empty");
      try {
        await withObjects.query(schema);
        await withObjects.query("SELECT lo_from_bytea(0, 'one'), lo_from_bytea(0, 'two')");
        const sql = join(root, "objects.sql");
        await execute("pg_dump", ["--clean", "--if-exists", "-d", withObjects.url, "-f", sql]);
        const text = await readFile(sql, "utf8");
        assert.match(text, /\nBEGIN;\n\nSELECT pg_catalog\.lo_open\(/);
        await writeFile(
          sql,
          text.replace(
            /(?=\nALTER TABLE ONLY public\.children\n.*FOREIGN KEY)/s,
            "\nSELECT no_such_function();\n",
          ),
        );
        const was = await damage();
        const backup = await openMade(sql, []);
        await assert.rejects(
          restoreMade(target.url, backup, { mode: "in-place" }),
          failure(7, "program-failed", /no_such_function/),
        );
        await assertUntouched(was);
      } finally {
        await withObjects.drop();
      }
    });

    test("in place, an object that depends on what is replaced: everything is as it was", async () => {
      await damage();
      await inDatabase(target.name, async (database) => {
        await database.query("CREATE TABLE seen AS SELECT 1 AS one");
        await database.query("CREATE VIEW in_the_way AS SELECT name FROM parents");
      });
      const was = await digestOf(target.name);
      const elsewhere = openLocalStore(join(root, "custom"));
      const custom = await makeBackup(source.url, [elsewhere], { format: "custom" });
      for (const { id } of [plain, custom]) {
        await assert.rejects(
          restoreMade(target.url, await openMade(id, [store, elsewhere]), { mode: "in-place" }),
          failure(
            7,
            "program-failed",
            /cannot drop table .*parents because other objects depend on it/,
          ),
        );
        await assertUntouched(was);
      }
    });

    test("a dump with one row less than its manifest says: exit 3 with the table", async () => {
      const was = await damage();
      const less = await forged("less", (sql) => sql.replace(/^200\t\d+\n/m, ""));
      const result = await run(["-f", less.id, "--dir", less.store.place]);
      assert.equal(result.code, 3, result.stderr);
      assert.match(
        result.stderr,
        /^pgtenant: what was restored has not the rows of the manifest, in 1 table$/m,
      );
      assert.match(result.stderr, /public\.children: 199, and the manifest says 200/);
      await assertUntouched(was);
    });

    test("a wrong key and a missing one: exit 6 before anything is touched", async () => {
      const was = await damage();
      const wrong = await run(["-f", "-k", "wrong", encrypted.id]);
      assert.equal(wrong.code, 6, wrong.stderr);
      const backup = await openMade(encrypted.id, [store]);
      await assert.rejects(restoreMade(target.url, backup), (error) => {
        assert.match(String((error as AppError).hint), /BACKUP_ENCRYPTION_KEY|-k/);
        return (error as AppError).exitCode === 6;
      });
      await assertUntouched(was);
    });

    test("a role that may not create databases: exit 7 with what it lacks", async () => {
      const was = await damage();
      const role = `limited_${process.pid}`;
      await onServer(`CREATE ROLE ${role} LOGIN PASSWORD 'limited'`);
      try {
        const url = target.url.replace(/\/\/[^@]+@/, `//${role}:limited@`);
        await assert.rejects(
          restoreMade(url, await openMade(plain.id, [store])),
          failure(7, "insufficient-privilege", /permission denied/),
        );
      } finally {
        await onServer(`DROP ROLE ${role}`);
      }
      await assertUntouched(was);
    });

    test("a role whose idle sessions are ended: the load takes longer, and ours stay", async () => {
      const role = `impatient_${process.pid}`;
      const slow = await forged("slow", (sql) =>
        sql.replace(/(?=\nALTER TABLE ONLY)/, "\nSELECT pg_sleep(1.5);\n"),
      );
      await damage();
      await onServer(`CREATE ROLE ${role} SUPERUSER LOGIN PASSWORD 'impatient'`);
      try {
        await onServer(`ALTER ROLE ${role} SET idle_session_timeout = '300ms'`);
        const url = target.url.replace(/\/\/[^@]+@/, `//${role}:impatient@`);
        await restoreMade(url, await openMade(slow.id, [slow.store]));
        assert.deepEqual(await digestOf(target.name), original);
      } finally {
        await dropDatabases(target.name, ...(await databasesLike(`${target.name}_`)));
        await onServer(`DROP ROLE ${role}`);
        await damage();
      }
    });

    test("a dump of a newer server: exit 4 with its version", async () => {
      const was = await damage();
      const newer = join(root, "newer.sql");
      const sql = await sqlOf(plain);
      await writeFile(
        newer,
        sql.replace(
          /^-- Dumped from database version \S+/m,
          "-- Dumped from database version 99.1",
        ),
      );
      const result = await run(["-f", newer]);
      assert.equal(result.code, 4, result.stderr);
      assert.match(
        result.stderr,
        /^pgtenant: the backup is of PostgreSQL 99\.1, and this server is older: /m,
      );
      assert.match(result.stderr, /^hint: Restore it on a server of version 99 or newer\.$/m);
      await assertUntouched(was);
    });

    test("a database that another run is at work on: exit 5 with the holder", async () => {
      const was = await damage();
      const connection = { databaseUrl: target.url, applicationName: "pgtenant backup" };
      await withTargetLock(connection, target.name, "backup", async () => {
        const result = await run(["-f", plain.id]);
        assert.equal(result.code, 5, result.stderr);
        assert.match(
          result.stderr,
          /another run is at work on the database ".*": pgtenant backup \(server process \d+/,
        );
      });
      await assertUntouched(was);
    });

    /** A backup whose dump is altered and whose manifest agrees with that, rows aside. */
    async function forged(name: string, alter: (sql: string) => string) {
      const place = join(root, name);
      await mkdir(place);
      const { manifest } = plain;
      const sql = await sqlOf(plain);
      const altered = alter(sql);
      assert.notEqual(altered, sql);
      const bytes = gzipSync(altered);
      const parts: BackupManifest["parts"] = manifest.parts
        .filter((part) => part.kind === "database")
        .map((part) => ({
          ...part,
          bytes: bytes.length,
          sha256: createHash("sha256").update(bytes).digest("hex"),
          rawBytes: Buffer.byteLength(altered),
        }));
      await writeFile(join(place, parts[0]?.name ?? ""), bytes);
      const text = manifestText({ ...manifest, parts });
      await writeFile(join(place, `${manifest.id}.manifest.json`), text);
      return { id: manifest.id, store: openLocalStore(place) };
    }
  });

  async function sqlOf({ id }: BackupResult): Promise<string> {
    return gunzipSync(await readFile(join(store.place, `${id}.sql.gz`))).toString("utf8");
  }

  suite("what comes with the database", () => {
    test("roles that this server lacks are made, and owners and settings come back", async () => {
      const role = `owner_${process.pid}`;
      const other = await createDatabase("restore roles", "empty");
      try {
        await other.query(`
          CREATE ROLE ${role} LOGIN; CREATE TABLE owned (); ALTER TABLE owned OWNER TO ${role};
          GRANT SELECT ON owned TO ${role};
          ALTER DATABASE ${other.name} SET statement_timeout = '77s';
          ALTER ROLE ${role} IN DATABASE ${other.name} SET work_mem = '7MB'`);
        const { id } = await makeBackup(other.url, [store], { format: "custom" });
        await other.query(`DROP TABLE owned; DROP ROLE ${role}`);
        const backup = await openMade(id, [store]);
        const { rolesCreated, plan } = await restoreMade(other.url, backup, { disconnect: true });
        made.push(plan.kept ?? "");
        assert.deepEqual(rolesCreated, [role]);
        await inDatabase(other.name, async (database) => {
          const rows = await database.query(
            `SELECT tableowner, current_setting('statement_timeout') AS timeout,
                    (SELECT setconfig::text FROM pg_db_role_setting WHERE setrole = $1::regrole) AS role
               FROM pg_tables WHERE tablename = 'owned'`,
            [role],
          );
          assert.deepEqual(rows, [{ tableowner: role, timeout: "77s", role: "{work_mem=7MB}" }]);
        });
      } finally {
        await other.drop();
        await onServer(`DROP ROLE IF EXISTS ${role}`);
      }
    });

    test("the journal has what was restored, and how long it took without the time at the plan", async () => {
      const backup = await openMade(plain.id, [store]);
      const folder = join(root, "journal");
      const warn = (text: string) => assert.fail(text);
      const thoughtMs = 3_000;
      const restore = async (changes: Partial<RunRestoreOptions>) => {
        await runRestore({
          backup,
          connection: { databaseUrl: target.url, applicationName: "pgtenant restore" },
          keys: noKeys,
          programs: ourPrograms,
          mode: "swap",
          into: undefined,
          disconnect: true,
          jobs: undefined,
          tempFolder: undefined,
          signal: new AbortController().signal,
          progress: noProgress,
          onPlan: () => Promise.resolve(),
          onStep: () => undefined,
          filesTo: undefined,
          onlyFiles: false,
          journal: openJournal(folder, { secrets: [], warn }),
          warn,
          ...changes,
        });
        return (await Array.fromAsync(readJournal(folder))).at(-1);
      };
      const whole = await restore({ onPlan: () => sleep(thoughtMs) });
      const { mode, restoreSeconds } = whole?.details ?? {};
      assert.equal(mode, "swap");
      assert.ok(Number(restoreSeconds) > 0);
      const thought = Number(whole?.seconds) - Number(restoreSeconds);
      assert.ok(thought >= thoughtMs / 1000 - 0.1, `${thought} s are left out`);
      const into = freshName();
      const beside = await restore({ mode: "into", into });
      assert.deepEqual(
        [beside?.database, beside?.details?.into, beside?.details?.beside],
        [into, into, target.name],
      );
    });

    test("files: none is written over one that exists, or outside of the folder", async () => {
      const files = join(root, "files");
      await mkdir(files);
      for (const name of ["a", "b"]) await writeFile(join(files, name), name);
      const place = join(root, "with files");
      const made = await pgtenant(["backup", "-d", place, "--include", files], { url: source.url });
      succeeded(made);
      const to = join(root, "to");
      await mkdir(join(to, files), { recursive: true });
      await writeFile(join(to, files, "b"), "there already");
      const only = ["--only-files", "--files-to"];
      const refused = await run(["latest", "-d", source.url, "--dir", place, ...only, to]);
      assert.equal(refused.code, 4, refused.stderr);
      assert.match(refused.stderr, /to\/.*files\/b"/);
      assert.deepEqual(await readdir(join(to, files)), ["b"]);

      const hostile = tar.pack();
      hostile.entry({ name: "../../escaped", mode: 0o644 }, "x");
      hostile.finalize();
      const bytes = gzipSync(
        Buffer.concat(await Array.fromAsync(hostile as AsyncIterable<Buffer>)),
      );
      const name = (await readdir(place)).find((one) => one.endsWith(".manifest.json")) ?? "";
      const { sha256: _, ...manifest } = JSON.parse(await readFile(join(place, name), "utf8"));
      for (const part of manifest.parts.filter((one: { kind: string }) => one.kind === "files")) {
        part.bytes = bytes.length;
        part.sha256 = createHash("sha256").update(bytes).digest("hex");
        part.rawBytes = gunzipSync(bytes).length;
        await writeFile(join(place, part.name), bytes);
      }
      await writeFile(join(place, name), manifestText(manifest));
      const elsewhere = join(root, "deep", "elsewhere");
      const outside = await run(["latest", "-d", source.url, "--dir", place, ...only, elsewhere]);
      assert.equal(outside.code, 3, outside.stderr);
      assert.match(outside.stderr, /\.\.\/\.\.\/escaped/);
      assert.ok(!(await readdir(root)).includes("escaped"));
    });

    test("two names that begin alike are never cut to the same scratch database", async () => {
      const stem = `ünd_${"a".repeat(50)}`;
      const [one, other] = [
        scratchName(`${stem}_1`, new Date(0)),
        scratchName(`${stem}_2`, new Date(0)),
      ];
      assert.notEqual(one, other);
      for (const name of [one, other]) {
        assert.equal(Buffer.byteLength(name), 63);
        assert.match(name, /^ünd_a+_[0-9a-f]{8}_restoring_19700101_000000$/);
      }
      const long = `${"鍵".repeat(14)}_${process.pid}`;
      made.push(long, scratchName(long, new Date(0)), scratchName(`${long}2`, new Date(0)));
      for (const name of made.slice(-2)) await onServer(`CREATE DATABASE "${name}"`);
      const { notes } = await restoreMade(serverUrl(long), await openMade(plain.id, [store]));
      assert.equal(notes.length, 1);
      assert.deepEqual(await databasesLike("鍵"), [long, made.at(-1)].sort());
    });

    test("scratch databases that a killed restore left are dropped, and only those", async () => {
      await damage();
      const left = `${target.name}_restoring_20250101_020000`;
      const foreign = [
        `${target.name}_restoring_notours`,
        `${target.name}_restoring_20250101_020000_mine`,
        `x_${target.name}_restoring_20250101_020000`,
      ];
      made.push(...foreign);
      for (const name of [left, ...foreign]) await onServer(`CREATE DATABASE ${name}`);
      const { notes } = await restoreMade(target.url, await openMade(plain.id, [store]));
      assert.deepEqual(notes, [
        `database "${left}", left by a restore that was ended, was dropped`,
      ]);
      const all = [...(await databasesLike(target.name)), ...(await databasesLike("x_"))];
      for (const name of foreign) assert.ok(all.includes(name), name);
      assert.ok(!all.includes(left));
    });
  });

  suite("where it comes from", () => {
    test("the dumps of pg_dump itself, compressed and encrypted, without a manifest", async () => {
      const folder = join(root, "foreign");
      await mkdir(folder);
      const dump = (name: string, ...args: readonly string[]) =>
        execute("pg_dump", [...args, "-d", source.url, "-f", join(folder, name)]);
      await dump("dump.sql");
      await dump("dump.custom", "-Fc");
      await writeFile(
        join(folder, "dump.sql.gz"),
        gzipSync(await readFile(join(folder, "dump.sql"))),
      );
      const openssl = ["enc", "-aes-256-cbc", "-pbkdf2", "-in", join(folder, "dump.sql.gz")];
      await execute("openssl", [
        ...openssl,
        "-out",
        join(folder, "dump.sql.gz.enc"),
        "-pass",
        `pass:${passphrase}`,
      ]);
      await symlink("dump.sql.gz", join(folder, "latest-backup.sql.gz"));
      for (const name of [
        "dump.sql",
        "dump.custom",
        "dump.sql.gz",
        "dump.sql.gz.enc",
        "latest-backup.sql.gz",
      ]) {
        const into = freshName();
        const backup = await openMade(join(folder, name), []);
        const keys = { passphrases: [passphrase], identities: [] };
        const { plan } = await restoreMade(source.url, backup, { into, keys });
        assert.deepEqual(await digestOf(into), original, name);
        assert.match(plan.warnings.join(), /there is no manifest: /);
      }
    });

    test("without globals the database's owner, privileges and settings go on", async () => {
      await damage();
      const folder = join(root, "without globals");
      await mkdir(folder);
      await execute("pg_dump", ["-d", source.url, "-f", join(folder, "dump.sql")]);
      const role = `owner_${process.pid}`;
      const properties = () =>
        onServer(
          `SELECT pg_get_userbyid(datdba) AS owner, datacl::text, datconnlimit,
                  ARRAY(SELECT coalesce(setrole::regrole::text, '') || ': ' || setconfig::text FROM pg_db_role_setting
                         WHERE setdatabase = d.oid ORDER BY 1) AS settings
             FROM pg_database d WHERE datname = $1`,
          [target.name],
        );
      await onServer(`CREATE ROLE ${role}`);
      try {
        for (const statement of [
          `ALTER DATABASE ${target.name} OWNER TO ${role}`,
          `REVOKE ALL ON DATABASE ${target.name} FROM PUBLIC`,
          `ALTER DATABASE ${target.name} CONNECTION LIMIT 17`,
          `ALTER DATABASE ${target.name} SET search_path TO "$user", public, extra`,
          `ALTER ROLE ${role} IN DATABASE ${target.name} SET work_mem = '9MB'`,
        ]) {
          await onServer(statement);
        }
        const was = await properties();
        const backup = await openMade(join(folder, "dump.sql"), []);
        const { notes } = await restoreMade(target.url, backup);
        assert.deepEqual(await digestOf(target.name), original);
        assert.deepEqual(await properties(), was);
        assert.match(
          notes.join(),
          /owner, privileges and settings of the database that was there go on/,
        );
      } finally {
        await dropDatabases(target.name, ...(await databasesLike(`${target.name}_`)));
        await onServer(`DROP ROLE ${role}`);
        await damage();
      }
    });

    test("by the path of its dump, a set that has lost its globals, or whose manifest does not hold", async () => {
      const place = join(root, "lost parts");
      await mkdir(place);
      const dump = join(place, `${plain.id}.sql.gz`);
      await copyFile(join(store.place, `${plain.id}.sql.gz`), dump);
      const manifest = join(place, `${plain.id}.manifest.json`);
      await copyFile(join(store.place, `${plain.id}.manifest.json`), manifest);
      const verified = await pgtenant(["verify", dump], {
        url: target.url,
        env: { BACKUP_DIR: place },
      });
      assert.equal(verified.code, 3, "the set is not whole");
      for (const rows of [220, null]) {
        await assert.rejects(openMade(plain.id, [openLocalStore(place)]), { exitCode: 3 });
        const backup = await openMade(dump, []);
        assert.match(backup.warnings.join(), /^only this dump is taken: /);
        const into = freshName();
        const { plan } = await restoreMade(target.url, backup, { into });
        assert.equal(plan.backup.rows, rows, "compared as far as the manifest holds");
        assert.deepEqual(await digestOf(into), original);
        await writeFile(
          manifest,
          (await readFile(manifest, "utf8")).replace(/"rows": \d+/, '"rows": 7'),
        );
      }
      await writeFile(dump, (await readFile(dump)).subarray(0, -10));
      await assert.rejects(
        restoreMade(target.url, await openMade(dump, []), { into: freshName() }),
      );
    });

    test("a subscription of logical replication stays behind, and that is said", async () => {
      const subscriber = await createDatabase("subscriber", "empty");
      try {
        await subscriber.query("CREATE TABLE t AS SELECT 1 AS n");
        await subscriber.query(
          "CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)",
        );
        const place = openLocalStore(join(root, "subscriber"));
        for (const format of ["plain", "custom"] as const) {
          const { id, warnings } = await makeBackup(subscriber.url, [place], { format });
          assert.match(warnings.join(), /subscriptions .* are not in the backup: feed; /);
          const into = freshName();
          await restoreMade(subscriber.url, await openMade(id, [place]), { into });
          await dropDatabases(into);
        }
      } finally {
        await subscriber.query("ALTER SUBSCRIPTION feed SET (slot_name = NONE)");
        await subscriber.query("DROP SUBSCRIPTION feed");
        await subscriber.drop();
      }
    });

    test("an archive that nobody knows the version of is read by the newest programs", async () => {
      const old = await withScripts(join(root, "programs of 14"), {}, "14.2");
      const found = async (newest: boolean) => {
        const path = `${old.binDir}:${process.env.PATH}`;
        return (await findClientPrograms({ path, serverMajor: 14, newest })).major;
      };
      assert.equal(await found(false), 14);
      assert.ok((await found(true)) > 14);
    });

    test("an id, a path of a set, a link to it, latest, and a copy without its manifest", async () => {
      const path = join(store.place, `${plain.id}.sql.gz`);
      await symlink(path, join(root, "latest-backup.sql.gz"));
      await copyFile(path, join(root, `${plain.id}.sql.gz`));
      const byPath = [path, join(root, "latest-backup.sql.gz")];
      for (const wanted of ["latest", plain.id, ...byPath]) {
        const { id, manifest } = await openMade(wanted, [store], source.name);
        assert.deepEqual([id, manifest?.id], [plain.id, plain.id], wanted);
      }
      const alone = await openMade(join(root, `${plain.id}.sql.gz`), [store]);
      assert.deepEqual([alone.id, alone.manifest], [plain.id, undefined]);
      const none = await run(["backup_20200101_000000"]);
      assertFailure(none, {
        code: 2,
        message: /there is no backup "backup_20200101_000000" in /,
        hint: /pgtenant list/,
      });
    });
  });
});
