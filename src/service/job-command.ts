import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Environment } from "../config/config.ts";
import { abortError } from "../storage/interruption.ts";
import type { JobOutcome, JobProgress, JobRun } from "./job.ts";
import { interruptedExit, notStarted, outcomeOf } from "./job-outcome.ts";

/** How this program is started. */
export interface JobProgram {
  /** What stands before the command: `["node", "main.js"]`. */
  readonly argv: readonly string[];
  /** What stands behind it: flags without a secret. */
  readonly flags: readonly string[];
  readonly environment: Environment;
}

/** A result is small; what is longer is not looked into. */
const mostOutput = 4 << 20;
/** To clear up. The whole service has ten seconds, from Docker. */
const patienceMs = 7_000;
const patienceOfTimeoutMs = 15_000;
/** A signal to all processes of a group reaches one after the other. */
const sameSignalMs = 1_000;

/**
 * Runs a command of this program as a child. A channel tells how far it is, and its end is what
 * asks the child to stop: a signal would be its second one, and end it at once, where somebody has
 * sent one to the whole group. So a child does not outlive a service that was killed, either.
 *
 * @throws {AppError} when it has failed, or could not be started; AbortError when the run's signal has ended it
 */
export async function runJobCommand(
  program: JobProgram,
  command: readonly string[],
  run: JobRun,
): Promise<JobOutcome> {
  const { signal } = run;
  if (signal.aborted) throw abortError(signal);
  const [path = "", ...before] = program.argv;
  const child = spawn(path, [...before, ...command, ...program.flags, "--json", "--quiet"], {
    env: { ...program.environment },
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  const ended = endOf(child);
  child.on("message", (message) => {
    const told = progressOf(message);
    if (told !== undefined) run.progress(told);
  });
  const output = outputOf(child);
  const errors = errorsOf(child, run.warn);
  let killer: NodeJS.Timeout | undefined;
  const stop = () => {
    if (child.connected) child.disconnect();
    const late = signal.reason instanceof Error && signal.reason.name === "TimeoutError";
    killer = setTimeout(() => child.kill("SIGKILL"), late ? patienceOfTimeoutMs : patienceMs);
  };
  signal.addEventListener("abort", stop, { once: true });
  try {
    const [code, by] = await ended;
    if (interruptedExit(code, by)) await stopWithin(sameSignalMs, signal);
    // What was done all the same is done.
    if (signal.aborted && code !== 0) throw abortError(signal);
    return outcomeOf({ command, output: output(), lastError: errors(), code, by });
  } finally {
    signal.removeEventListener("abort", stop);
    clearTimeout(killer);
  }
}

/** Node's own "close" does not come for a child whose channel we have closed ourselves. */
async function endOf(child: ChildProcess): Promise<[number | null, NodeJS.Signals | null]> {
  const streams = [child.stdout, child.stderr].map(async (stream) => {
    if (stream !== null && stream !== undefined) await once(stream, "close");
  });
  try {
    const [exit] = await Promise.all([once(child, "exit"), ...streams]);
    return exit as [number | null, NodeJS.Signals | null];
  } catch (error) {
    throw notStarted(error);
  }
}

function outputOf(child: ChildProcess): () => string {
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    if (output.length < mostOutput) output += text;
  });
  return () => output;
}

/** Passes warnings on, and remembers the last line. */
function errorsOf(child: ChildProcess, warn: (text: string) => void): () => string {
  let line = "";
  let last = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    const lines = (line + text).split("\n");
    line = lines.pop()?.slice(0, 10_000) ?? "";
    for (const told of lines) {
      if (told.startsWith("warning: ")) warn(told.slice("warning: ".length));
      else if (told.trim() !== "") last = told.trim();
    }
  });
  return () => line.trim() || last;
}

async function stopWithin(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const waited = AbortSignal.timeout(ms);
  await once(signal, "abort", { signal: waited }).catch(() => undefined);
}

/** As `openProgress` of a command sends it. */
function progressOf(message: unknown): JobProgress | undefined {
  if (typeof message !== "object" || message === null) return undefined;
  const { step, done, total } = message as Partial<Record<keyof JobProgress, unknown>>;
  if (typeof step !== "string" || typeof done !== "number") return undefined;
  return { step, done, total: typeof total === "number" && total > 0 ? total : undefined };
}
