import { readFile, readlink } from "node:fs/promises";
import { hostname, userInfo } from "node:os";
import { processRuns, processStart } from "./process-start.ts";

/** A process, told from every other one, also from a later one that gets its number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it was started, as the system counts it; absent where the system does not tell. */
  readonly processStart?: string | undefined;
  readonly host: string;
  /**
   * Of the booted system and its set of process numbers: containers with the same host name and
   * a shared folder do not see each other's processes. Absent where the system does not tell.
   */
  readonly processSpace?: string | undefined;
}

/** `unknown`: it runs, or ran, where its process number means nothing to us. */
export type Liveness = "alive" | "gone" | "unknown";

let own: Promise<ProcessIdentity> | undefined;

export function thisProcess(): Promise<ProcessIdentity> {
  own ??= describe();
  return own;
}

async function describe(): Promise<ProcessIdentity> {
  const { pid } = process;
  const [stat, processSpace] = await Promise.all([processStart(pid), spaceOfThisProcess()]);
  return { pid, processStart: stat?.start, host: hostname(), processSpace };
}

/** Whether a process that left its identity behind still runs. */
export async function livenessOf(other: ProcessIdentity): Promise<Liveness> {
  const self = await thisProcess();
  if (other.host !== self.host) return "unknown";
  if (other.processSpace !== undefined && other.processSpace !== self.processSpace) {
    return "unknown";
  }
  return (await processRuns(other.pid, other.processStart)) ? "alive" : "gone";
}

/** `user@host`, for people. */
export function operatorName(): string {
  return `${userName()}@${hostname()}`;
}

export function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run under a number that no account has.
    return `uid ${process.getuid?.() ?? "unknown"}`;
  }
}

async function spaceOfThisProcess(): Promise<string | undefined> {
  try {
    const [boot, space] = await Promise.all([
      readFile("/proc/sys/kernel/random/boot_id", "utf8"),
      readlink("/proc/self/ns/pid"),
    ]);
    return `${boot.trim()} ${space}`;
  } catch {
    return undefined;
  }
}
