import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { type ExamineBackupsOptions, examineBackups } from "../../src/backup/examine-backups.ts";
import { manifestText, parseManifest } from "../../src/backup/manifest.ts";
import { AppError, ExitCode } from "../../src/errors.ts";
import type { DoctorFinding } from "../../src/finding.ts";
import { openLocalStore } from "../../src/storage/local-store.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";

suite("what doctor says of backups", () => {
  let database: TestDatabase;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("doctor backups", "n-kudo", {
      settings: { "seed.big": "off" },
    });
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await database.drop();
  });

  async function examine(
    options: Partial<ExamineBackupsOptions> = {},
  ): Promise<readonly DoctorFinding[]> {
    const { PATH = "" } = process.env;
    return await examineBackups({
      connection: { databaseUrl: database.url, applicationName: "pgtenant-test" },
      database: database.name,
      stores: [openLocalStore(folder)],
      programs: { binDir: undefined, path: PATH, environment: { PATH } },
      encryption: { method: "none" },
      keys: { passphrases: [], identities: [] },
      rpoHours: 24,
      now: new Date(),
      signal: new AbortController().signal,
      ...options,
    });
  }

  function of(findings: readonly DoctorFinding[], check: string): DoctorFinding {
    const found = findings.find((one) => one.check === check);
    assert.ok(found !== undefined, JSON.stringify(findings, null, 1));
    return found;
  }

  test("there is none: a warning, and how to make one", async () => {
    const newest = of(await examine(), "newest-backup");
    assert.equal(newest.level, "warning");
    assert.equal(newest.hint, "Make one: pgtenant backup");
  });

  test("one of now is younger than the promise, and is late an hour after it, as status has it", async () => {
    const env = { BACKUP_DIR: folder, BACKUP_ENCRYPTION_KEY: "first key" };
    const made = await pgtenant(["backup", "--encrypt"], { url: database.url, env });
    assert.equal(made.code, 0, made.stderr);
    const after = async (hours: number, rpoHours: number) => {
      const now = new Date(Date.now() + hours * 3_600_000);
      const { level, message } = of(await examine({ now, rpoHours }), "newest-backup");
      return [level, message.slice(message.indexOf(", is "))];
    };
    const [soon, said] = await after(0, 24);
    assert.equal(soon, "ok");
    assert.match(String(said), /^, is \d min old; at most 24 h are promised$/);
    assert.deepEqual(await after(24.8, 24), ["ok", ", is 24 h old; at most 24 h are promised"]);
    const late = ["warning", ", is 25 h old, and at most 24 h are promised"];
    assert.deepEqual(await after(25.01, 24), late);
    const shorter = ["warning", ", is 6 h old, and at most 6 h are promised"];
    assert.deepEqual(await after(6.3, 6), shorter);
  });

  test("holds the newest one to what BACKUP_RPO_HOURS promises", async () => {
    const env = { BACKUP_DIR: folder, BACKUP_RPO_HOURS: "0.00001" };
    const { code, stdout } = await pgtenant(["doctor"], { url: database.url, env });
    assert.equal(code, 0);
    assert.match(stdout.toString(), /is \d min old, and at most 0\.00001 h are promised/);
  });

  test("one of another server of the same name of database is told from our own", async () => {
    assert.ok(!(await examine()).some((one) => one.check === "backup-source"));
    const name = (await readdir(folder)).find((file) => file.endsWith(".manifest.json")) ?? "";
    const path = join(folder, name);
    const text = await readFile(path, "utf8");
    const manifest = parseManifest(text, name);
    const source = { ...manifest.source, systemIdentifier: "7000000000000000001" };
    await writeFile(path, manifestText({ ...manifest, source }));
    const { level, message } = of(await examine(), "backup-source");
    await writeFile(path, text);
    assert.equal(level, "warning");
    assert.match(
      message,
      /is of another server \(system identifier 7000000000000000001, this one's is \d+\)$/,
    );
  });

  test("leaves nothing behind in the folder that it has tried", async () => {
    const before = await readdir(folder);
    await examine();
    assert.deepEqual(await readdir(folder), before);
  });

  test("a folder that others can enter is named with its mode", async () => {
    await chmod(folder, 0o755);
    const found = of(await examine(), "folder-mode");
    await chmod(folder, 0o700);
    assert.equal(found.level, "warning");
    assert.match(found.message, /open to others \(mode 0755\)$/);
    assert.ok(!(await examine()).some((one) => one.check === "folder-mode"));
  });

  test("a folder that cannot be made is a problem: exit 8", async () => {
    const { code, stdout } = await pgtenant(["doctor"], {
      url: database.url,
      env: { BACKUP_DIR: "/dev/null/backups" },
    });
    assert.equal(code, ExitCode.storage);
    assert.match(
      stdout.toString(),
      /^PROBLEM {2}\/dev\/null\/backups does not exist, and cannot be made/m,
    );
  });

  test("a key that is wanted and missing is a problem: exit 6", async () => {
    const env = { BACKUP_DIR: folder, BACKUP_ENCRYPT: "true" };
    const { code, stdout } = await pgtenant(["doctor"], { url: database.url, env });
    assert.equal(code, ExitCode.key);
    assert.match(stdout.toString(), /^PROBLEM {2}encryption is on, and there is no key for it$/m);
  });

  test("a key is tried, and one that the newest backup does not have is told", async () => {
    const passphrase = "second key";
    const found = await examine({
      encryption: { method: "openssl", passphrase },
      keys: { passphrases: [passphrase], identities: [] },
    });
    assert.match(of(found, "backup-key").message, /openssl, and this host can read them$/);
    assert.match(of(found, "key-changed").message, /encrypted with another key \(passphrase:/);
    const same = await examine({
      encryption: { method: "openssl", passphrase: "first key" },
      keys: { passphrases: ["first key"], identities: [] },
    });
    assert.ok(!same.some((one) => one.check === "key-changed"));
    const without = await examine({ encryption: { method: "openssl", passphrase } });
    assert.equal(of(without, "backup-key").level, "problem");
  });

  test("programs that are missing, or older than the server, are a problem", async () => {
    const { PATH = "" } = process.env;
    const programs = { binDir: folder, path: PATH, environment: { PATH } };
    const found = of(await examine({ programs }), "client-programs");
    assert.equal(found.level, "problem");
    assert.match(found.message, /^no pg_dump, pg_dumpall, pg_restore and psql were found in /);
    assert.match(found.hint ?? "", /postgresql-client-\d+/);
  });

  test("a store that fails is told, and the others are looked at all the same", async () => {
    const failing = {
      ...openLocalStore(folder),
      kind: "s3" as const,
      place: "s3://gone",
      async write(): Promise<never> {
        throw new AppError("unreachable", ExitCode.storage, "s3://gone cannot be reached", {
          hint: "Check it.",
        });
      },
    };
    const found = await examine({ stores: [failing, openLocalStore(folder)] });
    assert.equal(of(found, "backup-s3").level, "problem");
    assert.equal(of(found, "backup-folder").level, "ok");
  });
});
