import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import { type BackupManifest, manifestText, parseManifest } from "../../src/backup/manifest.ts";
import { watchingCommandLines } from "../harness/command-lines.ts";
import { createDatabase, serverUrl, type TestDatabase } from "../harness/database.ts";
import { databaseDigest } from "../harness/database-digest.ts";
import { s3Missing } from "../harness/s3-server.ts";

/** Every command line of the disaster recovery guide about backups, as it is printed there. */
const guide = [
  "./scripts/backup.sh",
  "./scripts/backup.sh -d /mnt/backups/n-kudo",
  'BACKUP_ENCRYPTION_KEY="your-secret-key" ./scripts/backup.sh --encrypt',
  './scripts/backup.sh --s3-bucket "my-backups" --s3-endpoint "https://s3.amazonaws.com"',
  "./scripts/backup.sh -k 14  # Keep 14 days",
  './scripts/backup.sh --encrypt --s3-bucket "my-backups"',
  'pg_dump -d "postgres://user:pass@host/db" -F c -f backup.dump',
  'pg_dump -d "postgres://user:pass@host/db" | gzip > backup.sql.gz',
  `pg_dump -d "postgres://user:pass@host/db" --table 'public.tenants' --table 'public.sites'`,
  "./scripts/restore.sh /backups/backup_20240101_120000.sql.gz",
  './scripts/restore.sh -k "your-secret-key" /backups/backup_20240101_120000.sql.gz.enc',
  "./scripts/restore.sh -f /backups/backup_20240101_120000.sql",
  "./scripts/restore.sh -f /backups/latest-backup.sql.gz",
  "./scripts/restore.sh -f /backups/backup_YYYYMMDD_HHMMSS.sql.gz",
  'psql -d "postgres://user:pass@host/db" -f backup.sql',
  'gunzip -c backup.sql.gz | psql -d "postgres://user:pass@host/db"',
  `openssl enc -aes-256-cbc -d -in backup.sql.gz.enc -out - -pass pass:"key" | \\
  gunzip | psql -d "postgres://user:pass@host/db"`,
  'psql -d "postgres://user:pass@host/db" -c "SELECT COUNT(*) FROM tenants;"',
  'psql -d "postgres://user:pass@host/db" -c "SELECT COUNT(*) FROM agents;"',
  "./scripts/verify-backup.sh /backups/backup_20240101_120000.sql.gz",
  "./scripts/verify-backup.sh -v /backups/backup_20240101_120000.sql",
  "./scripts/verify-backup.sh /backups/backup_YYYYMMDD_HHMMSS.sql.gz",
  "ls -la /var/backups/n-kudo/",
] as const;

/** The shell that runs a script, also in the moment in which `env` is looking for it. */
const shellItself = /^(\S*\/env )?(\S*\/)?bash /;

type Line = (typeof guide)[number];

const root = fileURLToPath(new URL("../..", import.meta.url));
const key = "your-secret-key";
/** Without the rows that are there for their size. */
const small = { settings: { "seed.big": "off" } };
const guideUrl = "postgres://user:pass@host/db";
const madeUp = "backup_20240101_120000";

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

