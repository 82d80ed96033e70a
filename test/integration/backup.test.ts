import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  chmod,
  lchown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { type BackupManifest, parseManifest } from "../../src/backup/manifest.ts";
import { type RunBackupOptions, runBackup } from "../../src/backup/run-backup.ts";
import { AppError } from "../../src/errors.ts";
import { openJournal } from "../../src/journal/journal.ts";
import { noProgress } from "../../src/progress.ts";
import { openLocalStore } from "../../src/storage/local-store.ts";
import type { Store } from "../../src/storage/store.ts";
import { assertFailure, failure } from "../harness/assert-failure.ts";
import { type CommandResult, pgtenant, spawnPgtenant } from "../harness/command.ts";
import { untilGone } from "../harness/command-lines.ts";
import { createDatabase, serverUrl, type TestDatabase } from "../harness/database.ts";
import { memoryStore } from "../harness/memory-store.ts";
import { databaseAt, dropDatabases, onServer } from "../harness/server-databases.ts";
import {
  makeBackup,
  openMade,
  ourPrograms,
  restoreMade,
  verifyMade,
  withScripts,
} from "../harness/whole-database.ts";

const never = new AbortController().signal;

suite("backup", () => {
  let database: TestDatabase;
  let root: string;
  let folders = 0;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "pgtenant test-"));
    database = await createDatabase("backup", "empty");
    await database.query(`
      CREATE TABLE one (id int PRIMARY KEY, v text); INSERT INTO one VALUES (1, 'a'), (2, 'b');
      CREATE TABLE "Two; '2'" (id serial); INSERT INTO "Two; '2'" DEFAULT VALUES;
      CREATE TABLE busy (id serial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp());`);
  });
  after(async () => {
    await rm(root, { recursive: true });
    await database.drop();
  });

  async function newFolder(): Promise<string> {
    folders += 1;
    const folder = join(root, `backups ${folders}`);
    await mkdir(folder, { mode: 0o755 });
    return folder;
  }

  const run = (dir: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    pgtenant(["backup", ...args], { url: database.url, env: { BACKUP_DIR: dir, ...env } });

  function succeeded(result: CommandResult): CommandResult {
    assert.equal(result.code, 0, result.stderr);
    return result;
  }

  /** A whole run in this process, with locks and journal. */
  const runHere = (folder: string, changes: Partial<RunBackupOptions> = {}) =>
    runBackup(
      {
        connection: { databaseUrl: database.url, applicationName: "pgtenant backup" },
        stores: [openLocalStore(folder)],
        programs: ourPrograms,
        format: "plain",
        compression: "gzip",
        encryption: { method: "none" },
        jobs: undefined,
        tempFolder: undefined,
        included: undefined,
        rolePasswords: false,
        timeoutMinutes: 5,
        signal: never,
        progress: noProgress,
        folder,
        journal: openJournal(folder, { secrets: [], warn: () => undefined }),
        warn: () => undefined,
        ...changes,
      },
      () => Promise.resolve(),
    );

  const namesIn = async (folder: string) => (await readdir(folder)).sort();
  const assertNothingLeft = async (folder: string) =>
    assert.deepEqual(
      (await namesIn(folder)).filter((name) => name !== "journal.jsonl"),
      [],
    );

  async function manifestIn(folder: string): Promise<BackupManifest> {
    const name = (await namesIn(folder)).filter((one) => one.endsWith(".manifest.json")).at(-1);
    assert.ok(name !== undefined, `a manifest in ${await namesIn(folder)}`);
    return parseManifest(await readFile(join(folder, name), "utf8"), name);
  }

  async function journalOf(folder: string) {
    const lines = (await readFile(join(folder, "journal.jsonl"), "utf8")).trimEnd().split("\n");
    return lines.map((line) => JSON.parse(line));
  }

  /** Holds a table so that pg_dump waits for it, while `work` runs. */
  async function whileLocked(work: () => Promise<void>): Promise<void> {
    const other = await database.connect();
    await other.query("BEGIN; LOCK TABLE one IN ACCESS EXCLUSIVE MODE");
    try {
      await work();
    } finally {
      await other.end();
    }
  }

  /** The server process of a pg_dump that waits for the table. */
  async function waitingDump(): Promise<number> {
    for (const end = Date.now() + 30_000; Date.now() < end; await sleep(20)) {
      const [row] = await database.query<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database()
          AND wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%' AND pid <> pg_backend_pid()`,
      );
      if (row !== undefined) return row.pid;
    }
    throw new Error("no pg_dump waits");
  }

  const assertNoProgramLeft = () =>
    untilGone((line) => /pg_dump|pg_restore/.test(line) && line.includes(database.name));

  suite("what it writes", () => {
    test("the manifest tells the dump, counted in its own snapshot while others insert", async () => {
      const folder = await newFolder();
      const writer = await database.connect();
      let writing = true;
      const inserting = (async () => {
        while (writing) await writer.query("INSERT INTO busy DEFAULT VALUES");
      })();
      const { result } = await runHere(folder);
      writing = false;
      await inserting;
      const manifest = await manifestIn(folder);
      assert.deepEqual(manifest, result.manifest);
      const dump = await readFile(join(folder, `${manifest.id}.sql.gz`));
      const sql = gunzipSync(dump).toString("utf8");
      const inDump = [...sql.matchAll(/^COPY (.*?) \(.*FROM stdin;\n((?:.*\n)*?)\\\.$/gm)].map(
        ([, table = "", rows = ""]) => ({ table, rows: rows.split("\n").length - 1 }),
      );
      assert.deepEqual(manifest.tables, inDump);
      const busy = inDump.find(({ table }) => table === "public.busy");
      const [now] = await database.query<{ count: number }>("SELECT count(*)::int FROM busy");
      assert.ok((now?.count ?? 0) > (busy?.rows ?? 0), "rows came in behind the snapshot");

      const [server] = await database.query<Record<string, string>>(
        `SELECT system_identifier::text AS id, current_setting('server_version') AS version,
                datcollate, datctype FROM pg_control_system(), pg_database
          WHERE datname = current_database()`,
      );
      assert.equal(manifest.database, database.name);
      assert.equal(manifest.source.systemIdentifier, server?.id);
      assert.ok(server?.version?.startsWith(manifest.source.server));
      assert.match(manifest.source.snapshotLsn ?? "", /^[0-9A-F]+\/[0-9A-F]+$/);
      assert.equal(manifest.source.locale.collate, server?.datcollate);
      assert.ok(Math.abs(Date.now() - Date.parse(manifest.createdAt)) < 60_000);
      for (const part of manifest.parts) {
        const bytes = await readFile(join(folder, part.name));
        assert.equal(part.bytes, bytes.length);
        assert.equal(part.sha256, createHash("sha256").update(bytes).digest("hex"));
        assert.equal(part.rawBytes, gunzipSync(bytes).length);
      }
      assert.deepEqual(manifest.keyIds, []);
      assert.deepEqual(manifest.warnings, []);
    });

    test("files of mode 0600 under their names, a folder of 0700, two lines in the journal", async () => {
      const folder = join(await newFolder(), "made", "by the backup");
      const result = succeeded(await run(folder, ["--json"]));
      const { id, parts, exitCode } = JSON.parse(result.stdout.toString());
      assert.match(id, /^backup_\d{8}_\d{6}$/);
      assert.equal(exitCode, 0);
      assert.deepEqual(
        await namesIn(folder),
        [".globals.sql.gz", ".manifest.json", ".sql.gz"]
          .map((suffix) => `${id}${suffix}`)
          .concat("journal.jsonl"),
      );
      assert.equal(((await stat(folder)).mode & 0o777).toString(8), "700");
      for (const name of await namesIn(folder)) {
        assert.equal(((await stat(join(folder, name))).mode & 0o777).toString(8), "600", name);
      }
      const [started, done, ...more] = await journalOf(folder);
      assert.deepEqual(more, []);
      assert.deepEqual(
        [started.event, started.operation, started.database],
        ["started", "backup", database.name],
      );
      assert.deepEqual(
        [done.event, done.subject, done.exitCode, done.details.stored],
        ["done", id, 0, [folder]],
      );
      assert.equal(done.details.bytes, parts[0].bytes + parts[1].bytes);
    });

    test("--include keeps files with modes, owners and links; a plaintext key is refused", async () => {
      const folder = await newFolder();
      const pki = join(root, "p k i");
      await mkdir(join(pki, "sub"), { recursive: true });
      await writeFile(join(pki, "ca.crt"), "certificate");
      await writeFile(join(pki, "sub", "run"), "#!/bin/sh\n");
      await writeFile(
        join(pki, "ca.key"),
        "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n",
      );
      await chmod(join(pki, "sub", "run"), 0o750);
      await chmod(join(pki, "ca.key"), 0o400);
      await symlink("../ca.crt", join(pki, "sub", "link"));
      const isRoot = process.getuid?.() === 0;
      if (isRoot) await lchown(join(pki, "ca.crt"), 1234, 2345);

      const refused = await run(folder, ["--include", pki]);
      assertFailure(refused, {
        code: 4,
        message: /"\S.*ca\.key" holds a private key/,
        hint: /--encrypt/,
      });
      await assertNothingLeft(folder);

      const env = {
        BACKUP_ENCRYPTION_KEY: "pass phrase",
        BACKUP_ENCRYPT: "true",
        BACKUP_INCLUDE_PATHS: pki,
      };
      succeeded(await run(folder, [], env));
      const { id } = await manifestIn(folder);
      assert.ok((await namesIn(folder)).includes(`${id}.files.tar.gz.enc`));
      const target = join(root, "restored files");
      const restored = await pgtenant(["restore", "latest", "--files-to", target, "--only-files"], {
        url: database.url,
        env: { BACKUP_DIR: folder, BACKUP_ENCRYPTION_KEY: "pass phrase" },
      });
      succeeded(restored);
      for (const name of await readdir(pki, { recursive: true })) {
        const [was, is] = [await lstat(join(pki, name)), await lstat(join(target, pki, name))];
        assert.equal(is.mode, was.mode, name);
        if (isRoot) assert.deepEqual([is.uid, is.gid], [was.uid, was.gid], name);
        if (was.isFile()) {
          assert.deepEqual(
            await readFile(join(target, pki, name)),
            await readFile(join(pki, name)),
          );
        }
      }
      assert.equal(await readlink(join(target, pki, "sub", "link")), "../ca.crt");
    });

    test("the environment chooses format and layers, and flags beat it", async () => {
      const folder = await newFolder();
      const layersOf = async () => {
        const { format, parts } = await manifestIn(folder);
        return [format, parts[0]?.compression, parts[0]?.name.replace(/^[^.]*/, "")].join(" ");
      };
      succeeded(await run(folder, [], { BACKUP_COMPRESS: "false" }));
      assert.equal(await layersOf(), "plain none .sql");
      const env = { BACKUP_FORMAT: "custom", BACKUP_COMPRESSION: "zstd" };
      succeeded(await run(folder, [], env));
      assert.equal(await layersOf(), "custom zstd .dump.zst");
      succeeded(await run(folder, ["--no-compress", "--format", "directory"], env));
      assert.equal(await layersOf(), "directory none .tar");
    });

    test("encryption without a key is refused before anything but the journal is written", async () => {
      const folder = await newFolder();
      const result = await run(folder, [], { BACKUP_ENCRYPT: "true" });
      assertFailure(result, {
        code: 6,
        message: /encryption is on, and there is no key for it/,
        hint: /BACKUP_ENCRYPTION_KEY/,
      });
      assert.deepEqual(await namesIn(folder), ["journal.jsonl"]);
    });

    test("backups within one second have ids of their own, in their order", async () => {
      const store = openLocalStore(await newFolder());
      const ids: string[] = [];
      for (let i = 0; i < 3; i += 1) ids.push((await makeBackup(database.url, [store])).id);
      assert.deepEqual([...new Set(ids)].sort(), ids);
      for (const id of ids) assert.equal((await openMade(id, [store])).id, id);
    });

    test("backups of several databases that begin at the same second in one bucket take nothing from each other", async () => {
      const bucket = memoryStore("s3://shared", "s3");
      let lists = 0;
      const bothHaveLooked = Promise.withResolvers<void>();
      const shared: Store = {
        ...bucket,
        async *list(prefix) {
          lists += 1;
          if (lists === 2) bothHaveLooked.resolve();
          if (lists <= 2) await bothHaveLooked.promise;
          else yield* bucket.list(prefix);
        },
      };
      const runs = await Promise.all(
        [1, 2].map(async () =>
          makeBackup(database.url, [openLocalStore(await newFolder()), shared]),
        ),
      );
      for (const { id, failed, stored } of runs) {
        assert.deepEqual([failed, stored.length], [[], 2]);
        await verifyMade(await openMade(id, [bucket]));
      }
      assert.notEqual(runs[0]?.id, runs[1]?.id);
      assert.equal([...bucket.objects.keys()].filter((key) => /pending/.test(key)).length, 0);
    });

    test("a folder that cannot be written to keeps no copy from the bucket, and is told", async () => {
      const folder = join(await newFolder(), "a file");
      await writeFile(folder, "");
      const below = join(folder, "backups");
      const bucket = memoryStore("s3://bucket", "s3");
      const warnings: string[] = [];
      const { result } = await runHere(below, {
        stores: [openLocalStore(below), bucket],
        warn: (text: string) => warnings.push(text),
      });
      assert.deepEqual(result.stored, ["s3://bucket"]);
      assert.deepEqual(
        result.failed.map(({ place, error }) => [place, error.exitCode]),
        [[below, 8]],
      );
      assert.match(
        warnings.join("\n"),
        /cannot be written \(ENOTDIR\); the backup goes on, to the other place/,
      );
      await verifyMade(await openMade(result.id, [bucket]));
      await assert.rejects(runHere(below), { exitCode: 8 });
    });

    test("databases with hostile names, in a folder with one, by a role with a hostile password", async () => {
      const password = `p@s/s:w%rd "'\\ &#?=+ü{}`;
      const role = `hostile ${process.pid} "o'role" %41`;
      const quotedRole = `"${role.replaceAll('"', '""')}"`;
      await onServer(
        `CREATE ROLE ${quotedRole} LOGIN SUPERUSER PASSWORD '${password.replaceAll("'", "''")}'`,
      );
      const store = openLocalStore(join(root, `-x "it's" %41 ü ; $(touch x)`));
      const names = [
        `-x ${process.pid}`,
        `a b'c"d\\ ${process.pid}`,
        `%41%% ü 鍵 ; $(id) ${process.pid}`,
      ];
      try {
        for (const name of names) {
          const id = `"${name.replaceAll('"', '""')}"`;
          await onServer(`CREATE DATABASE ${id} TEMPLATE template0`);
          const made = databaseAt(name);
          await made.query("CREATE TABLE t AS SELECT 42 AS answer");
          await made.end();
          const url = new URL(serverUrl(name));
          url.username = encodeURIComponent(role);
          url.password = encodeURIComponent(password);
          const { manifest } = await makeBackup(url.href, [store], { format: "custom" });
          assert.equal(manifest.database, name);
          assert.deepEqual(manifest.tables, [{ table: "public.t", rows: 1 }]);
          const backup = await openMade(manifest.id, [store]);
          const { plan } = await restoreMade(url.href, backup);
          const restored = databaseAt(name);
          assert.deepEqual(await restored.query("SELECT * FROM t"), [{ answer: 42 }]);
          await restored.end();
          await dropDatabases(plan.kept ?? "");
        }
      } finally {
        await dropDatabases(...names);
        await onServer(`DROP ROLE ${quotedRole}`);
      }
    });
  });

  suite("what gets in its way", () => {
    test("two at once: one wins, the other is told who holds the folder or the database", async () => {
      const [folder, elsewhere] = [await newFolder(), await newFolder()];
      let first: Promise<unknown> | undefined;
      // So that the first is at work until the second has come.
      await whileLocked(async () => {
        first = runHere(folder);
        first.catch(() => undefined);
        await waitingDump();
        await assert.rejects(
          runHere(folder),
          failure(
            5,
            "folder-locked",
            new RegExp(`another run is at work in ".*": .*backup.*${process.pid}`),
          ),
        );
      });
      await first;
      await whileLocked(async () => {
        const waiting = runHere(folder, { timeoutMinutes: 2 });
        waiting.catch(() => undefined);
        const pid = await waitingDump();
        await assert.rejects(
          runHere(elsewhere),
          failure(
            5,
            "database-locked",
            /another run is at work on the database ".*": pgtenant backup \(server process \d+/,
          ),
        );
        await onServer("SELECT pg_terminate_backend($1)", [pid]);
        await assert.rejects(waiting, failure(7, "program-failed", /pg_dump failed/));
      });
      await assertNothingLeft(elsewhere);
    });

    test("a backup that takes too long is ended, with nothing left", async () => {
      const folder = await newFolder();
      await whileLocked(async () => {
        await assert.rejects(
          runHere(folder, { timeoutMinutes: 0.04 }),
          failure(
            7,
            "timed-out",
            /not done after 0\.04 minutes and was ended; nothing of it is left/,
          ),
        );
      });
      await assertNothingLeft(folder);
      await assertNoProgramLeft();
      const [, failed] = await journalOf(folder);
      assert.deepEqual([failed.event, failed.exitCode], ["failed", 7]);
    });

    test("SIGTERM ends it within seconds with exit 130, and nothing is left", async () => {
      const folder = await newFolder();
      await whileLocked(async () => {
        const child = spawnPgtenant(["backup"], { url: database.url, env: { BACKUP_DIR: folder } });
        child.stdout.resume();
        const stderr = text(child.stderr);
        const ended = once(child, "exit");
        await waitingDump();
        const sent = performance.now();
        child.kill("SIGTERM");
        await ended;
        assert.ok(performance.now() - sent < 30_000, "it took its time");
        assert.equal(child.exitCode, 130, await stderr);
        assert.match(
          await stderr,
          /^pgtenant: interrupted: nothing of the backup is left; older ones/m,
        );
      });
      await assertNothingLeft(folder);
      await assertNoProgramLeft();
      const [, failed] = await journalOf(folder);
      assert.notEqual(failed?.event, "done");
    });

    for (const format of ["plain", "custom", "directory"] as const) {
      test(`a connection of pg_dump (${format}) that the server ends is a failure, with nothing left`, async () => {
        const folder = await newFolder();
        await whileLocked(async () => {
          const waiting = runHere(folder, { format, jobs: 1 });
          waiting.catch(() => undefined);
          await onServer("SELECT pg_terminate_backend($1)", [await waitingDump()]);
          await assert.rejects(
            waiting,
            failure(7, "program-failed", /^pg_dump failed: .*terminating connection/),
          );
        });
        await assertNothingLeft(folder);
        await assertNoProgramLeft();
      });
    }

    test("a snapshot whose connection the server ends is a failure, with nothing left", async () => {
      const folder = await newFolder();
      await whileLocked(async () => {
        const waiting = runHere(folder, { timeoutMinutes: 2 });
        waiting.catch(() => undefined);
        const dump = await waitingDump();
        // The session that counts the rows waits for the table too.
        await onServer(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = $1 AND application_name = 'pgtenant backup' AND pid <> $2`,
          [database.name, dump],
        );
        const ended = performance.now();
        await assert.rejects(waiting, (error) => error instanceof AppError && error.exitCode === 7);
        assert.ok(performance.now() - ended < 60_000, "pg_dump went on for nothing");
      });
      await assertNothingLeft(folder);
      await assertNoProgramLeft();
    });

    for (const [what, script, message] of [
      ["writes half a dump and ends well", "exit 0", /cut short.*end.* is missing/],
      [
        "writes half a dump and fails",
        "echo 'pg_dump: error: server closed the connection' >&2; exit 1",
        /server closed/,
      ],
      ["is killed", "kill -9 $$", /ended by SIGKILL/],
    ] as const) {
      test(`a pg_dump that ${what} is refused, with nothing left`, async () => {
        const folder = await newFolder();
        const bin = await fakePrograms(`
          printf -- '--\\n-- PostgreSQL database dump\\n--\\nCREATE TABLE one ();\\n'\n${script}`);
        const result = await run(folder, [], { PGTENANT_PG_BIN: bin });
        assertFailure(result, { code: 7, message, hint: /./ });
        await assertNothingLeft(folder);
      });
    }

    /** A folder of PostgreSQL's programs where pg_dump is a script. */
    async function fakePrograms(script: string): Promise<string> {
      folders += 1;
      const bin = join(root, `bin ${folders}`);
      await withScripts(bin, { pg_dump: script });
      return bin;
    }
  });
});
