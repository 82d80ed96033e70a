import { stat } from "node:fs/promises";
import { AppError } from "../errors.ts";
import { readJournal } from "../journal/journal.ts";
import { journalPath } from "../journal/journal-file.ts";
import { unreadableJournal } from "../journal/journal-lines.ts";
import type { JournalRecord } from "../journal/journal-record.ts";
import { unended } from "../journal/unended.ts";
import { verifyJournal } from "../journal/verify-journal.ts";
import { codeOf } from "../storage/local-file.ts";
import { dayIn } from "./words.ts";

/** One run as the journal has it; `started` is missing where its line was damaged. */
export interface JournalRun {
  readonly started: JournalRecord | undefined;
  readonly ended: JournalRecord | undefined;
  readonly result: "done" | "failed" | "interrupted" | "running" | "unfinished";
  /** The host where it is thought to run, when that is another one, or another container. */
  readonly elsewhere?: string | undefined;
}

/** What a journal of any length comes to. */
export interface JournalSummary {
  readonly records: number;
  /** Undefined when there is no journal, and when it cannot be read, which `problem` says then. */
  readonly intact: boolean | undefined;
  /** The first thing that is wrong with it. */
  readonly problem: string | undefined;
  /** The latest, the newest first. */
  readonly runs: readonly JournalRun[];
  readonly counts: readonly {
    readonly operation: string;
    readonly result: string;
    readonly count: number;
  }[];
  /** The end of the latest run of which no part has failed, by operation. */
  readonly lastSuccess: ReadonlyMap<string, JournalRecord>;
  /** The latest restore of the whole database in its place. */
  readonly lastRestore: RecordedRestore | undefined;
  /** Backups by day, in the time zone that was asked for. */
  readonly days: ReadonlyMap<string, { readonly done: number; readonly failed: number }>;
  readonly firstDay: string | undefined;
  readonly s3Failures: number;
}

export interface RecordedRestore {
  readonly at: string;
  /** Without the time that somebody has thought about its plan. */
  readonly seconds: number;
}

export const emptySummary: JournalSummary = {
  records: 0,
  intact: undefined,
  problem: undefined,
  runs: [],
  counts: [],
  lastSuccess: new Map(),
  lastRestore: undefined,
  days: new Map(),
  firstDay: undefined,
  s3Failures: 0,
};

/** Enough for the failures of a month, and a bound for a service that runs every minute. */
const keptRuns = 500;

/**
 * Reads a journal, and reads it again only when it has changed: one of years is tens of thousands
 * of lines, and the metrics are asked for every few seconds.
 */
export class JournalReader {
  readonly #folder: string;
  readonly #database: string;
  readonly #timezone: string;
  #known: { readonly version: string; readonly pass: Pass } | undefined;

  /** @param database whose operations count: several may have one folder */
  constructor(folder: string, database: string, timezone: string) {
    this.#folder = folder;
    this.#database = database;
    this.#timezone = timezone;
  }

  /** What changes whenever a line is written; while nobody can tell, what it was. */
  async version(): Promise<string> {
    return await this.#look().catch(() => this.#known?.version ?? "");
  }

