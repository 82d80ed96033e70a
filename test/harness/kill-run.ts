import assert from "node:assert/strict";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { type CommandOptions, spawnPgtenant } from "./command.ts";

/** Programs and temporary files of a killed run are gone after this time. */
const graceMs = 15_000;

interface Process {
  readonly pid: number;
  /** With the number it tells this process from a later one. */
  readonly start: string;
  readonly parent: number;
  readonly command: string;
}

export interface KilledRun {
  /** False when it had ended by itself before. */
  readonly killed: boolean;
  /** Its exit code, if it had ended by itself. */
  readonly code: number | null;
  readonly stderr: string;
  /** The programs that it had started and that ran at that moment, such as `pg_dump`. */
  readonly programs: readonly string[];
}

/** So many milliseconds after the start, or when a condition holds that is asked again and again. */
export type Moment = number | (() => Promise<boolean>);

/**
 * Starts `pgtenant`, kills it with SIGKILL at a moment, and waits until whatever it had started
 * is gone too: its children and theirs, and everything in the folders for temporary files.
 *
 * @throws {AssertionError} when something of it is still there that long after
 */
export async function killRun(
  args: readonly string[],
  options: Pick<CommandOptions, "url" | "env"> & { readonly tempFolders: readonly string[] },
  moment: Moment,
): Promise<KilledRun> {
  const child = spawnPgtenant(args, options);
  child.stdin.end();
  child.stdout.resume();
  const stderr = text(child.stderr);
  const ended = once(child, "close");
  if (typeof moment === "number") await sleep(moment);
  else while (child.exitCode === null && !(await moment())) await sleep(5);
  // Stopped first, so that it starts nothing between the look at its children and its end.
  const killed = child.exitCode === null && child.kill("SIGSTOP");
  const family = killed && child.pid !== undefined ? await descendantsOf(child.pid) : [];
  if (killed) child.kill("SIGKILL");
  await ended;
  const begun = performance.now();
  for (;;) {
    const waited = performance.now() - begun;
    const left = [...(await stillRunning(family)), ...(await filesIn(options.tempFolders))];
    if (left.length === 0) break;
    assert.ok(waited < graceMs, `after ${Math.round(waited)} ms there still is ${left.join(", ")}`);
    await sleep(20);
  }
  const programs = family.map(({ command }) => command.split(" ")[0]?.split("/").at(-1) ?? "");
  return {
    killed: killed && child.signalCode === "SIGKILL",
    code: child.exitCode,
    stderr: await stderr,
    programs: [...new Set(programs)].filter((name) => name !== "sh"),
  };
}

async function descendantsOf(pid: number): Promise<readonly Process[]> {
  const all = await processes();
  const found = new Map<number, Process>();
  const family = new Set([pid]);
  // A child may stand before its parent in the list, so until nothing is new.
  for (let size = 0; size !== family.size; ) {
    size = family.size;
    for (const one of all) {
      if (!family.has(one.parent)) continue;
      family.add(one.pid);
      found.set(one.pid, one);
    }
  }
  return [...found.values()];
}

async function stillRunning(family: readonly Process[]): Promise<readonly string[]> {
  const left: string[] = [];
  for (const { pid, start, command } of family) {
    const now = await processOf(pid);
    if (now?.start === start) left.push(`process ${pid} (${command})`);
  }
  return left;
}

async function processes(): Promise<readonly Process[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const all = await Promise.all(pids.map(processOf));
  return all.filter((one) => one !== undefined);
}

/** Undefined when it is gone; a zombie only waits for its parent to notice. */
async function processOf(pid: number): Promise<Process | undefined> {
  try {
    const [stat, commandLine] = await Promise.all(
      ["stat", "cmdline"].map((file) => readFile(`/proc/${pid}/${file}`, "utf8")),
    );
    const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ") ?? [];
    const [state = "", parent = "", start = ""] = [fields[0], fields[1], fields[19]];
    if (state === "Z" || state === "X") return undefined;
    const command = commandLine?.split("\0").join(" ").trim() ?? "";
    return { pid, start, parent: Number(parent), command };
  } catch {
    return undefined;
  }
}

async function filesIn(folders: readonly string[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const folder of folders) {
    for (const name of await readdir(folder).catch(() => [])) found.push(`${folder}/${name}`);
  }
  return found;
}
