import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** The command lines of all processes of this machine, as `ps` shows them, by process id. */
export async function commandLines(): Promise<ReadonlyMap<number, string>> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const read = pids.map(async (pid) => {
    const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return [Number(pid), line.replaceAll("\0", " ")] as const;
  });
  return new Map((await Promise.all(read)).filter(([, line]) => line !== ""));
}

export interface Watched<T> {
  readonly result: T;
  /** Every command line that was seen. */
  readonly seen: ReadonlySet<string>;
  /** What each process showed when it was seen last. */
  readonly last: ReadonlyMap<number, string>;
}

/** Looks at all command lines again and again while `work` is under way. */
export async function watchingCommandLines<T>(work: Promise<T>): Promise<Watched<T>> {
  let working = true;
  const seen = new Set<string>();
  const last = new Map<number, string>();
  const done = work.finally(() => {
    working = false;
  });
  done.catch(() => undefined); // it is awaited below
  while (working) {
    for (const [pid, line] of await commandLines()) {
      seen.add(line);
      last.set(pid, line);
    }
    await sleep(25);
  }
  return { result: await done, seen, last };
}
