import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

export interface Measurement {
  readonly seconds: number;
  /** The largest resident set of the measured process itself, in MB. */
  readonly peakMegabytes: number;
}

export interface Run {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const pollMs = 20;

/** Runs a program to its end and measures it as a whole process. */
export async function measure(run: Run): Promise<Measurement> {
  const started = performance.now();
  const child = spawn(run.command, [...run.args], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...run.env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-4000);
  });
  let peakMegabytes = 0;
  const poll = setInterval(() => {
    peakMegabytes = Math.max(peakMegabytes, peakOf(child.pid));
  }, pollMs);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  clearInterval(poll);
  if (code !== 0) throw new Error(`${run.command} ended with ${code}: ${errors}`);
  return { seconds: (performance.now() - started) / 1000, peakMegabytes };
}

/** The kernel's own high-water mark, so that no peak between two looks is missed. */
function peakOf(pid: number | undefined): number {
  if (pid === undefined) return 0;
  try {
    const [, kilobytes] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return Number(kilobytes ?? 0) / 1024;
  } catch {
    return 0;
  }
}

/** Runs the candidates in turn, A B A B …, so that a slow spell of the machine hits all. */
export async function inTurn<Name extends string>(
  pairs: number,
  candidates: Readonly<Record<Name, () => Promise<Measurement>>>,
): Promise<Readonly<Record<Name, readonly Measurement[]>>> {
  const names = Object.keys(candidates) as Name[];
  const found = Object.fromEntries(names.map((name) => [name, [] as Measurement[]])) as Record<
    Name,
    Measurement[]
  >;
  for (let pair = 0; pair < pairs; pair += 1) {
    for (const name of names) found[name].push(await candidates[name]());
  }
  return found;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? 0)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** The median of the ratios of each pair, which a drifting machine disturbs least. */
export function ratio(of: readonly Measurement[], to: readonly Measurement[]): number {
  return median(of.map((one, i) => one.seconds / (to[i]?.seconds ?? Number.NaN)));
}

export const seconds = (runs: readonly Measurement[]): number =>
  median(runs.map((run) => run.seconds));
export const peak = (runs: readonly Measurement[]): number =>
  Math.max(...runs.map((run) => run.peakMegabytes));
