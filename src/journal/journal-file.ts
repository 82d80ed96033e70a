import { type FileHandle, mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { AppError, ExitCode } from "../errors.ts";
import { storageError } from "../storage/local-file.ts";
import { journalLines } from "./journal-lines.ts";
import {
  type ChainEnd,
  chainStart,
  longestLine,
  parseLine,
  recordLine,
  type UnlinkedRecord,
} from "./journal-record.ts";
import { describeHolder, type LockFile, type LockHolder, tryLockFile } from "./lock-file.ts";

const lineFeed = 0x0a;
const lockPatienceMs = 15_000;

export function journalPath(folder: string): string {
  return join(folder, "journal.jsonl");
}

/** What an append found at the journal's end. */
export interface Appended {
  /** How many bytes of a line that a crash had cut short now stand on a line of their own. */
  readonly tornBytes: number;
}

/**
 * Appends records as one piece, linked to the last whole line, and on disk when it returns. For
 * that moment a lock file keeps other processes away: appending alone does not link.
 *
 * @throws {AppError} exit 5 when the journal stays locked; exit 8 when it cannot be written,
 *   and then it is as it was
 */
export async function appendRecords(
  folder: string,
  records: readonly UnlinkedRecord[],
  holder: LockHolder,
): Promise<Appended> {
  const path = journalPath(folder);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const lock = await waitForLock(join(folder, ".journal.lock"), holder);
    try {
      return await appendLocked(path, records);
    } finally {
      // The lines are there all the same, and what cannot be removed is dead from now on.
      await lock.release().catch(() => undefined);
    }
  } catch (error) {
    throw storageError(error, path);
  }
}

async function waitForLock(path: string, holder: LockHolder): Promise<LockFile> {
  const deadline = Date.now() + lockPatienceMs;
  for (;;) {
    const attempt = await tryLockFile(path, holder);
    if ("lock" in attempt) return attempt.lock;
    if (Date.now() > deadline) {
      throw new AppError(
        "journal-locked",
        ExitCode.locked,
        `the journal is held by another run: ${describeHolder(attempt.heldBy)}`,
        { hint: `If it is certain that it died, remove the file ${path}.` },
      );
    }
    await sleep(5 + Math.random() * 20);
  }
}

async function appendLocked(path: string, records: readonly UnlinkedRecord[]): Promise<Appended> {
  const handle = await open(path, "a+", 0o600);
  try {
    const { size } = await handle.stat();
    const { end, tornBytes, needsLineEnd } = await findEnd(path, handle, size);
    let last = end;
    let text = needsLineEnd ? "\n" : "";
    for (const record of records) {
      const line = recordLine(record, last);
      text += `${line}\n`;
      const parsed = parseLine(line);
      if (parsed.kind !== "record") throw new Error("a journal's line cannot be read back");
      last = parsed.record;
    }
    try {
      await handle.appendFile(text);
      await handle.sync();
    } catch (error) {
      // Half a line would be for the next run to heal.
      await handle.truncate(size).catch(() => undefined);
      throw error;
    }
    return { tornBytes };
  } finally {
    await handle.close();
  }
}

interface JournalEnd {
  readonly end: ChainEnd;
  /** Bytes behind the last line end that are no whole line. */
  readonly tornBytes: number;
  readonly needsLineEnd: boolean;
}

/**
 * What the next line follows: the last one that is a record, also when it was altered, so that
 * one tampered line does not look like several.
 */
async function findEnd(path: string, handle: FileHandle, size: number): Promise<JournalEnd> {
  const tail = await readAt(handle, Math.max(0, size - 2 * longestLine), size);
  const stop = tail.lastIndexOf(lineFeed);
  const before = stop < 1 ? -1 : tail.lastIndexOf(lineFeed, stop - 1);
  const rest = tail.toString("utf8", stop + 1);
  if (rest === "" && (before !== -1 || tail.length === size)) {
    const parsed = parseLine(tail.toString("utf8", before + 1, Math.max(stop, 0)));
    if (parsed.kind !== "damaged") return { end: parsed.record, tornBytes: 0, needsLineEnd: false };
  }
  // The last line is damaged, so the last whole one may stand anywhere before it.
  let end = chainStart;
  let tornBytes = 0;
  for await (const line of journalLines(path)) {
    const parsed = line.text === undefined ? undefined : parseLine(line.text);
    // Without its line end a line is whole only if all of it is there.
    if (parsed?.kind === "record" || (parsed?.kind === "altered" && line.ended)) {
      end = parsed.record;
    } else if (!line.ended) tornBytes = line.bytes;
  }
  return { end, tornBytes, needsLineEnd: rest !== "" };
}

/** The bytes from `start` up to `end`, which may be less when the file has become shorter. */
async function readAt(handle: FileHandle, start: number, end: number): Promise<Buffer> {
  const buffer = Buffer.alloc(end - start);
  let read = 0;
  while (read < buffer.length) {
    const { bytesRead } = await handle.read(buffer, read, buffer.length - read, start + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return buffer.subarray(0, read);
}
