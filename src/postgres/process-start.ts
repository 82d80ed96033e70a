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
