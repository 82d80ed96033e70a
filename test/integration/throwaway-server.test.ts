import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, afterEach, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import {
  fastSettings,
  startThrowawayServer,
  type ThrowawayServer,
  withThrowawayServer,
} from "../../src/postgres/throwaway-server.ts";

const options = {
  binDir: process.env.PGTENANT_PG_BIN,
  path: process.env.PATH,
  settings: fastSettings,
};

/** A temporary folder of this file's own, so that what is left in it is ours. */
let folder: string;
const usual = process.env.TMPDIR;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  await chmod(folder, 0o711); // the server's account has to pass through
  process.env.TMPDIR = folder;
});
after(async () => {
  if (usual === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = usual;
  await rm(folder, { recursive: true });
});

async function query<Row>(server: { readonly url: string }, sql: string): Promise<Row[]> {
  const client = new Client({ connectionString: server.url });
  client.on("error", () => {}); // the server may go away
  await client.connect();
  try {
    return (await client.query(sql)).rows as Row[];
  } finally {
    await client.end();
  }
}

async function postmasterOf(dataDir: string): Promise<number> {
  const [pid = ""] = (await readFile(join(dataDir, "postmaster.pid"), "utf8")).split("\n");
  return Number(pid);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function assertNothingLeft(pid: number): Promise<void> {
  assert.equal(isRunning(pid), false, "the server still runs");
  assert.deepEqual(await readdir(folder), []);
}

suite("a throwaway server", () => {
  test("is a PostgreSQL of its own, and leaves neither process nor folder", async () => {
    const { pid, backend } = await withThrowawayServer(options, async (server) => {
      assert.match(server.url, /^postgres:\/\/postgres:[\w-]{32}@127\.0\.0\.1:\d+\/postgres$/);
      const [row] = await query<Record<string, string>>(
        server,
        `SELECT current_setting('server_version') AS version, current_user AS name,
                current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync,
                current_setting('listen_addresses') AS addresses, pg_backend_pid()::text AS backend,
                current_setting('unix_socket_directories') AS sockets`,
      );
      assert.ok(row?.version?.startsWith(server.version), `${row?.version} ${server.version}`);
      const { name, encoding, fsync, addresses, sockets } = row ?? {};
      assert.deepEqual(
        { name, encoding, fsync, addresses, sockets },
        { name: "postgres", encoding: "UTF8", fsync: "off", addresses: "127.0.0.1", sockets: "" },
      );
      const [entry] = await readdir(folder);
      assert.equal(join(folder, entry ?? ""), dirname(server.dataDir));
      assert.equal((await stat(dirname(server.dataDir))).mode & 0o777, 0o700);
      return { pid: await postmasterOf(server.dataDir), backend: Number(row?.backend) };
    });
    await assertNothingLeft(pid);
    assert.equal(isRunning(backend), false);
  });

  test("asks for its password", async () => {
    await withThrowawayServer(options, async (server) => {
      const wrong = new URL(server.url);
      wrong.password = "wrong";
      await assert.rejects(query({ url: wrong.href }, "SELECT 1"), { code: "28P01" });
    });
  });

  test("leaves nothing when the work with it fails, even in the middle of a query", async () => {
    let pid = 0;
    await assert.rejects(
      withThrowawayServer(options, async (server) => {
        pid = await postmasterOf(server.dataDir);
        const sleeping = query(server, "SELECT pg_sleep(60)").catch(() => undefined);
        while (
          (await query(server, "SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sl%'"))
            .length === 0
        ) {
          await sleep(10);
        }
        void sleeping;
        throw new Error("the work has failed");
      }),
      { message: "the work has failed" },
    );
    await assertNothingLeft(pid);
  });

  test("leaves nothing when it does not start: exit 7, with the end of its log", async () => {
    await assert.rejects(
      startThrowawayServer({ ...options, settings: { shared_buffers: "much" } }),
      (error: { code: string; exitCode: number; message: string; details: string[] }) => {
        assert.equal(error.code, "no-postgres");
        assert.equal(error.exitCode, 7);
        assert.equal(error.message, "the PostgreSQL server did not start");
        assert.match(error.details.join("\n"), /invalid value for parameter "shared_buffers"/);
        return true;
      },
    );
    assert.deepEqual(await readdir(folder), []);
  });

  test("leaves nothing when our process is killed, or ends without a word", async () => {
    for (const end of ["SIGKILL", "SIGTERM", "exit"] as const) {
      const source = `
        import { startThrowawayServer } from ${JSON.stringify(new URL("../../src/postgres/throwaway-server.ts", import.meta.url).href)};
        const server = await startThrowawayServer(${JSON.stringify(options)});
        console.log(server.dataDir);
        ${end === "exit" ? "process.stdin.once('data', () => process.exit(3));" : "setInterval(() => {}, 1000);"}`;
      const child = spawn(process.execPath, ["--input-type=module", "-e", source]);
      const [line] = (await once(child.stdout, "data")) as [Buffer];
      const pid = await postmasterOf(line.toString().trim());
      assert.ok(isRunning(pid));
      if (end === "exit") child.stdin.write("now\n");
      else child.kill(end);
      await once(child, "exit");
      const deadline = Date.now() + 10_000;
      while (Date.now() < deadline && (isRunning(pid) || (await readdir(folder)).length > 0)) {
        await sleep(20);
      }
      await assertNothingLeft(pid);
    }
  });

  test("runs as an unprivileged user when we are root", async (t) => {
    if (process.getuid?.() !== 0) return t.skip("we are not root");
    await withThrowawayServer(options, async (server) => {
      const status = await readFile(`/proc/${await postmasterOf(server.dataDir)}/status`, "utf8");
      const [, uid = "0"] = /^Uid:\t(\d+)/m.exec(status) ?? [];
      assert.notEqual(uid, "0");
      assert.equal(String((await stat(server.dataDir)).uid), uid);
      assert.doesNotMatch(status, /^Uid:.*\t0\b/m);
    });
  });
});

suite("a throwaway server that is stopped", () => {
  let server: ThrowawayServer;
  before(async () => {
    server = await startThrowawayServer({ ...options, settings: {} });
    await query(server, "CREATE TABLE kept (n integer)");
  });
  after(() => server.dispose());
  afterEach(() => server.start());

  const count = async () => {
    const [row] = await query<{ n: string }>(server, "SELECT count(*) AS n FROM kept");
    return Number(row?.n);
  };

  for (const how of ["fast", "immediate", "kill"] as const) {
    test(`by "${how}" has what was committed when it starts again, on the same port`, async () => {
      const before = await count();
      await query(server, "INSERT INTO kept VALUES (1)");
      const open = new Client({ connectionString: server.url });
      open.on("error", () => {}); // the server goes away
      await open.connect();
      await open.query("BEGIN; INSERT INTO kept VALUES (2)");
      const pid = await postmasterOf(server.dataDir);
      const logged = (await readFile(server.logFile, "utf8")).length;
      await (how === "kill" ? server.kill() : server.stop(how));
      assert.equal(isRunning(pid), false);
      await assert.rejects(query(server, "SELECT 1"), { code: "ECONNREFUSED" });

      await server.start();
      assert.notEqual(await postmasterOf(server.dataDir), pid);
      assert.equal(await count(), before + 1);
      const log = (await readFile(server.logFile, "utf8")).slice(logged);
      // Only an orderly end leaves nothing to recover.
      if (how === "fast") assert.match(log, /database system is shut down/);
      assert.equal(/database system was not properly shut down/.test(log), how !== "fast");
    });
  }

  test("does not mind being stopped or started twice", async () => {
    await server.start();
    await server.stop("fast");
    await server.stop("immediate");
    await server.kill();
    await server.start();
    await server.start();
    await count();
  });
});