suite("the disaster recovery guide's command lines", () => {
  const run = new Set<Line>();
  const databases: TestDatabase[] = [];
  let home = "";
  /** BACKUP_DIR of a command, unless it says otherwise. */
  let folder = "";
  let source: TestDatabase;
  let original: Readonly<Record<string, string>> = {};

  before(async () => {
    home = await mkdtemp(join(tmpdir(), "pgtenant-guide-"));
    folder = join(home, "backups");
    source = await createDatabase("guide", "n-kudo", small);
    databases.push(source);
    original = await digestOf(source.url);
  });
  after(async () => {
    for (const { name, drop } of databases) {
      for (const kept of await namesLike(`${name}_before_%`)) await admin(`DROP DATABASE ${kept}`);
      await drop();
    }
    await rm(home, { recursive: true, force: true });
  });

  /** Runs a line of the guide, with paths, URLs and ids replaced by ours. */
  async function printed(
    line: Line,
    replace: Readonly<Record<string, string>> = {},
    env: Readonly<Record<string, string>> = {},
  ): Promise<Ended> {
    run.add(line);
    let ours: string = line;
    for (const [theirs, replacement] of Object.entries(replace)) {
      assert.ok(ours.includes(theirs), `${theirs} is not in ${ours}`);
      ours = ours.replaceAll(theirs, replacement);
    }
    return await shell(ours, { DATABASE_URL: source.url, BACKUP_DIR: folder, ...env });
  }

  async function target(template: "n-kudo" | "empty"): Promise<TestDatabase> {
    const made = await createDatabase("guide target", template, small);
    databases.push(made);
    return made;
  }

  /** A database that is full, and not what it was when it was backed up. */
  async function damaged(): Promise<TestDatabase> {
    const made = await target("n-kudo");
    await query(made.url, "DELETE FROM audit_events; UPDATE tenants SET name = 'damaged'");
    assert.notDeepEqual(await digestOf(made.url), original);
    return made;
  }

  async function assertRestored({ url }: TestDatabase, what: string): Promise<void> {
    assert.deepEqual(await digestOf(url), original, what);
  }

  /** Of the first run of a test: the file of the dump itself. */
  async function newest(where: string, suffix: string): Promise<string> {
    const pattern = new RegExp(`^backup_\\d{8}_\\d{6}${suffix.replaceAll(".", "\\.")}$`);
    const [name] = (await readdir(where))
      .filter((one) => pattern.test(one))
      .sort()
      .reverse();
    assert.ok(name !== undefined, `a backup with ${suffix} in ${where}`);
    return join(where, name);
  }

  test("a simple backup, verified, and restored by restore.sh -f and by the guide's pipe", async () => {
    succeeded(await printed("./scripts/backup.sh"));
    const file = await newest(folder, ".sql.gz");
    const made = await printed("ls -la /var/backups/n-kudo/", { "/var/backups/n-kudo": folder });
    assert.match(made.stdout, /-rw------- .* backup_\d{8}_\d{6}\.manifest\.json/);

    for (const line of [
      "./scripts/verify-backup.sh /backups/backup_20240101_120000.sql.gz",
      "./scripts/verify-backup.sh /backups/backup_YYYYMMDD_HHMMSS.sql.gz",
    ] as const) {
      const path = line.split(" ")[1] ?? "";
      succeeded(await printed(line, { [path]: file }));
    }

    const swapped = await damaged();
    succeeded(
      await printed(
        "./scripts/restore.sh -f /backups/backup_YYYYMMDD_HHMMSS.sql.gz",
        { "/backups/backup_YYYYMMDD_HHMMSS.sql.gz": file },
        { DATABASE_URL: swapped.url },
      ),
    );
    await assertRestored(swapped, "restore.sh -f");
    assert.equal((await namesLike(`${swapped.name}_before_%`)).length, 1);

    // Into a database that is full: the dump drops what it makes anew.
    const piped = await damaged();
    const psql = await printed('gunzip -c backup.sql.gz | psql -d "postgres://user:pass@host/db"', {
      "backup.sql.gz": file,
      [guideUrl]: piped.url,
    });
    succeeded(psql);
    assert.doesNotMatch(psql.stderr, /ERROR/);
    await assertRestored(piped, "gunzip | psql");
    const counted = await printed(
      'psql -d "postgres://user:pass@host/db" -c "SELECT COUNT(*) FROM tenants;"',
      { [guideUrl]: piped.url },
    );
    assert.match(counted.stdout, /\n\s+3\n/);
    succeeded(
      await printed('psql -d "postgres://user:pass@host/db" -c "SELECT COUNT(*) FROM agents;"', {
        [guideUrl]: piped.url,
      }),
    );

    // Under a name that tells nothing, without its manifest.
    const latest = join(home, "latest-backup.sql.gz");
    await copyFile(file, latest);
    const standby = await target("empty");
    succeeded(
      await printed(
        "./scripts/restore.sh -f /backups/latest-backup.sql.gz",
        { "/backups/latest-backup.sql.gz": latest },
        { DATABASE_URL: standby.url },
      ),
    );
    await assertRestored(standby, "latest-backup.sql.gz");
  });

  test("restore.sh asks for the database's name, and does nothing without it", async (t) => {
    if ((await shell("command -v script")).code !== 0) return t.skip("there is no program script");
    const file = await newest(folder, ".sql.gz");
    const asked = await damaged();
    const before = await digestOf(asked.url);
    const line = "./scripts/restore.sh /backups/backup_20240101_120000.sql.gz";
    const ours = { [`/backups/${madeUp}.sql.gz`]: file };
    const refused = await printed(line, ours, { DATABASE_URL: asked.url });
    assert.equal(refused.code, 4, refused.stderr);
    assert.match(refused.stderr, /hint: .*-f/);
    const atTerminal = (typed: string) =>
      shellAtTerminal(`./scripts/restore.sh ${file}`, typed, {
        DATABASE_URL: asked.url,
        BACKUP_DIR: folder,
      });
    const wrong = await atTerminal("yes");
    assert.equal(wrong.code, 4, wrong.stdout);
    assert.deepEqual(await digestOf(asked.url), before);
    const typed = await atTerminal(asked.name);
    assert.equal(typed.code, 0, typed.stdout);
    assert.match(typed.stdout, new RegExp(`type the name of the database, ${asked.name}`));
    await assertRestored(asked, "restore.sh at a terminal");
  });

  test("an encrypted backup, restored by restore.sh -k and by openssl, gunzip and psql", async () => {
    succeeded(
      await printed('BACKUP_ENCRYPTION_KEY="your-secret-key" ./scripts/backup.sh --encrypt'),
    );
    const file = await newest(folder, ".sql.gz.enc");
    assert.equal((await readFile(file)).toString("latin1", 0, 8), "Salted__");

    const piped = await damaged();
    const line = `openssl enc -aes-256-cbc -d -in backup.sql.gz.enc -out - -pass pass:"key" | \\
  gunzip | psql -d "postgres://user:pass@host/db"`;
    const psql = await printed(line, {
      'pass:"key"': `pass:"${key}"`,
      "backup.sql.gz.enc": file,
      [guideUrl]: piped.url,
    });
    succeeded(psql);
    assert.doesNotMatch(psql.stderr, /ERROR|bad decrypt/);
    await assertRestored(piped, "openssl | gunzip | psql");

    // As it stands there it would ask; the database that it makes is a new one, so it does not.
    const fresh = await target("empty");
    await fresh.drop();
    const watched = await watchingCommandLines(
      printed(
        './scripts/restore.sh -k "your-secret-key" /backups/backup_20240101_120000.sql.gz.enc',
        { [`/backups/${madeUp}.sql.gz.enc`]: file },
        { DATABASE_URL: fresh.url },
      ),
    );
    succeeded(watched.result);
    assert.match(watched.result.stderr, /^warning: a key on the command line can be seen/m);
    await assertRestored(fresh, "restore.sh -k");
    const shown = [...watched.seen].filter((one) => one.includes(key));
    assert.deepEqual(
      shown.filter((one) => !shellItself.test(one)),
      [],
      "only the shell that was given the key shows it",
    );

    const wrong = await shell(`./scripts/restore.sh -f -k wrong ${file}`, {
      DATABASE_URL: fresh.url,
      BACKUP_DIR: folder,
    });
    assert.equal(wrong.code, 6, wrong.stderr);
    const keyed = await shell(`./scripts/verify-backup.sh -v -k ${key} ${file}`, {
      BACKUP_DIR: folder,
    });
    succeeded(keyed);
  });

  test("a backup into another folder, uncompressed, read by psql -f, verified with -v", async () => {
    const elsewhere = join(home, "elsewhere");
    succeeded(
      await printed(
        "./scripts/backup.sh -d /mnt/backups/n-kudo",
        { "/mnt/backups/n-kudo": elsewhere },
        { BACKUP_COMPRESS: "false", BACKUP_TIMEOUT_MINUTES: "60", BACKUP_SCHEDULE: "0 2 * * *" },
      ),
    );
    const file = await newest(elsewhere, ".sql");
    const ours = { [`/backups/${madeUp}.sql`]: file };
    const verified = await printed(
      "./scripts/verify-backup.sh -v /backups/backup_20240101_120000.sql",
      ours,
    );
    succeeded(verified);
    assert.match(verified.stdout, /public\.tenants/);
    const piped = await damaged();
    const psql = await printed('psql -d "postgres://user:pass@host/db" -f backup.sql', {
      "backup.sql": file,
      [guideUrl]: piped.url,
    });
    succeeded(psql);
    assert.doesNotMatch(psql.stderr, /ERROR/);
    await assertRestored(piped, "psql -f");
    succeeded(
      await printed("./scripts/restore.sh -f /backups/backup_20240101_120000.sql", ours, {
        DATABASE_URL: piped.url,
      }),
    );
    await assertRestored(piped, "restore.sh -f of plain SQL");
  });

  test("-k, BACKUP_RETENTION_DAYS and 30 days by default are what is kept", async () => {
    const kept = join(home, "retention");
    const env = { BACKUP_DIR: kept };
    const days = async () => {
      const names = (await readdir(kept)).filter((name) => name.endsWith(".manifest.json"));
      return (await Promise.all(names.map((name) => readFile(join(kept, name), "utf8"))))
        .map((manifest) => Date.now() - Date.parse(parseManifest(manifest, "m").createdAt))
        .map((age) => Math.round(age / 86_400_000))
        .filter((age) => age > 0)
        .sort((a, b) => a - b);
    };
    const first = await newest(folder, ".sql.gz");
    await mkdir(kept);
    for (const age of [10, 20, 40]) await copyOfAge(first, age, kept);
    succeeded(await printed("./scripts/backup.sh", {}, env));
    assert.deepEqual(await days(), [10, 20], "30 days by default");
    succeeded(await printed("./scripts/backup.sh -k 14  # Keep 14 days", {}, env));
    assert.deepEqual(await days(), [10]);
    succeeded(await printed("./scripts/backup.sh", {}, { ...env, BACKUP_RETENTION_DAYS: "5" }));
    assert.deepEqual(await days(), []);
  });

  test("what the guide's own pipelines make is restored by restore.sh", async () => {
    const dump = join(home, "backup.dump");
    succeeded(
      await printed('pg_dump -d "postgres://user:pass@host/db" -F c -f backup.dump', {
        [guideUrl]: source.url,
        "backup.dump": dump,
      }),
    );
    const zipped = join(home, "backup.sql.gz");
    succeeded(
      await printed('pg_dump -d "postgres://user:pass@host/db" | gzip > backup.sql.gz', {
        [guideUrl]: source.url,
        "backup.sql.gz": zipped,
      }),
    );
    const two = await printed(
      `pg_dump -d "postgres://user:pass@host/db" --table 'public.tenants' --table 'public.sites'`,
      { [guideUrl]: source.url },
    );
    succeeded(two);
    assert.match(two.stdout, /COPY public\.sites/);
    const scripted = join(home, `${madeUp}.sql.gz.enc`);
    const derived = join(home, "derived.sql.gz.enc");
    succeeded(
      await shell(
        `openssl enc -aes-256-cbc -salt -in ${zipped} -out ${scripted} -pass pass:"${key}" &&
         openssl enc -aes-256-cbc -salt -pbkdf2 -in ${zipped} -out ${derived} -pass pass:"${key}"`,
      ),
    );
    const restored = await damaged();
    for (const file of [dump, scripted, derived]) {
      await query(restored.url, "DELETE FROM audit_events");
      const secret = file.endsWith(".enc") ? ` -k ${key}` : "";
      succeeded(
        await shell(`./scripts/restore.sh -f${secret} -d "${restored.url}" ${file}`, {
          BACKUP_DIR: folder,
        }),
      );
      await assertRestored(restored, file);
    }
  });

  test("BACKUP_ENCRYPT, BACKUP_ENCRYPTION_KEY and BACKUP_COMPRESS do what the flags do", async () => {
    const env = { BACKUP_ENCRYPT: "true", BACKUP_ENCRYPTION_KEY: key, BACKUP_COMPRESS: "false" };
    const where = join(home, "by-environment");
    succeeded(await printed("./scripts/backup.sh", {}, { ...env, BACKUP_DIR: where }));
    const file = await newest(where, ".sql.enc");
    assert.equal((await readFile(file)).toString("latin1", 0, 8), "Salted__");
  });

  test("the scripts work from any folder, and through a link", async () => {
    const link = join(home, "verify");
    const file = await newest(folder, ".sql.gz");
    const name = file.slice(folder.length + 1);
    succeeded(
      await shell(
        `ln -s ${root}scripts/verify-backup.sh ${link} && cd ${folder} && ${link} ${name}`,
        { BACKUP_DIR: folder },
      ),
    );
    const help = await shell(`cd / && ${root}scripts/restore.sh --help`);
    succeeded(help);
    assert.match(help.stdout, /^restore\.sh .*\n\n {2}-f /);
    assert.match(help.stdout, /--files-to/, "the help of the command itself follows");
  });

  test("a URL or an identity on the command line of a script goes no further", async () => {
    const identity = `AGE-SECRET-KEY-1${"Q".repeat(58)}`;
    const url = serverUrl().replace(/:[^:@]*@/, ":a-planted-password@");
    const file = await newest(folder, ".sql.gz");
    const watched = await watchingCommandLines(
      shell(`./scripts/restore.sh -f -k ${identity} -d ${url} ${file}`, { BACKUP_DIR: folder }),
    );
    assert.notEqual(watched.result.code, 0);
    const shown = [...watched.seen].filter((one) => /a-planted-password|SECRET-KEY-1Q/.test(one));
    assert.deepEqual(
      shown.filter((one) => !shellItself.test(one)),
      [],
    );
    assert.doesNotMatch(watched.result.stderr, /a-planted-password|SECRET-KEY-1Q/);
  });

  test("a backup into S3, by flags and by the environment", { skip: s3Missing() }, async () => {
    const { makeBucket } = await import("../harness/s3-store.ts");
    const bucket = await makeBucket();
    try {
      const { accessKeyId, secretAccessKey, endpoint } = bucket.access;
      const where = join(home, "also-in-s3");
      const env = {
        BACKUP_DIR: where,
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
      };
      succeeded(
        await printed(
          './scripts/backup.sh --s3-bucket "my-backups" --s3-endpoint "https://s3.amazonaws.com"',
          { "my-backups": bucket.name, "https://s3.amazonaws.com": endpoint },
          env,
        ),
      );
      succeeded(
        await printed(
          './scripts/backup.sh --encrypt --s3-bucket "my-backups"',
          { "my-backups": bucket.name },
          { ...env, BACKUP_ENCRYPTION_KEY: key, BACKUP_S3_ENDPOINT: endpoint },
        ),
      );
      succeeded(
        await printed(
          "./scripts/backup.sh",
          {},
          { ...env, BACKUP_S3_BUCKET: bucket.name, BACKUP_S3_ENDPOINT: endpoint },
        ),
      );
      const store = await bucket.open();
      const keys = (await Array.fromAsync(store.list())).map((object) => object.key);
      const dumps = keys.filter((name) => /^backup_\d+_\d+\.sql\.gz(\.enc)?$/.test(name));
      assert.equal(dumps.length, 3);
      assert.equal(keys.filter((name) => name.endsWith(".manifest.json")).length, 3);
      // This host is gone; the bucket, the key and the program remain.
      const fresh = await target("empty");
      const [encrypted = ""] = dumps.filter((name) => name.endsWith(".enc"));
      succeeded(
        await shell(`./scripts/restore.sh -f -k ${key} s3://${bucket.name}/${encrypted}`, {
          ...env,
          BACKUP_DIR: join(home, "another-host"),
          BACKUP_S3_ENDPOINT: endpoint,
          DATABASE_URL: fresh.url,
        }),
      );
      await assertRestored(fresh, "restore from S3");
    } finally {
      await bucket.close();
    }
  });

  test("no line of the guide was left out", () => {
    const left = guide.filter((line) => !run.has(line));
    assert.deepEqual(left, s3Missing() === undefined ? [] : left.filter((line) => /s3/.test(line)));
  });
});

