import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CompiledProgram, compileProgram } from "../harness/compiled-program.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { addSmallTenants, setOf } from "../harness/tenant-sets.ts";

const many = Number(process.env.PGTENANT_TEST_TENANTS ?? 2_000);
/** N-Kudo's fixtures have three more. */
const tenants = many + 3;
const limitMb = 250;

interface Ended {
  readonly code: number | null;
  readonly seconds: number;
  readonly peakMb: number;
  readonly stderr: string;
}

suite("export --all at scale", () => {
  let program: CompiledProgram;
  let database: TestDatabase;

  before(async () => {
    program = await compileProgram();
    database = await createDatabase("export all proof", "n-kudo", {
      settings: { "seed.big": "off" },
    });
    await addSmallTenants(database, many);
  });
  after(async () => {
    await database.drop();
    await program.remove();
  });

  /** Runs a command; kills it as soon as `enough` says so. */
  async function run(
    args: readonly string[],
    enough: () => Promise<boolean> = () => Promise.resolve(false),
  ): Promise<Ended> {
    const { PATH = "" } = process.env;
    const begun = performance.now();
    const child = spawn(process.execPath, [program.main, ...args], {
      env: { PATH, DATABASE_URL: database.url },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const stderr = text(child.stderr);
    const closed = once(child, "close");
    let peakKb = 0;
    while (child.exitCode === null && child.signalCode === null) {
      const status = await readFile(`/proc/${child.pid}/status`, "utf8").catch(() => "");
      peakKb = Math.max(peakKb, Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0));
      if (await enough()) child.kill("SIGKILL");
      await sleep(20);
    }
    await closed;
    return {
      code: child.exitCode,
      seconds: (performance.now() - begun) / 1000,
      peakMb: Math.round((peakKb * 1024) / 1e6),
      stderr: await stderr,
    };
  }

  test(`${many} tenants are one command, killed twice and gone on with, each bundle verified`, async (context) => {
    const place = join(program.folder, "bundles");
    const written = async () => {
      const names = await readdir(place).catch(() => []);
      return names.filter((name) => name.startsWith("tenant_")).length;
    };
    const command = ["export", "--all", "--resume", "-o", place, "--quiet"];
    const runs: Ended[] = [];
    // Somewhere in the first half, then somewhere in what is left.
    for (const share of [0.1 + Math.random() * 0.4, 0.6 + Math.random() * 0.2]) {
      const at = Math.round(share * tenants);
      const killed = await run(command, async () => (await written()) >= at);
      assert.equal(killed.code, null, `it ended before it was killed at ${at}: ${killed.stderr}`);
      runs.push(killed);
      assert.ok((await written()) < tenants);
    }
    const last = await run(command);
    assert.equal(last.code, 0, last.stderr);
    runs.push(last);

    const names = await readdir(place);
    const manifests = names.filter((name) => name.endsWith(".manifest.json"));
    assert.equal(manifests.length, 1, manifests.join());
    const manifest = join(place, manifests[0] ?? "");
    const set = await setOf(await readFile(manifest, "utf8"));
    assert.deepEqual(
      [set.complete, set.tenants.length, set.failed, set.missing, set.snapshots.length],
      [true, tenants, [], 0, 3],
    );
    assert.deepEqual(
      names.filter((name) => /partial|progress/.test(name)),
      [],
    );
    // Work is lost for the few that were under way only.
    const anew = (await written()) - tenants;
    assert.ok(anew >= 0 && anew <= 2 * 4, `${anew} bundles were written twice`);

    const verified = await run(["verify", manifest, "--quiet"]);
    assert.equal(verified.code, 0, verified.stderr);

    const seconds = runs.reduce((sum, one) => sum + one.seconds, 0);
    context.diagnostic(
      `export: ${((seconds / tenants) * 1000).toFixed(1)} ms a tenant over three runs (${seconds.toFixed(1)} s), ${runs.map(({ peakMb }) => `${peakMb} MB`).join(", ")}`,
    );
    context.diagnostic(
      `verify: ${((verified.seconds / tenants) * 1000).toFixed(1)} ms a tenant (${verified.seconds.toFixed(1)} s), ${verified.peakMb} MB`,
    );
    for (const { peakMb } of [...runs, verified]) assert.ok(peakMb <= limitMb, `${peakMb} MB`);
  });
});
