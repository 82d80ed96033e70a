import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import {
  fastSettings,
  startThrowawayServer,
  type ThrowawayServer,
} from "../../src/postgres/throwaway-server.ts";
import { fixturesOf } from "../harness/database.ts";
import { databaseDigest } from "../harness/database-digest.ts";
import { makeSite } from "../harness/hand-made.ts";
import { s3Missing } from "../harness/s3-server.ts";
import { makeBucket, type TestBucket } from "../harness/s3-store.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const seed = "SET seed.big = 'off'";

/** A place of the runbook with its commands. */
interface Section {
  readonly title: string;
  readonly script: string;
}

/** What an operator meets, and what must be true behind the commands. */
interface Scenario {
  /** Needs the bucket: everything else of the host is lost. */
  readonly needsBucket?: boolean;
  readonly damage?: (sql: (statement: string) => Promise<unknown>) => Promise<unknown>;
  /** The database itself is gone. */
  readonly databaseLost?: boolean;
  readonly folderLost?: boolean;
  readonly holds: (after: After) => Promise<void>;
}

interface After {
  readonly sql: <Row extends object>(statement: string) => Promise<Row[]>;
  readonly digest: () => Promise<Readonly<Record<string, string>>>;
  readonly databases: () => Promise<readonly string[]>;
  readonly stdout: string;
  /** The arguments of each call of docker. */
  readonly docker: readonly string[];
  readonly folder: string;
}

