import assert from "node:assert/strict";
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

/** Waits until no process shows such a command line any more. */
export async function untilGone(matches: (line: string) => boolean): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const left = [...(await commandLines()).values()].filter(matches);
    if (left.length === 0) return;
    assert.ok(performance.now() < deadline, `still there: ${left.join("\n")}`);
    await sleep(50);
  }
}

export interface Watched<T> {
  readonly result: T;
  /** Every command line that was seen. */
  readonly seen: ReadonlySet<string>;
  /** What each process showed when it was seen last, of those that were seen for long enough. */
  readonly last: readonly string[];
}

/** Seen for less, a process may have been about to set its title when it was seen last. */
const startMs = 200;

/** Looks at all command lines again and again while `work` is under way. */
export async function watchingCommandLines<T>(work: Promise<T>): Promise<Watched<T>> {
  let working = true;
  const seen = new Set<string>();
  const last = new Map<number, { readonly line: string; readonly ms: number }>();
  const first = new Map<number, number>();
  const done = work.finally(() => {
    working = false;
  });
  done.catch(() => undefined); // it is awaited below
  while (working) {
    const now = performance.now();
    for (const [pid, line] of await commandLines()) {
      seen.add(line);
      const since = first.get(pid) ?? now;
      first.set(pid, since);
      last.set(pid, { line, ms: now - since });
    }
    await sleep(25);
  }
  const started = [...last].filter(([, { ms }]) => ms >= startMs);
  return { result: await done, seen, last: started.map(([, { line }]) => line) };
}
