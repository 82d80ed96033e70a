import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Config, Notice } from "../config/config.ts";
import { maskSecrets } from "../config/secrets.ts";
import type { AppError } from "../errors.ts";

const patienceMs = 10_000;
const tries = 2;

/** What is told of a run. */
export interface NoticedEnd {
  readonly job: string;
  /** Undefined for a run that somebody or something else has started. */
  readonly slot: Date | undefined;
  readonly seconds: number;
  readonly outcome:
    | { readonly id?: string | undefined; readonly bytes?: number | undefined }
    | undefined;
  readonly failure: AppError | undefined;
}

export interface NoticeOptions {
  /** How long POST and command may take; 10,000 by default. */
  readonly patienceMs?: number;
  /** Gives up what has not been told when it fires. */
  readonly signal?: AbortSignal;
}

/**
 * Tells of a run's end, by POST and by a command, as the configuration has it. It takes at most half
 * a minute and changes no result.
 *
 * @returns what did not work, for the log; the address itself is a secret, and is not in it
 */
export async function giveNotice(
  config: Readonly<Config>,
  end: NoticedEnd,
  database: string,
  options: NoticeOptions = {},
): Promise<readonly string[]> {
  const { onSuccess, onFailure } = config.service;
  const notice = end.failure === undefined ? onSuccess : onFailure;
  const document = documentOf(end, database, (words) => maskSecrets(words, config.secrets));
  const text = JSON.stringify(document);
  const limits = { patienceMs, ...options };
  const results = await Promise.allSettled([
    post(notice, text, limits),
    command(notice, text, document, limits),
  ]);
  return results.flatMap((result) =>
    result.status === "rejected"
      ? [maskSecrets(String(result.reason?.message ?? result.reason), config.secrets)]
      : [],
  );
}

interface Limits extends NoticeOptions {
  readonly patienceMs: number;
}

/** Its words are masked, and not the text of the JSON, which might be none any more. */
function documentOf(
  { job, slot, seconds, outcome, failure }: NoticedEnd,
  database: string,
  masked: (words: string) => string,
) {
  return {
    event: failure === undefined ? "success" : "failure",
    job,
    database: masked(database),
    slot: slot?.toISOString() ?? null,
    seconds,
    id: outcome?.id ?? null,
    bytes: outcome?.bytes ?? null,
    error:
      failure === undefined
        ? null
        : {
            code: failure.code,
            message: masked(failure.message),
            hint: failure.hint === undefined ? null : masked(failure.hint),
          },
  };
}

async function post({ url }: Notice, body: string, limits: Limits): Promise<void> {
  if (url === undefined) return;
  const { host } = new URL(url);
  let why = "";
  for (let attempt = 1; attempt <= tries && limits.signal?.aborted !== true; attempt += 1) {
    const patience = AbortSignal.timeout(limits.patienceMs);
    try {
      const response = await fetch(url, {
        method: "POST",
        body,
        headers: { "content-type": "application/json" },
        redirect: "error",
        signal: limits.signal === undefined ? patience : AbortSignal.any([patience, limits.signal]),
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
  limits: Limits,
): Promise<void> {
  if (script === undefined) return;
  const child = spawn("sh", ["-c", script], {
    // Not what is secret of ours: whoever wants that names it in a file.
    env: {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      PGTENANT_EVENT: document.event,
      PGTENANT_JOB: document.job,
      PGTENANT_DATABASE: document.database,
      PGTENANT_SLOT: document.slot ?? "",
      PGTENANT_BACKUP: document.id ?? "",
    },
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  child.stdin.on("error", () => undefined); // it need not read what it is told
  child.stdin.end(`${body}\n`);
  const end = () => {
    try {
      // With whatever it has started.
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended in this moment.
    }
  };
  const timer = setTimeout(end, limits.patienceMs);
  limits.signal?.addEventListener("abort", end, { once: true });
  try {
    const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
    if (signal !== null) throw new Error("the command of the notice was ended: it took too long");
    if (code !== 0) throw new Error(`the command of the notice ended with exit code ${code}`);
  } finally {
    clearTimeout(timer);
    limits.signal?.removeEventListener("abort", end);
  }
}
