import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
const root = fileURLToPath(new URL("../..", import.meta.url));
/** Saves a third of a command's start: its sources are stripped and compiled only once. */
const compileCache = fileURLToPath(new URL("../../node_modules/.cache/node", import.meta.url));

/** Where commands put receipts unless a test names a place; made with the first receipt. */
let backups: string | undefined;
process.once("exit", () => {
  if (backups !== undefined) rmSync(dirname(backups), { recursive: true, force: true });
});

export interface CommandOptions {
  /** `DATABASE_URL` of the command; without it the variable is absent. */
  readonly url?: string;
  /**
   * Further variables. Of our own environment the command gets PATH and HOME, nothing else;
   * BACKUP_DIR is a folder that is removed in the end.
   */
  readonly env?: Readonly<Record<string, string>>;
  /** What it reads on its standard input, which is empty by default. */
  readonly input?: string | Uint8Array;
  /** The working folder; the project's root by default. */
  readonly cwd?: string;
  /** In a process group of its own, for signals to all of it. */
  readonly detached?: boolean;
  /** A program that runs it, with its arguments. */
  readonly wrapper?: readonly string[];
  /** It is killed after this time, and the promise rejects; 120,000 by default. */
  readonly timeoutMs?: number;
}

export interface CommandResult {
  /** The exit code, or null when a signal ended the command. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Starts `pgtenant` as an operator would, with pipes for its three streams. */
export function spawnPgtenant(
  args: readonly string[],
  options: Pick<CommandOptions, "url" | "env" | "cwd" | "detached" | "wrapper"> = {},
): ChildProcessWithoutNullStreams {
  const { PATH = "", HOME = "" } = process.env;
  backups ??= join(mkdtempSync(join(tmpdir(), "pgtenant-test-")), "backups");
  const [program = "", ...before] = [...(options.wrapper ?? []), process.execPath, main];
  return spawn(program, [...before, ...args], {
    cwd: options.cwd ?? root,
    detached: options.detached === true,
    env: {
      PATH,
      HOME,
      NODE_COMPILE_CACHE: compileCache,
      BACKUP_DIR: backups,
      ...(options.url === undefined ? {} : { DATABASE_URL: options.url }),
      ...options.env,
    },
  });
}

/**
 * Runs `pgtenant` to its end and returns what came out of it, whatever its exit code.
 *
 * @throws Error when it takes longer than `timeoutMs`, with what it has written to stderr
 */
export async function pgtenant(
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const timeoutMs = options.timeoutMs ?? 120_000;
  const child = spawnPgtenant(args, options);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  child.stdin.on("error", () => {}); // it may end without reading its input
  child.stdin.end(options.input);
  try {
    const result = await resultOf(child);
    if (timedOut) {
      throw new Error(
        `pgtenant ${args.join(" ")} took longer than ${timeoutMs} ms:\n${result.stderr}`,
      );
    }
    return result;
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for the end of a command that `spawnPgtenant` has started. */
export async function resultOf(child: ChildProcessWithoutNullStreams): Promise<CommandResult> {
  const [stdout, stderr] = await Promise.all([
    buffer(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  return { code: child.exitCode, signal: child.signalCode, stdout, stderr };
}
