import assert from "node:assert/strict";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { pgtenant, spawnPgtenant } from "./command.ts";
import type { LostTenant } from "./lost-tenant.ts";

/** How many kills found the import in which phase. */
export interface KillCounts {
  staging: number;
  applying: number;
  committed: number;
  ended: number;
}

const args = (tenant: LostTenant) => ["import", tenant.bundle, "--keep-in-flight", "--quiet"];

/** The milliseconds that an undisturbed import takes, from the start of the command to its end. */
export async function measureImport(tenant: LostTenant): Promise<number> {
  await tenant.lose();
  const started = performance.now();
  await assertImports(tenant);
  return performance.now() - started;
}

/**
 * Starts an import, kills it with SIGKILL after a while, and starts it again at once. Meanwhile
 * and in the end none or all of the tenant is there, and no other row has changed.
 */
export async function killImport(
  tenant: LostTenant,
  afterMs: number,
  counts: KillCounts,
): Promise<void> {
  await tenant.lose();
  assert.equal(await tenant.state(), "gone");
  const child = spawnPgtenant(args(tenant), { url: tenant.databaseUrl });
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    printed += text;
  });
  child.stderr.resume();
  await sleep(afterMs);
  const running = child.exitCode === null;
  child.kill("SIGKILL");
  if (running) await once(child, "exit");
  // The server may be at work for the killed one still: what is seen is gone or whole all the same.
  const [state] = await Promise.all([tenant.state(), assertImports(tenant)]);
  if (!running) counts.ended += 1;
  else if (state === "whole") counts.committed += 1;
  else if (printed.includes("plan for tenant")) counts.applying += 1;
  else counts.staging += 1;
  assert.equal(await tenant.state(), "whole");
}

export async function assertImports(tenant: LostTenant): Promise<void> {
  const result = await pgtenant(args(tenant), { url: tenant.databaseUrl });
  assert.equal(result.code, 0, result.stderr);
}