/** The commands of each section that has some, as they are printed. */
function sectionsOf(markdown: string): readonly Section[] {
  const sections: Section[] = [];
  for (const part of markdown.split(/^## /m).slice(1)) {
    const title = part.slice(0, part.indexOf("\n"));
    const blocks = [...part.matchAll(/^( *)```bash\n([\s\S]*?)^ *```$/gm)].map(
      ([, indent = "", block = ""]) =>
        block
          .split("\n")
          .map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
          .join("\n"),
    );
    if (blocks.length > 0) sections.push({ title, script: blocks.join("") });
  }
  return sections;
}

suite("the runbook", () => {
  let server: ThrowawayServer;
  let home: string;
  let bucket: TestBucket | undefined;
  let environment: Readonly<Record<string, string>>;
  let original: Readonly<Record<string, string>>;
  let sections: readonly Section[];
  const run = new Set<string>();

  before(async () => {
    home = await mkdtemp(join(tmpdir(), "pgtenant-runbook-"));
    sections = sectionsOf(await readFile(join(root, "docs/operations.md"), "utf8"));
    server = await startThrowawayServer({
      binDir: process.env.PGTENANT_PG_BIN,
      path: process.env.PATH,
      settings: fastSettings,
    });
    if (s3Missing() === undefined) bucket = await makeBucket();
    await makePrograms();
    await onDatabase("postgres", (client) => client.query("CREATE DATABASE template_nkudo"));
    await onDatabase("template_nkudo", async (client) => {
      await client.query(seed);
      for (const text of await fixturesOf("n-kudo")) await client.query(text);
      await makeSite({ query: async (sql) => (await client.query(sql)).rows }, "berlin");
    });
    await renewDatabase();
    original = await digest();
    await mkdir(join(home, "pki"));
    await writeFile(join(home, "pki/ca.crt"), "a certificate\n");
    const { PATH = "", HOME = "" } = process.env;
    environment = {
      PATH: `${join(home, "bin")}:${PATH}`,
      HOME,
      NODE_COMPILE_CACHE: join(root, "node_modules/.cache/node"),
      DATABASE_URL: urlOf("nkudo"),
    };
    await shell("pgtenant keygen -o key.txt", { BACKUP_DIR: join(home, "base") });
    const [recipient] = /age1[a-z0-9]+/.exec(await readFile(join(home, "key.txt"), "utf8")) ?? [];
    assert.ok(recipient !== undefined);
    environment = {
      ...environment,
      BACKUP_RECIPIENTS: recipient,
      BACKUP_IDENTITY_FILE: join(home, "key.txt"),
      BACKUP_INCLUDE_PATHS: join(home, "pki"),
      ...(bucket && {
        BACKUP_S3_BUCKET: bucket.name,
        BACKUP_S3_ENDPOINT: bucket.access.endpoint,
        AWS_ACCESS_KEY_ID: bucket.access.accessKeyId,
        AWS_SECRET_ACCESS_KEY: bucket.access.secretAccessKey,
      }),
    };
    await shell("pgtenant backup && pgtenant export --all", {
      BACKUP_DIR: join(home, "base"),
      BACKUP_S3_PREFIX: "base",
    });
  });
  after(async () => {
    await bucket?.close();
    await server?.dispose();
    await rm(home, { recursive: true, force: true });
  });

  /** The program itself, and a docker that only writes down what it was told. */
  async function makePrograms(): Promise<void> {
    const programs = {
      // That rows differ is what one wants to see of diff.
      pgtenant: `"${process.execPath}" "${join(root, "src/main.ts")}" "$@"
code=$?
if [ "$1" = diff ] && [ $code -eq 9 ]; then exit 0; fi
exit $code`,
      docker: `echo "$*" >> "${join(home, "docker.log")}"`,
    };
    await mkdir(join(home, "bin"));
    for (const [name, script] of Object.entries(programs)) {
      await writeFile(join(home, "bin", name), `#!/bin/sh\n${script}\n`);
      await chmod(join(home, "bin", name), 0o755);
    }
  }

  function urlOf(database: string): string {
    return server.url.replace(/\/postgres$/, `/${database}`);
  }

  async function onDatabase<T>(name: string, work: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client({ connectionString: urlOf(name) });
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  const digest = () =>
    onDatabase("nkudo", (client) =>
      databaseDigest({ query: async (sql) => (await client.query(sql)).rows }),
    );

  const databases = () =>
    onDatabase("postgres", async (client) => {
      const { rows } = await client.query(
        "SELECT datname::text AS name FROM pg_database WHERE starts_with(datname::text, 'nkudo') ORDER BY 1",
      );
      return rows.map(({ name }) => name as string);
    });

  async function renewDatabase(): Promise<void> {
    for (const name of await databases()) {
      await onDatabase("postgres", (client) =>
        client.query(`DROP DATABASE "${name}" WITH (FORCE)`),
      );
    }
    await onDatabase("postgres", (client) =>
      client.query("CREATE DATABASE nkudo TEMPLATE template_nkudo"),
    );
  }

  /** Runs commands as they stand; the first that fails ends them, and the test. */
  async function shell(script: string, env: Readonly<Record<string, string>>) {
    const child = spawn("bash", ["-euo", "pipefail", "-c", script], {
      cwd: home,
      env: { ...environment, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [stdout, stderr] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, "close"),
    ]);
    assert.equal(child.exitCode, 0, `${script}\n${stdout.slice(-3000)}\n${stderr.slice(-3000)}`);
    return { stdout, stderr };
  }

  /** What was backed up lies in a part of the bucket of each scenario's own. */
  async function copyInBucket(prefix: string): Promise<void> {
    if (bucket === undefined) return;
    const [from, to] = [await bucket.open({ prefix: "base" }), await bucket.open({ prefix })];
    for await (const { key } of from.list()) {
      await to.write(key, (await from.read(key)) as AsyncIterable<Uint8Array>);
    }
  }

  const equal = async ({ digest: now, databases: names }: After) => {
    assert.deepEqual(await now(), original);
    assert.ok(!(await names()).includes("nkudo_check"));
  };

  /** As many rows as before in every table: an import ends work that was in flight. */
  const back = async ({ digest: now, sql }: After) => {
    const counts = (rows: Readonly<Record<string, string>>) =>
      Object.entries(rows)
        .filter(([, value]) => / [0-9a-f]{32}$/.test(value))
        .map(([table, value]) => `${table} ${value.split(" ")[0]}`);
    assert.deepEqual(counts(await now()), counts(original));
    const waiting = await sql(`
      SELECT FROM plans p JOIN sites s ON s.id = p.site_id
       WHERE s.name = 'berlin' AND p.status IN ('PENDING', 'IN_PROGRESS')`);
    assert.equal(waiting.length, 0, "a plan that came back would run again");
  };

  const nothing = async (done: After) => {
    await equal(done);
  };

  const scenarios: Readonly<Record<string, Scenario>> = {
    "Which scenario is it?": {
      holds: async (done) => {
        assert.match(done.stdout, /backup_\d{8}_\d{6}/);
        await nothing(done);
      },
    },
    "Scenario 1: database corruption": {
      damage: async (sql) => {
        await sql("DELETE FROM audit_events");
        await sql("UPDATE tenants SET name = 'damaged'");
      },
      holds: async (done) => {
        await equal(done);
        assert.deepEqual(done.docker, [
          "compose stop control-plane",
          "compose start control-plane",
        ]);
        const kept = (await done.databases()).filter((name) => name.startsWith("nkudo_before_"));
        assert.equal(kept.length, 1);
        const damaged = await onDatabase(kept[0] ?? "", (client) =>
          client.query("SELECT FROM tenants WHERE name = 'damaged'"),
        );
        assert.equal(damaged.rowCount, 3);
        assert.ok((await readdir(`${done.folder}-damaged`)).length > 0);
      },
    },
    "Before the control plane starts": {
      holds: async ({ sql, stdout }) => {
        assert.match(stdout, /PENDING/);
        const left = await sql(`
          SELECT FROM plans WHERE status IN ('PENDING', 'IN_PROGRESS') OR leased_by_agent_id IS NOT NULL
          UNION ALL SELECT FROM executions WHERE state IN ('PENDING', 'IN_PROGRESS')`);
        assert.equal(left.length, 0);
      },
    },
    "Scenario 2: complete server failure": {
      needsBucket: true,
      databaseLost: true,
      folderLost: true,
      holds: async (done) => {
        await equal(done);
        assert.deepEqual(done.docker, ["compose up -d"]);
        assert.match(done.stdout, /^.*restored\/.*ca\.crt$/m);
        assert.match(done.stdout, /last_heartbeat/);
      },
    },
    "Scenario 3: accidental deletion": {
      damage: async (sql) => {
        await sql("DELETE FROM sites WHERE name = 'berlin'");
        await sql(
          `DELETE FROM api_keys WHERE tenant_id = (SELECT id FROM tenants WHERE slug = 'acme')`,
        );
      },
      holds: async (done) => {
        await back(done);
        assert.match(done.stdout, /undo|taken back|take back/);
      },
    },
    "A bundle out of a backup": {
      damage: (sql) => sql("DELETE FROM tenants WHERE slug = 'acme'"),
      holds: back,
    },
    "Scenario 4: region outage": {
      needsBucket: true,
      databaseLost: true,
      folderLost: true,
      holds: async (done) => {
        await equal(done);
        assert.match(done.stdout, /berlin +\|/);
      },
    },
    Failover: { databaseLost: true, holds: equal },
    "When the promise is not kept": {
      holds: async (done) => {
        assert.match(done.stdout, /the drill passed/);
        await nothing(done);
      },
    },
    "Best practices": {
      holds: async (done) => {
        assert.match(done.stdout, /is whole: decrypted/);
        await nothing(done);
      },
    },
    "Every quarter": {
      holds: async (done) => {
        assert.match(done.stdout, /the drill passed/);
        assert.match(done.stdout, /The promise is kept/);
        await nothing(done);
      },
    },
  };

  for (const [number, [title, scenario]] of Object.entries(scenarios).entries()) {
    const skip = scenario.needsBucket === true ? (s3Missing() ?? false) : false;
    test(`${title}: its commands do what they say`, { skip }, async () => {
      const section = sections.find((one) => one.title === title);
      assert.ok(section !== undefined, "the runbook has no such section");
      run.add(title);
      const prefix = `host-${number}`;
      const own = join(home, prefix);
      await copyInBucket(prefix);
      const folder = join(own, "backups");
      await mkdir(own);
      if (scenario.folderLost !== true) await cp(join(home, "base"), folder, { recursive: true });
      await rm(join(home, "docker.log"), { force: true });
      await renewDatabase();
      await scenario.damage?.((statement) =>
        onDatabase("nkudo", (client) => client.query(statement)),
      );
      if (scenario.databaseLost === true) {
        await onDatabase("postgres", (client) => client.query("DROP DATABASE nkudo"));
      }
      const script = section.script.replaceAll("/srv/restored", join(own, "restored"));
      const { stdout } = await shell(script, {
        BACKUP_DIR: folder,
        BACKUP_S3_PREFIX: prefix,
      });
      const docker = await readFile(join(home, "docker.log"), "utf8").catch(() => "");
      await scenario.holds({
        stdout,
        digest,
        databases,
        folder,
        docker: docker.split("\n").filter((line) => line !== ""),
        sql: async <Row extends object>(statement: string) =>
          (await onDatabase("nkudo", (client) => client.query(statement))).rows as Row[],
      });
    });
  }

  test("no section with commands was left out", () => {
    const left = sections.filter(({ title }) => !run.has(title)).map(({ title }) => title);
    const skipped = Object.entries(scenarios)
      .filter(([, { needsBucket }]) => needsBucket === true && s3Missing() !== undefined)
      .map(([title]) => title);
    assert.deepEqual(left, skipped);
    assert.ok(sections.length >= 11);
  });
});
