import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { startThrowawayServer, type ThrowawayServer } from "../../src/postgres/throwaway-server.ts";
import { seededRandom } from "../harness/corruptions.ts";
import { fixturesOf } from "../harness/database.ts";
import {
  assertImports,
  measureImport,
  momentsOf,
  startImport,
  waitFor,
} from "../harness/kill-import.ts";
import { type LostTenant, loseTenant } from "../harness/lost-tenant.ts";
import { childrenOf } from "../harness/service.ts";

const seed = Number(process.env.PGTENANT_TEST_SEED ?? Date.now() % 1_000_000);
const crashes = 10;

suite(`an import whose server is stopped with -m immediate; PGTENANT_TEST_SEED=${seed}`, () => {
  let server: ThrowawayServer;
  let folder: string;
  let tenant: LostTenant;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    // fsync and full_page_writes are on: what was committed has to survive. No checkpoint comes
    // by itself, so that a recovery has something to do.
    server = await startThrowawayServer({
      binDir: process.env.PGTENANT_PG_BIN,
      path: process.env.PATH,
      settings: {
        fsync: "on",
        full_page_writes: "on",
        checkpoint_timeout: "1h",
        max_wal_size: "8GB",
      },
    });
    await query("postgres", "SET seed.big = 'off'", ...(await fixturesOf("n-kudo")));
    tenant = await loseTenant(server.url, join(folder, "acme.jsonl"), 12_000);
  });
  after(async () => {
    await server.dispose();
    await rm(folder, { recursive: true });
  });

  async function query(database: string, ...statements: readonly string[]): Promise<void> {
    const url = server.url.replace(/\/postgres$/, `/${database}`);
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      for (const statement of statements) await client.query(statement);
    } finally {
      await client.end();
    }
  }

  test(`at ${crashes} random moments exits 7, has written nothing or all, and runs again`, async (context) => {
    const length = await measureImport(tenant);
    const seen: string[] = [];
    for (const moment of momentsOf(length, crashes, seededRandom(seed))) {
      await tenant.lose();
      const importing = startImport(tenant);
      await waitFor(importing, moment);
      await server.stop("immediate");
      const { code, stderr } = await importing.result;
      await server.start();
      const state = await tenant.state();
      if (code === 0) assert.equal(state, "whole");
      else {
        assert.equal(code, 7, stderr);
        assert.match(
          stderr,
          /^pgtenant: (the connection to the database was lost|no connection to 127\.0\.0\.1:\d+: .+)$/m,
        );
        assert.match(stderr, /^hint: \p{Lu}.*\.$/mu);
        assert.doesNotMatch(stderr, /^\s+at |internal error/m);
      }
      const phase = importing.hasPlan() ? "applying" : "before the plan";
      seen.push(code === 0 ? "ended" : `${phase}, ${state}`);
      await assertImports(tenant);
      assert.equal(await tenant.state(), "whole");
    }
    context.diagnostic(
      `an import of ${tenant.rows} rows takes ${Math.round(length.staging)} ms to its plan, then ${Math.round(length.applying)} ms; crashed: ${seen.join("; ")}`,
    );
    assert.ok(
      seen.some((moment) => moment.startsWith("applying")),
      "none while it was applying",
    );
  });

  test("that is started while the server still recovers waits for it", async () => {
    await tenant.lose();
    // Two seconds of work for the recovery.
    await query("postgres", "CREATE DATABASE busy");
    await query(
      "busy",
      "CREATE TABLE t AS SELECT md5(n::text) FROM generate_series(1, 2000000) AS n",
    );
    await server.stop("immediate");
    const logged = (await readFile(server.logFile, "utf8")).length;
    const refused = async () =>
      /FATAL: {2}the database system is (starting up|not yet accepting connections)/.test(
        (await readFile(server.logFile, "utf8")).slice(logged),
      );
    const started = server.start();
    const recovery = await recoveryOf(server);
    process.kill(recovery, "SIGSTOP");
    const imported = assertImports(tenant);
    const deadline = performance.now() + 60_000;
    while (!(await refused()) && performance.now() < deadline) await sleep(20);
    process.kill(recovery, "SIGCONT");
    await imported;
    await started;
    assert.ok(await refused(), "the import did not come while the server recovered");
    assert.equal(await tenant.state(), "whole");
  });

  /** The process that replays the WAL of a server that is being started. */
  async function recoveryOf({ dataDir }: ThrowawayServer): Promise<number> {
    const deadline = performance.now() + 30_000;
    for (;;) {
      const file = await readFile(join(dataDir, "postmaster.pid"), "utf8").catch(() => "");
      for (const pid of await childrenOf(Number.parseInt(file, 10))) {
        const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
        if (/startup/.test(line)) return pid;
      }
      assert.ok(performance.now() < deadline, "no recovery was seen");
      await sleep(1);
    }
  }
});
