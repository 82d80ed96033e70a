import { randomBytes } from "node:crypto";
import { stat } from "node:fs/promises";
import { mapTexts, maskSecrets } from "../config/secrets.ts";
import { AppError, ExitCode } from "../errors.ts";
import { livenessOf, operatorName, thisProcess, userName } from "../postgres/process-identity.ts";
import { appendRecords, journalPath } from "./journal-file.ts";
import { journalLines } from "./journal-lines.ts";
import type { JournalEvent, JournalRecord, UnlinkedRecord } from "./journal-record.ts";
import { parseLine } from "./journal-record.ts";
import type { LockHolder } from "./lock-file.ts";

export interface JournalOptions {
  /** Masked in everything that is written: `config.secrets`. */
  readonly secrets: readonly string[];
  /** Hears what was found damaged, and healed. */
  readonly warn: (text: string) => void;
  /** By which operations are interrupted: whatever one throws then is no failure. */
  readonly signal?: AbortSignal | undefined;
}

/** What an operation is done to. */
export interface Undertaking {
  readonly database?: string | undefined;
  readonly subject?: string | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

export interface Outcome {
  readonly exitCode?: number | undefined;
  /** Replaces the one of the beginning, when it is known only in the end. */
  readonly subject?: string | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** An operation that was written down as started. */
export interface JournalEntry {
  /** A short random id, the same in all lines of the operation. */
  readonly run: string;
  done(outcome?: Outcome): Promise<void>;
  /** The error's code, exit code, message and hint are written down, never its stack or its data. */
  failed(error: unknown, outcome?: Outcome): Promise<void>;
  /** Somebody has ended it, and it has cleared up behind itself. */
  interrupted(outcome?: Outcome): Promise<void>;
}

/**
 * The journal of a folder, `journal.jsonl`: what was done, by whom, and how it ended. Lines are
 * only ever added, each linked to the one before it.
 */
export class Journal {
  readonly folder: string;
  readonly #options: JournalOptions;
  #begun = 0;

  constructor(folder: string, options: JournalOptions) {
    this.folder = folder;
    this.#options = options;
  }

  get warn(): (text: string) => void {
    return this.#options.warn;
  }

  get interrupted(): boolean {
    return this.#options.signal?.aborted === true;
  }

  /** How many operations were to be written down as started, by this object. */
  get begun(): number {
    return this.#begun;
  }

  /**
   * Writes down that an operation starts.
   *
   * @throws {AppError} exit 5 when the journal stays locked; exit 8 when it cannot be written
   */
  async begin(operation: string, what: Undertaking = {}): Promise<JournalEntry> {
    const run = randomBytes(4).toString("hex");
    const begun = performance.now();
    this.#begun += 1;
    const end = async (event: JournalEvent, exitCode: number, outcome: Outcome) => {
      const seconds = Math.round(performance.now() - begun) / 1000;
      const subject = outcome.subject ?? what.subject;
      const { database } = what;
      const { details } = outcome;
      await this.#append([
        { run, event, operation, database, subject, exitCode, seconds, details },
      ]);
    };
    const { database, subject, details } = what;
    await this.#append([{ run, event: "started", operation, database, subject, details }]);
    return {
      run,
      done: (outcome = {}) => end("done", outcome.exitCode ?? ExitCode.done, outcome),
      interrupted: (outcome = {}) => end("interrupted", ExitCode.interrupted, outcome),
      failed: (error, outcome = {}) => {
        const known = error instanceof AppError;
        const exitCode = outcome.exitCode ?? (known ? error.exitCode : ExitCode.internal);
        const message = error instanceof Error ? error.message : String(error);
        const told = {
          ...outcome.details,
          error: {
            code: known ? error.code : "internal",
            message,
            ...(known && error.hint !== undefined ? { hint: error.hint } : {}),
          },
        };
        return end("failed", exitCode, { ...outcome, details: told });
      },
    };
  }

