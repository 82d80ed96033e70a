import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { type CommandResult, pgtenant, resultOf, spawnPgtenant } from "./command.ts";
import type { LostTenant } from "./lost-tenant.ts";

/** How many kills found the import in which phase. */
export interface KillCounts {
  staging: number;
  applying: number;
  committed: number;
  ended: number;
}

/** How long an undisturbed import takes in milliseconds. */
export interface ImportLength {
  /** From the start of the command until its plan is printed. */
  readonly staging: number;
  /** From then on to the command's end. */
  readonly applying: number;
}

/** So many milliseconds after the start of an import, or after its plan. */
export interface ImportMoment {
  readonly phase: keyof ImportLength;
  readonly afterMs: number;
}

/** An import by the command that is under way. */
interface StartedImport {
  /** Resolves when its plan is printed, or it has ended without one. */
  readonly planned: Promise<void>;
  readonly hasPlan: () => boolean;
  readonly running: () => boolean;
  readonly kill: () => void;
  readonly result: Promise<CommandResult>;
}

const args = (tenant: LostTenant) => ["import", tenant.bundle, "--keep-in-flight", "--quiet"];

export function startImport(tenant: LostTenant): StartedImport {
  const child = spawnPgtenant(args(tenant), { url: tenant.databaseUrl });
  let printed = "";
  const planned = new Promise<void>((resolve) => {
    child.stdout.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
      if (hasPlan()) resolve();
    });
    child.once("close", () => resolve());
  });
  const hasPlan = () => printed.includes("plan for tenant");
  return {
    planned,
    hasPlan,
    running: () => child.exitCode === null,
    kill: () => child.kill("SIGKILL"),
    result: resultOf(child),
  };
}

/** Waits until an import that was just started has come so far. */
export async function waitFor(importing: StartedImport, moment: ImportMoment): Promise<void> {
  if (moment.phase === "applying") await importing.planned;
  await sleep(moment.afterMs);
}

/** The shorter of two undisturbed imports, so that what is aimed at it seldom comes too late. */
export async function measureImport(tenant: LostTenant): Promise<ImportLength> {
  const [a, b] = [await measureOnce(tenant), await measureOnce(tenant)];
  return {
    staging: Math.min(a.staging, b.staging),
    applying: Math.min(a.applying, b.applying),
  };
}

async function measureOnce(tenant: LostTenant): Promise<ImportLength> {
  await tenant.lose();
  const begun = performance.now();
  const importing = startImport(tenant);
  await importing.planned;
  const staging = performance.now() - begun;
  const { code, stderr } = await importing.result;
  assert.equal(code, 0, stderr);
  return { staging, applying: performance.now() - begun - staging };
}

/**
 * So many random moments of an import, half of them in each phase: one in each of as many equal
 * pieces of it.
 */
export function momentsOf(
  length: ImportLength,
  count: number,
  random: () => number,
): readonly ImportMoment[] {
  const pieces = { staging: Math.ceil(count / 2), applying: Math.floor(count / 2) };
  return (["staging", "applying"] as const).flatMap((phase) =>
    Array.from({ length: pieces[phase] }, (_, i) => ({
      phase,
      afterMs: ((i + random()) / pieces[phase]) * length[phase],
    })),
  );
}

/**
 * Starts an import, kills it with SIGKILL at a moment, and starts it again at once. Meanwhile and
 * in the end none or all of the tenant is there, and no other row has changed.
 */
export async function killImport(
  tenant: LostTenant,
  moment: ImportMoment,
  counts: KillCounts,
): Promise<void> {
  await tenant.lose();
  assert.equal(await tenant.state(), "gone");
  const importing = startImport(tenant);
  await waitFor(importing, moment);
  const running = importing.running();
  importing.kill();
  await importing.result;
  // The server may be at work for the killed one still: what is seen is gone or whole all the same.
  const [state] = await Promise.all([tenant.state(), assertImports(tenant)]);
  if (!running) counts.ended += 1;
  else if (state === "whole") counts.committed += 1;
  else if (importing.hasPlan()) counts.applying += 1;
  else counts.staging += 1;
  assert.equal(await tenant.state(), "whole");
}

export async function assertImports(tenant: LostTenant): Promise<void> {
  const result = await pgtenant(args(tenant), { url: tenant.databaseUrl });
  assert.equal(result.code, 0, result.stderr);
}
