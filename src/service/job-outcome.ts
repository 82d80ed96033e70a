import { AppError, ExitCode } from "../errors.ts";
import type { JobOutcome } from "./job.ts";

/** How a command's process has ended. */
export interface EndedCommand {
  readonly command: readonly string[];
  /** Its standard output: the result as JSON. */
  readonly output: string;
  readonly lastError: string;
  readonly code: number | null;
  readonly by: NodeJS.Signals | null;
}

/** What is read of the result of `backup`, `export`, `verify` and `drill` with `--json`. */
interface ResultDocument {
  readonly id?: string;
  readonly parts?: readonly { readonly bytes?: number }[];
  readonly bytes?: number;
  readonly error?: ToldError;
  readonly failed?: readonly {
    readonly place?: string;
    readonly tenant?: { readonly slug?: string; readonly id?: string };
    readonly error?: ToldError;
  }[];
  readonly copies?: readonly { readonly place?: string; readonly error?: ToldError }[];
  readonly exported?: readonly unknown[];
  /** Of a drill. */
  readonly problem?: string | null;
  readonly hint?: string | null;
  readonly checks?: readonly {
    readonly check?: string;
    readonly state?: string;
    readonly error?: ToldError | null;
  }[];
}

interface ToldError {
  readonly code?: string;
  readonly message?: string;
  readonly hint?: string | null;
}

/** What signals to end a process by; somebody has wanted it. */
const endingSignals: ReadonlySet<string> = new Set(["SIGINT", "SIGTERM", "SIGHUP"]);

export function interruptedExit(code: number | null, by: NodeJS.Signals | null): boolean {
  return code === ExitCode.interrupted || (by !== null && endingSignals.has(by));
}

/**
 * What a command has done, as its result says; what it has done in part has a failure.
 *
 * @throws {AppError} when it has done nothing
 */
export function outcomeOf(ended: EndedCommand): JobOutcome {
  const document = parsed(ended.output);
  const failure = ended.code === ExitCode.done ? undefined : failureOf(document, ended);
  const whole = document === undefined || document.error !== undefined || document.problem != null;
  if (failure !== undefined && whole) throw failure;
  const { id, parts, exported } = document ?? {};
  const message = id ?? (exported === undefined ? ended.command.join(" ") : bundles(exported));
  const bytes = document?.bytes ?? parts?.reduce((sum, part) => sum + (part.bytes ?? 0), 0);
  return { message, id, bytes, failure };
}

/** A drill that had nothing to restore, or nowhere; what another one has found does not mend itself. */
function mayMend({ problem, checks = [] }: ResultDocument): boolean {
  const check = checks.find(({ state }) => state === "failed")?.check;
  return problem == null || check === "found" || check === "server";
}

function bundles({ length }: readonly unknown[]): string {
  return length === 1 ? "1 bundle" : `${length} bundles`;
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

function failureOf(document: ResultDocument | undefined, ended: EndedCommand): AppError {
  const { code, by } = ended;
  if (by !== null) return endedBy(by);
  const exitCode = code !== null && exitCodes.has(code) ? (code as ExitCode) : ExitCode.internal;
  const { failed = [], copies = [] } = document ?? {};
  const parts = [...failed, ...copies.filter(({ error }) => error !== undefined)];
  const error = document?.error ?? parts[0]?.error ?? drillError(document);
  const told = parts.length === 0 ? error?.message : parts.map(partWords).join("; ");
  const last = ended.lastError === "" ? "" : `: ${ended.lastError.slice(0, 300)}`;
  return new AppError(
    error?.code ?? "job-failed",
    exitCode,
    told ?? `it ended with exit code ${code}${last}`,
    {
      ...(error?.hint == null ? {} : { hint: error.hint }),
      data: { lasting: document !== undefined && !mayMend(document) },
    },
  );
}

function drillError(document: ResultDocument | undefined): ToldError | undefined {
  const { problem, hint = null, checks = [] } = document ?? {};
  if (problem == null) return undefined;
  const failed = checks.find(({ state }) => state === "failed");
  return { code: failed?.error?.code ?? "drill-failed", message: problem, hint };
}

type Part = NonNullable<ResultDocument["failed"]>[number];

function partWords({ place, tenant, error }: Part): string {
  const message = error?.message ?? "it failed";
  const name = tenant === undefined ? place : `tenant "${tenant.slug ?? tenant.id}"`;
  return name === undefined || message.includes(name) ? message : `${name}: ${message}`;
}

/** Killed, as by a machine that is out of memory: the next attempt may be luckier. */
function endedBy(signal: NodeJS.Signals): AppError {
  return new AppError("job-ended", ExitCode.interrupted, `its process was ended by ${signal}`, {
    hint: "Where nobody has done it the machine may be short of memory; see the system's log.",
  });
}

export function notStarted(cause: unknown): AppError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new AppError(
    "job-not-started",
    ExitCode.interrupted,
    `its process could not be started: ${why}`,
    { hint: "The machine may be short of memory or of processes; see the system's log.", cause },
  );
}
