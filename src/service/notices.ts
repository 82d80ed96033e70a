import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Config, Notice } from "../config/config.ts";
import { maskSecrets } from "../config/secrets.ts";
import type { JobEnd } from "./scheduler.ts";

const patienceMs = 10_000;
const tries = 2;

/**
 * Tells of a run's end, by POST and by a command, as the configuration has it. It takes at most half
 * a minute and changes no result.
 *
 * @returns what did not work, for the log; the address itself is a secret, and is not in it
 */
export async function giveNotice(
  config: Readonly<Config>,
  end: JobEnd,
  database: string,
  patience = patienceMs,
): Promise<readonly string[]> {
  const { onSuccess, onFailure } = config.service;
  const notice = end.failure === undefined ? onSuccess : onFailure;
  const document = documentOf(end, database);
  const text = maskSecrets(JSON.stringify(document), config.secrets);
  const results = await Promise.allSettled([
    post(notice, text, patience),
    command(notice, text, document, patience),
  ]);
  return results.flatMap((result) =>
    result.status === "rejected"
      ? [maskSecrets(String(result.reason?.message ?? result.reason), config.secrets)]
      : [],
  );
}

function documentOf({ job, slot, seconds, outcome, failure }: JobEnd, database: string) {
  return {
    event: failure === undefined ? "success" : "failure",
    job,
    database,
    slot: slot.toISOString(),
    seconds,
    id: outcome?.id ?? null,
    bytes: outcome?.bytes ?? null,
    error:
      failure === undefined
        ? null
        : { code: failure.code, message: failure.message, hint: failure.hint ?? null },
  };
}

async function post({ url }: Notice, body: string, patience: number): Promise<void> {
  if (url === undefined) return;
  const { host } = new URL(url);
  let why = "";
  for (let attempt = 1; attempt <= tries; attempt += 1) {
    try {
      const response = await fetch(url, {
        method: "POST",
        body,
        headers: { "content-type": "application/json" },
        redirect: "error",
        signal: AbortSignal.timeout(patience),
      });
      await response.body?.cancel();
      if (response.ok) return;
      why = `it answered ${response.status}`;
    } catch (error) {
      why = error instanceof DOMException ? "it did not answer in time" : "it cannot be reached";
    }
  }
  throw new Error(`the notice to ${host} was not taken: ${why}`);
}

async function command(
  { command: script }: Notice,
  body: string,
  document: ReturnType<typeof documentOf>,
  patience: number,
): Promise<void> {
  if (script === undefined) return;
  const child = spawn("sh", ["-c", script], {
    // Not what is secret of ours: whoever wants that names it in a file.
    env: {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      PGTENANT_EVENT: document.event,
      PGTENANT_JOB: document.job,
      PGTENANT_DATABASE: document.database,
      PGTENANT_SLOT: document.slot,
      PGTENANT_BACKUP: document.id ?? "",
    },
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  child.stdin.on("error", () => undefined); // it need not read what it is told
  child.stdin.end(`${body}\n`);
  const timer = setTimeout(() => {
    // With whatever it has started.
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  }, patience);
  try {
    const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
    if (signal !== null) throw new Error("the command of the notice was ended: it took too long");
    if (code !== 0) throw new Error(`the command of the notice ended with exit code ${code}`);
  } finally {
    clearTimeout(timer);
  }
}
