import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { cp, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { after, before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
const limitMb = 200;
const tenant = "5a7e0000-0000-4000-8000-000000000001";

suite("the compiled program", () => {
  let folder: string;
  let main: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    const tsc = join(root, "node_modules/.bin/tsc");
    await run(tsc, ["-p", "tsconfig.build.json", "--outDir", join(folder, "dist")], { cwd: root });
    for (const name of ["package.json", "schemas"]) {
      await cp(join(root, name), join(folder, name), { recursive: true });
    }
    await symlink(join(root, "node_modules"), join(folder, "node_modules"));
    main = join(folder, "dist/main.js");
  });
  after(() => rm(folder, { recursive: true }));

  test(`converts a document of any size in at most ${limitMb} MB`, async (context) => {
    const small = await peakOf(10_000);
    const large = await peakOf(300_000);
    const figures = `convert: ${small} MB with 10000 events, ${large} MB with 300000`;
    context.diagnostic(figures);
    assert.ok(large <= limitMb && large - small <= 80, figures);
  });

  /** The peak of resident memory in megabytes. */
  async function peakOf(events: number): Promise<number> {
    const document = join(folder, `${events}.json`);
    await pipeline(Readable.from(lines(events)), createWriteStream(document));
    const args = [main, "convert", document, "-o", join(folder, `${events}.jsonl.zst`)];
    const { PATH = "" } = process.env;
    const child = spawn(process.execPath, args, {
      env: { PATH },
      stdio: ["ignore", "ignore", "pipe"],
    });
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

/** The newest event first, as N-Kudo lists them. */
function* lines(events: number): Generator<string> {
  yield `{\n  "version": "1.0",\n  "exported_at": "2026-02-03T04:05:06Z",\n  "tenant_id": "${tenant}",\n  "audit_events": [\n`;
  const metadata = Buffer.from(JSON.stringify({ method: "POST", path: "/v1/plans", n: 1.125 }));
  for (let id = events; id > 0; id -= 1) {
    const event = {
      id,
      tenant_id: tenant,
      actor_type: "SYSTEM",
      action: "plan.apply",
      resource_type: "plan",
      resource_id: `plan-${id}`,
      source_ip: "192.0.2.10/32",
      metadata_json: metadata.toString("base64"),
      occurred_at: `2026-02-01T00:00:00.${String(id % 1_000_000).padStart(6, "0")}Z`,
      prev_hash: String(id - 1).padStart(64, "0"),
      entry_hash: String(id).padStart(64, "0"),
      chain_valid: true,
    };
    yield `${JSON.stringify(event, null, 2)}${id > 1 ? "," : ""}\n`;
  }
  yield "  ]\n}\n";
}