function succeeded({ code, stdout, stderr }: Ended): void {
  assert.equal(code, 0, `exit ${code}\n${stdout.slice(-3000)}\n${stderr.slice(-3000)}`);
}

/** Saves a third of a command's start. */
const compileCache = join(root, "node_modules/.cache/node");

/** Of our own environment the shell gets PATH and HOME, nothing else. */
async function shell(line: string, env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const { PATH = "", HOME = "" } = process.env;
  const child = spawn("bash", ["-c", `set -o pipefail\n${line}`], {
    cwd: root,
    env: { PATH, HOME, NODE_COMPILE_CACHE: compileCache, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  return { code: child.exitCode, stdout, stderr };
}

/** The same at a terminal, on which an answer is typed when a question stands there. */
async function shellAtTerminal(
  line: string,
  typed: string,
  env: Readonly<Record<string, string>>,
): Promise<Ended> {
  const { PATH = "", HOME = "" } = process.env;
  const child = spawn("script", ["-qec", line, "/dev/null"], {
    cwd: root,
    env: { PATH, HOME, NODE_COMPILE_CACHE: compileCache, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    if (!stdout.includes("to go on") && (stdout + chunk).includes("to go on")) {
      child.stdin.write(`${typed}\n`);
    }
    stdout += chunk;
  });
  child.once("exit", () => child.stdin.destroy());
  const [stderr] = await Promise.all([text(child.stderr), once(child, "close")]);
  return { code: child.exitCode, stdout, stderr };
}

/** A backup like this one, made so many days ago, in another folder. */
async function copyOfAge(dump: string, days: number, folder: string): Promise<void> {
  const path = dump.replace(/\.sql\.gz$/, ".manifest.json");
  const manifest = parseManifest(await readFile(path, "utf8"), "the first");
  const createdAt = new Date(Date.parse(manifest.createdAt) - days * 86_400_000).toISOString();
  const id = `backup_${createdAt.slice(0, 19).replace(/[-:]/g, "").replace("T", "_")}`;
  const older: BackupManifest = {
    ...manifest,
    id,
    createdAt,
    parts: manifest.parts.map((part) => ({ ...part, name: part.name.replace(manifest.id, id) })),
  };
  for (const { name } of manifest.parts) {
    await copyFile(join(dump, "..", name), join(folder, name.replace(manifest.id, id)));
  }
  await writeFile(join(folder, `${id}.manifest.json`), manifestText(older));
}

async function digestOf(url: string): Promise<Readonly<Record<string, string>>> {
  return await withClient(url, (client) =>
    databaseDigest({ query: async (sql) => (await client.query(sql)).rows }),
  );
}

async function query(url: string, sql: string): Promise<void> {
  await withClient(url, (client) => client.query(sql));
}

async function admin(sql: string): Promise<void> {
  await query(serverUrl(), sql);
}

async function namesLike(pattern: string): Promise<readonly string[]> {
  return await withClient(serverUrl(), async (client) => {
    const { rows } = await client.query<{ datname: string }>(
      "SELECT datname FROM pg_database WHERE datname LIKE $1",
      [pattern],
    );
    return rows.map(({ datname }) => datname);
  });
}

async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
