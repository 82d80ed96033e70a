import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { AppError, ExitCode } from "../errors.ts";
import type { ServerAccount } from "./server-account.ts";

/** A cluster that initdb has made, and how to run it. */
export interface PostmasterOptions {
  /** The path of `postgres`. */
  readonly program: string;
  readonly dataDir: string;
  readonly logFile: string;
  readonly port: number;
  readonly account: ServerAccount | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** How long a start may take before it counts as failed. */
  readonly startTimeoutMs: number;
}

const pollMs = 15;
/** PostgreSQL itself gives its backends 5 s in an immediate shutdown, then kills them. */
const stopTimeoutMs = { fast: 30_000, immediate: 10_000 };

/** Runs one server process, time and again; see ThrowawayServer for what the methods promise. */
export class Postmaster {
  readonly #options: PostmasterOptions;
  #child: ChildProcess | undefined;

  constructor(options: PostmasterOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const deadline = Date.now() + this.#options.startTimeoutMs;
    while (!this.#isRunning()) {
      const failure = await this.#launch(deadline);
      if (failure === undefined) return;
      // After a kill, backends that are busy hold the old shared memory until they notice.
      const orphans = failure.some((line) => /pre-existing shared memory block/.test(line));
      if (!orphans || Date.now() > deadline) {
        throw new AppError(
          "no-postgres",
          ExitCode.database,
          "the PostgreSQL server did not start",
          {
            hint: "The details are the end of its log.",
            details: failure,
          },
        );
      }
      await sleep(100);
    }
  }

  async stop(mode: "fast" | "immediate"): Promise<void> {
    this.#child?.kill(mode === "fast" ? "SIGINT" : "SIGQUIT");
    if (await this.#hasEnded(stopTimeoutMs[mode])) return;
    if (mode === "fast") await this.stop("immediate");
    else await this.kill();
  }

  async kill(): Promise<void> {
    const pid = this.#child?.pid;
    if (pid === undefined || !this.#isRunning()) return;
    // Listed before, since orphans have another parent; each is in a process group of its own.
    // Where there is no /proc, they notice by themselves that the postmaster has gone.
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
    process.kill(pid, "SIGKILL");
    for (const child of children.split(" ").filter((word) => word !== "")) {
      try {
        process.kill(Number(child), "SIGKILL");
      } catch {
        // It has ended already.
      }
    }
    await this.#hasEnded(stopTimeoutMs.immediate);
  }

  /** Starts the process and waits for it: undefined when it is ready, else the end of its log. */
  async #launch(deadline: number): Promise<readonly string[] | undefined> {
    const { program, dataDir, logFile, port, account, env } = this.#options;
    const log = await open(logFile, "a", 0o600);
    try {
      const logged = (await log.stat()).size;
      // A session of its own: Ctrl-C in a terminal is for us, and we then stop it in order.
      const child = spawn(program, ["-D", dataDir, "-p", String(port)], {
        cwd: dataDir,
        detached: true,
        env: { ...env },
        stdio: ["ignore", log.fd, log.fd],
        ...(account && { uid: account.uid, gid: account.gid }),
      });
      child.unref();
      this.#child = child;
      await once(child, "spawn");
      while (!(await this.#isReady())) {
        if (!this.#isRunning() || Date.now() > deadline) {
          await this.kill();
          return (await readFile(logFile))
            .subarray(logged)
            .toString()
            .trim()
            .split("\n")
            .slice(-20);
        }
        await sleep(pollMs);
      }
      return undefined;
    } finally {
      await log.close();
    }
  }

  #isRunning(): boolean {
    const child = this.#child;
    return child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** What pg_ctl does: the first line of postmaster.pid is the process, the eighth its state. */
  async #isReady(): Promise<boolean> {
    const file = join(this.#options.dataDir, "postmaster.pid");
    const lines = (await readFile(file, "utf8").catch(() => "")).split("\n");
    return lines[0] === String(this.#child?.pid) && lines[7]?.trim() === "ready";
  }

  async #hasEnded(timeoutMs: number): Promise<boolean> {
    const deadline = Date.now() + timeoutMs;
    while (this.#isRunning() && Date.now() < deadline) await sleep(pollMs);
    return !this.#isRunning();
  }
}
