import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createDatabase, type TestDatabase } from "../harness/database.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
const limitMb = 200;
const sizes = [10_000, 300_000];

suite("the compiled program", () => {
  let folder: string;
  let main: string;
  let database: TestDatabase;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    // As in the package: dist beside schemas and package.json.
    const tsc = join(root, "node_modules/.bin/tsc");
    await run(tsc, ["-p", "tsconfig.build.json", "--outDir", join(folder, "dist")], { cwd: root });
    for (const name of ["package.json", "schemas"]) {
      await cp(join(root, name), join(folder, name), { recursive: true });
    }
    await symlink(join(root, "node_modules"), join(folder, "node_modules"));
    main = join(folder, "dist/main.js");
    database = await createDatabase("memory", "n-kudo", { settings: { "seed.big": "off" } });
  });
  after(async () => {
    await database.drop();
    await rm(folder, { recursive: true });
  });

  test(`needs at most ${limitMb} MB, whatever the size of the tenant`, async (context) => {
    const bundle = join(folder, "acme.jsonl.zst");
    const peaks = new Map<string, number[]>();
    let rows = 0;
    for (const size of sizes) {
      await addLogLines(database, size - rows);
      rows = size;
      for (const args of [
        ["export", "acme", "-o", bundle, "--overwrite"],
        ["verify", bundle],
        ["import", bundle, "--dry-run"],
      ]) {
        const [command = ""] = args;
        peaks.set(command, [...(peaks.get(command) ?? []), await peakOf(args)]);
      }
    }
    for (const [command, [small = 0, large = 0]] of peaks) {
      const figures = `${command}: ${small} MB with ${sizes[0]} rows, ${large} MB with ${sizes[1]}`;
      context.diagnostic(figures);
      assert.ok(small <= limitMb && large <= limitMb, figures);
      // Node lets garbage grow a little before it collects any of it.
      assert.ok(large - small <= 50, figures);
    }
  });

  test("answers --version in less than 150 ms", async (context) => {
    const ours = await median([main, "--version"]);
    const bare = await median(["-e", "0"]);
    context.diagnostic(`median ${ours} ms; an empty program of Node takes ${bare} ms`);
    // A busy machine slows an empty program down as well: it takes 60 ms otherwise.
    assert.ok(ours < 150 + Math.max(0, bare - 60), `${ours} ms`);
  });

  async function median(args: readonly string[]): Promise<number> {
    const times: number[] = [];
    for (let i = 0; i < 7; i += 1) {
      const started = performance.now();
      await run(process.execPath, [...args]);
      times.push(Math.round(performance.now() - started));
    }
    return times.sort((a, b) => a - b)[3] ?? Number.NaN;
  }

  /** Runs a command that must succeed, and gives its peak of resident memory in megabytes. */
  async function peakOf(args: readonly string[]): Promise<number> {
    const { PATH = "" } = process.env;
    const child = spawn(process.execPath, [main, ...args], {
      env: { PATH, DATABASE_URL: database.url },
      stdio: ["ignore", "ignore", "pipe"],
    });
    // The kernel keeps the peak, so that looking now and then misses only the last moment.
    let peak = 0;
    const timer = setInterval(async () => {
      const status = await readFile(`/proc/${child.pid}/status`, "utf8").catch(() => "");
      peak = Math.max(peak, Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0));
    }, 20);
    const [stderr] = await Promise.all([text(child.stderr), once(child, "close")]);
    clearInterval(timer);
    assert.equal(child.exitCode, 0, stderr);
    return Math.round((peak * 1024) / 1e6);
  }
});

async function addLogLines(database: TestDatabase, rows: number): Promise<void> {
  await database.query(`
    INSERT INTO execution_logs (tenant_id, execution_id, sequence, severity, message, emitted_at)
    SELECT e.tenant_id, e.id, 1000000 + n + (SELECT count(*) FROM execution_logs), 'INFO',
           'line ' || n || ' ' || repeat(md5(n::text), 6), now()
      FROM (SELECT e.tenant_id, e.id FROM executions AS e JOIN tenants AS t ON t.id = e.tenant_id
             WHERE t.slug = 'acme' LIMIT 1) AS e,
           generate_series(1, ${rows}) AS n`);
  await database.query("ANALYZE execution_logs");
}
