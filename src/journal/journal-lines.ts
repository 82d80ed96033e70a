import { createReadStream } from "node:fs";
import { AppError, ExitCode } from "../errors.ts";
import { codeOf } from "../storage/local-file.ts";
import { longestLine } from "./journal-record.ts";

/** One line of a journal's file, whatever it holds. */
export interface JournalLine {
  /** From 1. */
  readonly number: number;
  /** Undefined for one that is longer than any of ours. */
  readonly text: string | undefined;
  /** Without the line end. */
  readonly bytes: number;
  /** False for a last line without its line end. */
  readonly ended: boolean;
}

const lineFeed = 0x0a;

/**
 * The lines of a journal's file in their order, with one of them in memory at a time; none when
 * there is no file.
 *
 * @throws {AppError} exit 8 when it cannot be read
 */
export async function* journalLines(path: string): AsyncGenerator<JournalLine> {
  let number = 0;
  let begun: Buffer[] = [];
  let bytes = 0;
  const take = (ended: boolean): JournalLine => {
    number += 1;
    const text = bytes > longestLine ? undefined : Buffer.concat(begun).toString("utf8");
    const line = { number, text, bytes, ended };
    begun = [];
    bytes = 0;
    return line;
  };
  const add = (part: Buffer) => {
    bytes += part.length;
    if (bytes <= longestLine) begun.push(part);
    else begun = [];
  };
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) {
      const buffer = chunk as Buffer;
      let start = 0;
      for (;;) {
        const end = buffer.indexOf(lineFeed, start);
        if (end === -1) break;
        add(buffer.subarray(start, end));
        yield take(true);
        start = end + 1;
      }
      if (start < buffer.length) add(buffer.subarray(start));
    }
  } catch (cause) {
    const code = codeOf(cause);
    if (code === undefined || cause instanceof AppError) throw cause;
    if (code === "ENOENT") return;
    throw unreadableJournal(path, cause);
  }
  if (bytes > 0) yield take(false);
}

export function unreadableJournal(path: string, cause: unknown): AppError {
  return new AppError(
    "unreadable-journal",
    ExitCode.storage,
    `the journal "${path}" cannot be read (${codeOf(cause) ?? "unknown"})`,
    { cause, hint: "Check its owner and mode." },
  );
}
