import { spawn } from "node:child_process";
import { once } from "node:events";
import { AppError, ExitCode } from "../errors.ts";
import type { JobOutcome, JobRun, JobWork } from "./job.ts";
import type { JobKind } from "./schedule-view.ts";
import type { Slots } from "./slots.ts";

export interface CommandJobOptions {
  readonly kind: JobKind;
  readonly slots: Slots;
  /** The program and what stands before its command: `["node", "main.js"]`. */
  readonly program: readonly string[];
  /** Run one after the other: `["export", "acme"]`. */
  readonly commands: readonly (readonly string[])[];
  readonly timeoutMinutes?: number;
  readonly lastDone?: JobWork["lastDone"];
}

/** A result is small; what is longer is not looked into. */
const mostOutput = 4 << 20;
/** After SIGTERM a command clears up and ends by itself within ten seconds. */
const patienceMs = 15_000;

/**
 * A job that is a command of this program, in a process of its own: it does what an operator's
 * would do, its memory is given back, and whatever becomes of it the service goes on.
 */
export function commandJob(options: CommandJobOptions): JobWork {
  const { kind, slots, program, commands, timeoutMinutes, lastDone } = options;
  return {
    kind,
    slots,
    timeoutMinutes,
    ...(lastDone === undefined ? {} : { lastDone }),
    async run(run) {
      const messages: string[] = [];
      let last: JobOutcome = { message: "" };
      for (const command of commands) {
        run.progress.advance(command.join(" "), 0);
        last = await runCommand([...program, ...command, "--json", "--quiet"], run);
        messages.push(last.message);
      }
      return { ...last, message: messages.join("; ") };
    },
  };
}

async function runCommand(
  [path = "", ...args]: readonly string[],
  { signal, warn }: JobRun,
): Promise<JobOutcome> {
  signal.throwIfAborted();
  const child = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    if (output.length < mostOutput) output += text;
  });
  let line = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    const lines = (line + text).split("\n");
    line = lines.pop()?.slice(0, 10_000) ?? "";
    for (const told of lines) {
      if (told.startsWith("warning: ")) warn(told.slice("warning: ".length));
    }
  });
  let killer: NodeJS.Timeout | undefined;
  const stop = () => {
    child.kill("SIGTERM");
    killer = setTimeout(() => child.kill("SIGKILL"), patienceMs);
  };
  signal.addEventListener("abort", stop, { once: true });
  try {
    const [code, by] = await ended;
    signal.throwIfAborted();
    return outcomeOf(args, output, code, by);
  } finally {
    signal.removeEventListener("abort", stop);
    clearTimeout(killer);
  }
}

interface ResultDocument {
  readonly id?: string;
  readonly storedBytes?: number;
  readonly error?: {
    readonly code: string;
    readonly message: string;
    readonly hint: string | null;
  };
  readonly failed?: readonly {
    readonly place?: string;
    readonly message?: string;
    readonly error?: string | { readonly message: string };
  }[];
  readonly exported?: readonly unknown[];
}

function outcomeOf(
  args: readonly string[],
  output: string,
  code: number | null,
  by: NodeJS.Signals | null,
): JobOutcome {
  const document = parsed(output);
  const failure = code === ExitCode.done ? undefined : failureOf(document, code, by);
  if (document?.error !== undefined || document === undefined) {
    if (failure !== undefined) throw failure;
  }
  const exported = document?.exported?.length;
  const message =
    document?.id ?? (exported === undefined ? (args[1] ?? "done") : `${exported} bundle(s)`);
  return { message, id: document?.id, bytes: document?.storedBytes, failure };
}

function parsed(output: string): ResultDocument | undefined {
  try {
    const value: unknown = JSON.parse(output);
    return typeof value === "object" && value !== null ? (value as ResultDocument) : undefined;
  } catch {
    return undefined;
  }
}

const exitCodes: ReadonlySet<number> = new Set(Object.values(ExitCode));

function failureOf(
  document: ResultDocument | undefined,
  code: number | null,
  by: NodeJS.Signals | null,
): AppError {
  const exitCode = code !== null && exitCodes.has(code) ? (code as ExitCode) : ExitCode.internal;
  const { error, failed } = document ?? {};
  const [first] = failed ?? [];
  const told = typeof first?.error === "string" ? first.error : first?.error?.message;
  const part = told ?? first?.message;
  return new AppError(
    error?.code ?? "job-failed",
    exitCode,
    error?.message ??
      part ??
      (by === null ? `it ended with exit code ${code}` : `it was ended by ${by}`),
    error?.hint == null ? {} : { hint: error.hint },
  );
}
