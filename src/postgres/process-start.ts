import { readFile } from "node:fs/promises";

export interface ProcessStart {
  /** `Z` and `X`: it has ended, and waits for its parent to notice. */
  readonly state: string;
  /** As the system counts it: with the number it tells a process from every later one. */
  readonly start: string;
}

/** Of a process that is there, from /proc, which only Linux has; else undefined. */
export async function processStart(pid: number): Promise<ProcessStart | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, "utf8");
    // The command's name before it may hold spaces and brackets.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const [state, start] = [fields[0], fields[19]];
    return state === undefined || start === undefined ? undefined : { state, start };
  } catch {
    return undefined;
  }
}

/**
 * Whether a process of this machine runs: the one with this number, and where its start is given
 * and the system tells it, not a later one that has got the number.
 */
export async function processRuns(pid: number, start?: string): Promise<boolean> {
  const found = await processStart(pid);
  if (found !== undefined) {
    // A zombie only waits for its parent to notice.
    if (found.state === "Z" || found.state === "X") return false;
    return start === undefined || start === found.start;
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Another user's process may not be signalled, and is there.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