  /** A journal that cannot be read is what it was when it could be, and says so. */
  async read(now: Date): Promise<JournalSummary> {
    try {
      const version = await this.#look();
      if (version === "") return emptySummary;
      if (this.#known?.version !== version) {
        const pass = await readAll(this.#folder, this.#database, this.#timezone);
        this.#known = { version, pass };
      }
      return await summaryOf(this.#known.pass, now);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      const { message: problem } = error;
      const before =
        this.#known === undefined ? emptySummary : await summaryOf(this.#known.pass, now);
      return { ...before, intact: undefined, problem };
    }
  }

  /** Empty where there is no journal. */
  async #look(): Promise<string> {
    const path = journalPath(this.#folder);
    try {
      const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
      return [dev, ino, size, mtimeNs].join(" ");
    } catch (cause) {
      if (codeOf(cause) === "ENOENT") return "";
      throw unreadableJournal(path, cause);
    }
  }
}

interface Pass {
  readonly records: number;
  readonly problem: string | undefined;
  readonly open: readonly JournalRecord[];
  readonly ended: readonly JournalRun[];
  readonly counts: ReadonlyMap<string, number>;
  readonly lastSuccess: ReadonlyMap<string, JournalRecord>;
  readonly lastRestore: RecordedRestore | undefined;
  readonly days: ReadonlyMap<string, { readonly done: number; readonly failed: number }>;
  readonly firstDay: string | undefined;
  readonly s3Failures: number;
}

async function readAll(folder: string, database: string, timezone: string): Promise<Pass> {
  const open = new Map<string, JournalRecord>();
  const ended: JournalRun[] = [];
  const counts = new Map<string, number>();
  const lastSuccess = new Map<string, JournalRecord>();
  const days = new Map<string, { done: number; failed: number }>();
  let lastRestore: RecordedRestore | undefined;
  let firstDay: string | undefined;
  let s3Failures = 0;
  for await (const record of readJournal(folder)) {
    const { event, run, operation } = record;
    if (!open.has(run) && !isOf(database, record)) continue;
    if (event === "started") {
      open.set(run, record);
      continue;
    }
    ended.push({ started: open.get(run), ended: record, result: event });
    open.delete(run);
    if (ended.length > 2 * keptRuns) ended.splice(0, keptRuns);
    const partly = event === "done" && !isWhole(record);
    const key = JSON.stringify([operation, partly ? "failed" : event]);
    counts.set(key, (counts.get(key) ?? 0) + 1);
    if (isWhole(record)) lastSuccess.set(operation, record);
    lastRestore = restoreOf(record) ?? lastRestore;
    s3Failures += s3FailuresOf(record);
    if (operation !== "backup" || Number.isNaN(Date.parse(record.at))) continue;
    const day = dayIn(timezone, new Date(record.at));
    firstDay ??= day;
    const known = days.get(day) ?? { done: 0, failed: 0 };
    known[event === "done" ? "done" : "failed"] += 1;
    days.set(day, known);
  }
  const { records, findings, problems } = await verifyJournal(folder);
  const problem = findings.find(({ level }) => level === "problem")?.message;
  return {
    records,
    problem: problems === 0 ? undefined : (problem ?? "it does not hold"),
    open: [...open.values()].slice(-keptRuns),
    ended: ended.slice(-keptRuns),
    counts,
    lastSuccess,
    lastRestore,
    days,
    firstDay,
    s3Failures,
  };
}

/** Done, and no part of it has failed: an export of all tenants ends, too, when one cannot be exported. */
export function isWhole({ event, exitCode = 0 }: JournalRecord): boolean {
  return event === "done" && exitCode === 0;
}

/** A restore into another database beside it is one of ours, too. */
function isOf(database: string, record: JournalRecord): boolean {
  return (record.database ?? database) === database || record.details?.beside === database;
}

async function summaryOf(
  { open, ended, counts, ...rest }: Pass,
  now: Date,
): Promise<JournalSummary> {
  const others = await Promise.all(
    open.map(async (started): Promise<JournalRun> => {
      const { result, elsewhere } = await unended(started, now);
      // What has begun again since has died there: none of these runs twice at a time.
      if (elsewhere && begunSince(started, [...open, ...ended.map((run) => run.started)])) {
        return { started, ended: undefined, result: "unfinished" };
      }
      return {
        started,
        ended: undefined,
        result,
        elsewhere: elsewhere ? (started.host ?? started.who) : undefined,
      };
    }),
  );
  return {
    ...rest,
    intact: rest.problem === undefined,
    runs: [...others, ...ended].sort((a, b) => sequenceOf(b) - sequenceOf(a)),
    counts: [...counts].map(([key, count]) => {
      const [operation = "", result = ""] = JSON.parse(key) as string[];
      return { operation, result, count };
    }),
  };
}

function begunSince(
  { operation, subject, seq }: JournalRecord,
  begun: readonly (JournalRecord | undefined)[],
): boolean {
  return begun.some(
    (other) => other?.operation === operation && other.subject === subject && other.seq > seq,
  );
}

function sequenceOf({ started, ended }: JournalRun): number {
  return ended?.seq ?? started?.seq ?? 0;
}

/** The places that a run could not write to: `s3://bucket/prefix` and why. */
export function failedPlacesOf({ details }: JournalRecord): readonly PlaceFailure[] {
  const failed = details?.failed;
  return Array.isArray(failed) ? failed.filter(isPlaceFailure) : [];
}

export interface PlaceFailure {
  readonly place: string;
  readonly error: string;
}

function isPlaceFailure(value: unknown): value is PlaceFailure {
  if (typeof value !== "object" || value === null) return false;
  const { place, error } = value as Partial<PlaceFailure>;
  return typeof place === "string" && typeof error === "string";
}

export interface RecordedError {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
}

export function errorOf({ details }: JournalRecord): RecordedError | undefined {
  const error = details?.error;
  if (typeof error !== "object" || error === null) return undefined;
  const { code, message, hint } = error as Partial<Record<string, unknown>>;
  if (typeof code !== "string" || typeof message !== "string") return undefined;
  return { code, message, hint: typeof hint === "string" ? hint : undefined };
}

/** Files alone, or another database beside, say nothing of how long it takes to be back. */
function restoreOf({ at, event, operation, details = {} }: JournalRecord) {
  const { restoreSeconds: seconds, onlyFiles, into } = details;
  const whole = operation === "restore" && event === "done" && onlyFiles !== true;
  return whole && into === undefined && typeof seconds === "number" ? { at, seconds } : undefined;
}

function s3FailuresOf(record: JournalRecord): number {
  const places = failedPlacesOf(record).filter(({ place }) => place.startsWith("s3://")).length;
  const whole = record.event === "failed" && errorOf(record)?.message.includes("s3://") === true;
  return places + (whole ? 1 : 0);
}
