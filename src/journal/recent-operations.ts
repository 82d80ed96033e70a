import { readJournal } from "./journal.ts";
import type { JournalRecord } from "./journal-record.ts";
import { unended } from "./unended.ts";

/** What is written down of one operation. */
export interface RecordedOperation {
  readonly started: JournalRecord;
  /** The line of its end; undefined while it runs, and after it died unnoticed. */
  readonly ended: JournalRecord | undefined;
  /** `unfinished`: it has no end, and its process is gone, or was on another host a day ago. */
  readonly result: "done" | "failed" | "interrupted" | "running" | "unfinished";
}

export interface RecentOptions {
  /** How many operations, at most. */
  readonly limit: number;
  /** Only those of this name. */
  readonly operation?: string | undefined;
}

/**
 * The latest operations of a folder's journal, the newest first. The journal may be of any
 * length: only those that are returned are in memory.
 *
 * @throws {AppError} exit 8 when the journal cannot be read
 */
export async function recentOperations(
  folder: string,
  options: RecentOptions,
): Promise<readonly RecordedOperation[]> {
  const operations = (await recentRuns(folder, options)).reverse();
  return await Promise.all(
    operations.map(async ({ started, ended }) => ({
      started,
      ended,
      result: ended === undefined ? (await unended(started)).result : (ended.event as "done"),
    })),
  );
}

/** The lines of the latest operations, in the order of the journal. */
export async function recentRecords(
  folder: string,
  options: RecentOptions,
): Promise<readonly JournalRecord[]> {
  const runs = await recentRuns(folder, options);
  return runs
    .flatMap(({ started, ended }) => (ended === undefined ? [started] : [started, ended]))
    .sort((a, b) => a.seq - b.seq);
}

async function recentRuns(folder: string, { limit, operation }: RecentOptions) {
  const runs = new Map<string, { started: JournalRecord; ended: JournalRecord | undefined }>();
  for await (const record of readJournal(folder, operation)) {
    const known = runs.get(record.run);
    if (record.event === "started") runs.set(record.run, { started: record, ended: undefined });
    else if (known !== undefined) known.ended = record;
    const [oldest] = runs.keys();
    if (runs.size > limit && oldest !== undefined) runs.delete(oldest);
  }
  return [...runs.values()];
}
