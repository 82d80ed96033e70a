import { AppError, ExitCode } from "../errors.ts";

const lineFeed = 0x0a;

/** Where a batch of lines lies in its stream, for messages. */
export interface LineLimits {
  /** The longest line, in bytes, its line end included. */
  readonly maxLine: number;
  /** Batches are at least this many bytes, except the last. */
  readonly batch: number;
  /** Whose rows they are, for messages, where that is known. */
  readonly table?: string;
}

/**
 * Regroups chunks into batches of whole lines. A last line without its line end is handed on
 * as it is, so that the caller can say what is missing. Holds one batch and one line at most.
 *
 * @throws {AppError} exit 3 when a line is longer than allowed.
 */
export async function* completeLines(
  chunks: AsyncIterable<Uint8Array>,
  limits: LineLimits,
): AsyncGenerator<Buffer> {
  let ready: Buffer[] = [];
  let readyBytes = 0;
  let tail: Buffer[] = [];
  let tailBytes = 0;
  for await (const chunk of chunks) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const cut = bytes.lastIndexOf(lineFeed) + 1;
    if (cut > 0) {
      ready.push(...tail, bytes.subarray(0, cut));
      readyBytes += tailBytes + cut;
      tail = [];
      tailBytes = 0;
    }
    if (cut < bytes.length) {
      tail.push(bytes.subarray(cut));
      tailBytes += bytes.length - cut;
    }
    if (tailBytes > limits.maxLine) throw lineTooLong(limits.maxLine, limits.table);
    if (readyBytes >= limits.batch) {
      yield joined(ready);
      ready = [];
      readyBytes = 0;
    }
  }
  if (readyBytes > 0) yield joined(ready);
  if (tailBytes > 0) yield joined(tail);
}

function joined(parts: readonly Buffer[]): Buffer {
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
}

/** The number of lines in a batch; a rest without a line end does not count. */
export function countLines(batch: Buffer, maxLine: number, table?: string): number {
  let count = 0;
  for (let start = 0; ; ) {
    const end = batch.indexOf(lineFeed, start);
    if (end < 0) return count;
    if (end + 1 - start > maxLine) throw lineTooLong(maxLine, table);
    start = end + 1;
    count += 1;
  }
}

export function endsWithLineFeed(bytes: Buffer): boolean {
  return bytes.length > 0 && bytes[bytes.length - 1] === lineFeed;
}

function lineTooLong(maxLine: number, table: string | undefined): AppError {
  return new AppError(
    "row-too-long",
    ExitCode.invalidInput,
    `a row${table === undefined ? "" : ` of table "${table}"`} is longer than ${maxLine} bytes`,
    { hint: "Give a higher limit with --max-row-size, such as --max-row-size 256MiB." },
  );
}
