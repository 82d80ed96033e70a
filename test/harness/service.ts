import assert from "node:assert/strict";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServiceStatus } from "../../src/service/service-status.ts";
import { type CommandOptions, spawnPgtenant } from "./command.ts";
import type { TestDatabase } from "./database.ts";
import type { LogLine } from "./schedule.ts";

export interface Service {
  /** Of the service, and of the group of processes that it leads. */
  readonly pid: number;
  /** Everything that it has written to stderr. */
  text(): string;
  events(event: string): readonly LogLine[];
  /** Waits for so many events of a name, and returns the last of them. */
  until(event: string, count?: number, patienceMs?: number): Promise<LogLine>;
  signal(name: NodeJS.Signals, whole?: "group"): void;
  /** Its exit code, or the signal that has ended it. */
  readonly ended: Promise<number | string>;
  /** Ends it with SIGTERM, and expects it to end in order. */
  stop(): Promise<void>;
}

const patienceMs = 60_000;
const alive = new Set<number>();

/** What a test that has failed has left running. */
export function killServices(): void {
  for (const pid of alive) process.kill(-pid, "SIGKILL");
}

/** `pgtenant schedule` in a process group of its own, without a status page unless a variable says so. */
export function startService(options: CommandOptions, args: readonly string[] = []): Service {
  const env = { PGTENANT_HTTP_LISTEN: "off", ...options.env };
  return serviceOf(spawnPgtenant(["schedule", ...args], { ...options, env, detached: true }));
}

/**
 * The same as the first process of a namespace, as in a container; undefined where this user cannot
 * make one.
 */
export async function startNamespaced(options: CommandOptions): Promise<Service | undefined> {
  const wrapper = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
  const env = { PGTENANT_HTTP_LISTEN: "off", ...options.env };
  const child = spawnPgtenant(["schedule"], { ...options, env, detached: true, wrapper });
  const service = serviceOf(child);
  for (;;) {
    if (child.exitCode !== null) return undefined;
    const [own] = await childrenOf(child.pid ?? 0);
    if (own !== undefined && service.events("service started").length > 0) {
      return {
        ...service,
        async stop() {
          process.kill(own, "SIGTERM");
          assert.equal(await service.ended, 0, service.text());
        },
      };
    }
    await sleep(50);
  }
}

/** The processes that a process has started and that are still there. */
export async function childrenOf(pid: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  return text.split(" ").filter(Boolean).map(Number);
}

function serviceOf(child: ChildProcessWithoutNullStreams): Service {
  const { pid = 0 } = child;
  child.stdin.end();
  child.stdout.resume();
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (more: string) => {
    text += more;
  });
  alive.add(pid);
  const ended = once(child, "close").then(([code, signal]) => {
    alive.delete(pid);
    return (code ?? signal) as number | string;
  });
  const events = (event: string) =>
    text
      .split("\n")
      .filter((line) => line.startsWith("{") && line.endsWith("}"))
      .map((line) => JSON.parse(line) as LogLine)
      .filter((line) => line.event === event);
  return {
    pid,
    text: () => text,
    events,
    async until(event, count = 1, patience = patienceMs) {
      const deadline = performance.now() + patience;
      for (;;) {
        const line = events(event)[count - 1];
        if (line !== undefined) return line;
        assert.ok(alive.has(pid) && performance.now() < deadline, `no "${event}" in\n${text}`);
        await sleep(30);
      }
    },
    signal: (name, whole) =>
      void (alive.has(pid) && signalTo(whole === "group" ? -pid : pid, name)),
    ended,
    async stop() {
      child.kill("SIGTERM");
      assert.equal(await ended, 0, text);
    },
  };
}

function signalTo(target: number, name: NodeJS.Signals): void {
  try {
    process.kill(target, name);
  } catch {
    // It has ended in this moment.
  }
}

/** Holds a table, so that whoever dumps the database has to wait, until it is called off. */
export async function holdUp(database: TestDatabase): Promise<() => Promise<void>> {
  const client = await database.connect();
  await client.query("BEGIN; LOCK TABLE public.sites IN ACCESS EXCLUSIVE MODE");
  return async () => {
    await client.query("ROLLBACK");
  };
}

/** Waits until a dump of the database waits for the table that is held up. */
export async function dumpWaits(database: TestDatabase): Promise<void> {
  // It may have to wait for the next minute first.
  const deadline = performance.now() + 60_000 + patienceMs;
  for (;;) {
    const rows = await database.query(
      "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'",
    );
    if (rows.length > 0) return;
    assert.ok(performance.now() < deadline, "no dump has come to the table");
    await sleep(50);
  }
}

/** What a service says is running, once it has been told how far that is. */
export async function progressOf(service: Service): Promise<ServiceStatus["running"]> {
  const { status } = await service.until("service started");
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const answer = await fetch(new URL("/api/status", String(status)));
    const { running } = (await answer.json()) as ServiceStatus;
    if (running.some(({ total }) => total !== null)) return running;
    assert.ok(performance.now() < deadline, JSON.stringify(running));
    await sleep(30);
  }
}

/** What of a backup is in a folder. */
export async function leftIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name !== "journal.jsonl" && name !== "tenants");
}

/** Processes of a group; of the service's, its jobs too. */
export async function processesOf(group: number): Promise<readonly string[]> {
  const found: string[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = await readFile(`/proc/${pid}/stat`, "utf8");
      const [state, , own] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (Number(own) !== group || state === "Z") continue;
      found.push((await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0").join(" "));
    } catch {
      // It has ended in this moment.
    }
  }
  return found;
}

/** Waits until nothing of a group is left. */
export async function groupGone(group: number): Promise<void> {
  const deadline = performance.now() + 15_000;
  for (let left = await processesOf(group); left.length > 0; left = await processesOf(group)) {
    assert.ok(performance.now() < deadline, `still there: ${left.join(", ")}`);
    await sleep(50);
  }
}

export interface NoticeServer {
  readonly url: string;
  /** What was posted, in its order. */
  readonly bodies: readonly Record<string, unknown>[];
  close(): void;
}

/** Takes notices, as healthchecks and webhooks do. */
export async function startNoticeServer(): Promise<NoticeServer> {
  const bodies: Record<string, unknown>[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (text: string) => {
      body += text;
    });
    request.on("end", () => {
      bodies.push(JSON.parse(body) as Record<string, unknown>);
      response.end();
    });
  }).listen(0, "127.0.0.1");
  server.unref(); // a test that has failed does not close it
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { url: `http://127.0.0.1:${port}/ping`, bodies, close: () => server.close() };
}
