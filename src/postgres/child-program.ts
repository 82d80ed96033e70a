import { spawn } from "node:child_process";
import { once } from "node:events";
import { basename } from "node:path";
import type { Readable, Writable } from "node:stream";
import { AppError, ExitCode } from "../errors.ts";

export interface ChildProgramOptions {
  /** All of its environment; nothing of ours is added but the language of messages. */
  readonly env: Readonly<Record<string, string>>;
  /** `pipe` gives it a standard input to write to. */
  readonly stdin: "pipe" | "ignore";
  /** Ends the program when it fires. */
  readonly signal?: AbortSignal | undefined;
}

export interface ChildProgram {
  /** Undefined unless it was asked for. */
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  /**
   * Resolves when it has ended well. Its last warnings are what it wrote to stderr.
   *
   * @throws {AppError} exit 7 when it ended otherwise, with what it wrote to stderr as details
   */
  readonly done: Promise<readonly string[]>;
  /** Asks it to end, then makes it; waits for its end. */
  stop(): Promise<void>;
}

/** Of what it writes to stderr this much is kept, from the end. */
const keptErrors = 64 * 1024;
const patienceMs = 5_000;

/**
 * Starts a program that does not outlive us: when our process is killed, a shell that notices the
 * end of its input ends the program too. A pg_restore that goes on without us would hold the
 * database, and a psql would take the end of a script for its normal end.
 */
export function startProgram(
  path: string,
  args: readonly string[],
  options: ChildProgramOptions,
): ChildProgram {
  const name = basename(path);
  // Before the program, so that there is hardly a moment at which nobody watches over it.
  const guardian = startGuardian(options.env.PATH);
  const child = spawn(path, [...args], {
    cwd: "/",
    env: { ...options.env, LC_ALL: "C", LC_MESSAGES: "C" },
    stdio: [options.stdin, "pipe", "pipe"],
  });
  guardian.stdin.write(`${child.pid}\n`);
  let errors = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-keptErrors);
  });
  // A program that ends early closes its input; its exit code tells why.
  child.stdin?.on("error", () => undefined);
  const stop = () => child.kill("SIGTERM");
  options.signal?.addEventListener("abort", stop, { once: true });
  if (options.signal?.aborted === true) stop();
  const ended = once(child, "close");
  const finish = async (): Promise<readonly string[]> => {
    try {
      await ended;
    } catch (cause) {
      throw new AppError("program-not-started", ExitCode.database, `${name} cannot be started`, {
        hint: `Check the rights of "${path}".`,
        cause,
      });
    } finally {
      guardian.kill("SIGKILL");
      options.signal?.removeEventListener("abort", stop);
    }
    const lines = errors.split("\n").filter((line) => line.trim() !== "");
    options.signal?.throwIfAborted();
    if (child.exitCode === 0) return lines;
    throw programFailed(name, child.exitCode, child.signalCode, lines);
  };
  const done = finish();
  done.catch(() => undefined); // whoever started it awaits it, sooner or later
  if (child.stdout === null) throw new Error("the program has no standard output");
  return {
    stdin: child.stdin ?? undefined,
    stdout: child.stdout,
    done,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      stop();
      const timer = setTimeout(() => child.kill("SIGKILL"), patienceMs);
      await done.catch(() => undefined);
      clearTimeout(timer);
    },
  };
}

/** A shell that reads the number of a program, waits for our end, then ends the program. */
function startGuardian(searchPath: string | undefined) {
  const script = 'read -r pid && { read -r _; kill "$pid"; }';
  const guardian = spawn("sh", ["-c", script, "pgtenant-guard"], {
    cwd: "/",
    detached: true,
    env: { PATH: searchPath ?? "/usr/bin:/bin" },
    stdio: ["pipe", "ignore", "ignore"],
  });
  guardian.on("error", () => undefined); // no shell: then only our own end is not guarded
  guardian.stdin.on("error", () => undefined);
  guardian.unref();
  return guardian;
}

function programFailed(
  name: string,
  exitCode: number | null,
  signal: NodeJS.Signals | null,
  lines: readonly string[],
): AppError {
  const told = lines.find((line) => /\b(error|fatal|panic)\b/i.test(line)) ?? lines.at(-1);
  const what = told?.replace(/^\S*(pg_dump|pg_dumpall|pg_restore|psql)(:\S*)?: (error: )?/, "");
  const why =
    what ?? (signal === null ? `it ended with exit code ${exitCode}` : `it was ended by ${signal}`);
  return new AppError("program-failed", ExitCode.database, `${name} failed: ${why}`, {
    hint: hintFor(why),
    details: lines.slice(-20),
    data: { program: name, programExitCode: exitCode, signal },
  });
}

function hintFor(why: string): string {
  if (/row-level security/i.test(why)) {
    return "Connect as a role that sees every row: the tables' owner, a superuser, or one with BYPASSRLS.";
  }
  if (/permission denied|must be owner|must be superuser/i.test(why)) {
    return "Connect as the owner of the database's objects, or as a superuser.";
  }
  if (/server version mismatch|unsupported version/i.test(why)) {
    return "Install PostgreSQL's client programs of the server's version, or set PGTENANT_PG_BIN.";
  }
  if (/connection|server closed|terminating|could not connect|timeout/i.test(why)) {
    return "See the server's log for the reason, then run the command again.";
  }
  if (/No space left|could not write|disk full/i.test(why)) {
    return "Free some space on the server's disk or on this machine's.";
  }
  return "The details are what the program itself said.";
}