  /**
   * Writes down of every operation that was started and has no end that it was interrupted, if
   * its process is gone from this machine, or if `ownsLockOf` says that the caller holds the very
   * lock under which it ran.
   *
   * @returns the lines that said they had started
   * @throws {AppError} exit 5 when the journal stays locked; exit 8 when it cannot be read or written
   */
  async markInterrupted(
    ownsLockOf: (started: JournalRecord) => boolean = () => false,
  ): Promise<readonly JournalRecord[]> {
    const open = new Map<string, JournalRecord>();
    for await (const record of readJournal(this.folder)) {
      if (record.event === "started") open.set(record.run, record);
      else open.delete(record.run);
    }
    const interrupted: JournalRecord[] = [];
    for (const record of open.values()) {
      const liveness = await livenessOf(record);
      if (liveness === "gone" || (liveness === "unknown" && ownsLockOf(record))) {
        interrupted.push(record);
      }
    }
    if (interrupted.length > 0) {
      await this.#append(
        interrupted.map(({ run, operation, database, subject, seq }) => ({
          run,
          event: "interrupted" as const,
          operation,
          database,
          subject,
          details: { started: seq },
        })),
      );
    }
    return interrupted;
  }

  async #append(records: readonly RecordContent[]): Promise<void> {
    const self = await thisProcess();
    const at = new Date().toISOString();
    const who = operatorName();
    const { secrets, warn } = this.#options;
    const holder: LockHolder = { ...self, user: userName(), operation: "journal", since: at };
    const { tornBytes } = await appendRecords(
      this.folder,
      records.map((record): UnlinkedRecord => {
        const { run, event, operation, database, subject, exitCode, seconds, details } = record;
        const { pid, host, processStart, processSpace } = self;
        return withoutUndefined({
          at,
          run,
          event,
          operation,
          who,
          pid,
          host,
          processStart,
          processSpace,
          database: masked(database, secrets),
          subject: masked(subject, secrets),
          exitCode,
          seconds,
          details: masked(details, secrets),
        });
      }),
      holder,
    );
    if (tornBytes > 0) {
      warn(
        `the last line of the journal "${journalPath(this.folder)}" was cut short (${tornBytes} bytes), as by a crash; it was left where it stands`,
      );
    }
  }
}

export function openJournal(folder: string, options: JournalOptions): Journal {
  return new Journal(folder, options);
}

/** The journal of a folder that exists; undefined for one that does not. */
export async function openJournalOf(
  folder: string,
  options: JournalOptions,
): Promise<Journal | undefined> {
  return (await isFolder(folder)) ? openJournal(folder, options) : undefined;
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );
}

/**
 * The whole lines of a folder's journal, the oldest first, one in memory at a time; none when there
 * is no journal. Damaged and altered ones are passed over: `verifyJournal` names them.
 *
 * @param operation only the lines of operations of this name
 * @throws {AppError} exit 8 when it cannot be read
 */
export async function* readJournal(
  folder: string,
  operation?: string,
): AsyncGenerator<JournalRecord> {
  for await (const { text } of journalLines(journalPath(folder))) {
    const parsed = text === undefined ? undefined : parseLine(text);
    if (parsed?.kind !== "record") continue;
    if (operation === undefined || parsed.record.operation === operation) yield parsed.record;
  }
}

/**
 * Writes down how `work` starts and ends. A journal that cannot be written never stands in the
 * way of the work: it becomes a warning.
 *
 * @param outcomeOf what the result adds to the line that says it is done
 */
export async function withJournal<T>(
  journal: Journal,
  operation: string,
  what: Undertaking,
  warn: (text: string) => void,
  work: () => Promise<T>,
  outcomeOf: (result: T) => Outcome = () => ({}),
): Promise<T> {
  const attempt = async <R>(write: () => Promise<R>): Promise<R | undefined> => {
    try {
      return await write();
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      warn(`the journal was not written: ${error.message}`);
      return undefined;
    }
  };
  const entry = await attempt(() => journal.begin(operation, what));
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await attempt(async () => (journal.interrupted ? entry?.interrupted() : entry?.failed(error)));
    throw error;
  }
  await attempt(async () => entry?.done(outcomeOf(result)));
  return result;
}

/**
 * Writes down a failure that came before the work had written down its beginning: a lock that
 * another run has, a server that does not answer, a key that is missing.
 *
 * @param journal the one that `work` uses
 */
export async function withFailuresBefore<T>(
  journal: Journal,
  operation: string,
  what: Undertaking,
  work: () => Promise<T>,
): Promise<T> {
  const before = journal.begun;
  try {
    return await work();
  } catch (error) {
    if (journal.begun === before && !journal.interrupted && (await isFolder(journal.folder))) {
      // A folder that cannot be written to has no journal either, and is what the error says.
      const storage = error instanceof AppError && error.exitCode === ExitCode.storage;
      const warn = storage ? () => undefined : journal.warn;
      return await withJournal(journal, operation, what, warn, () => Promise.reject(error));
    }
    throw error;
  }
}

type RecordContent = Pick<JournalRecord, "run" | "event" | "operation"> & {
  readonly [Member in "database" | "subject" | "exitCode" | "seconds" | "details"]?:
    | JournalRecord[Member]
    | undefined;
};

function withoutUndefined<T extends object>(
  record: {
    readonly [K in keyof T]: T[K] | undefined;
  },
): T {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T;
}

const longestText = 4_000;

/** Masks every string in a value; the line's own words and numbers are never touched. */
function masked<T>(value: T, secrets: readonly string[]): T {
  return mapTexts(value, (text) => maskedText(text, secrets));
}

function maskedText(text: string, secrets: readonly string[]): string {
  if (text.length <= longestText) return maskSecrets(text, secrets);
  // The cut may leave the beginning of a secret, which nothing would mask.
  const longestSecret = Math.max(0, ...secrets.map((secret) => secret.length));
  const cut = maskSecrets(text.slice(0, longestText), secrets);
  return `${cut.slice(0, Math.max(0, cut.length - longestSecret))}…`;
}
