import { jsonParser, type Token } from "stream-json/core/parser.js";
import { AppError, ExitCode } from "../errors.ts";

export interface TokenSink {
  token(token: Token): void;
  /** Where in the document the last token stood: `audit_events[12].action`. */
  place(): string;
  /** Called now and then, so that what was collected can be written away. */
  settle(): Promise<void>;
}

/** Texts are parsed in pieces, so that an error's place is known to a few lines. */
const pieceLength = 1024;

/**
 * Hands the tokens of one JSON document to a sink, strings and numbers in parts, so that neither a
 * long document nor a long string is held. Its syntax is checked to the end.
 *
 * @param name how messages call the document
 * @throws {AppError} exit 3 when it is no JSON, with its place
 */
export async function tokenizeDocument(
  source: AsyncIterable<Uint8Array>,
  name: string,
  sink: TokenSink,
): Promise<void> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const parse = jsonParser({ packValues: false });
  let line = 1;
  let empty = true;
  const feed = (piece: string) => {
    const lines = countLineFeeds(piece);
    let tokens: ReturnType<typeof parse>;
    try {
      tokens = parse(piece);
    } catch (cause) {
      throw notJson(name, sink, line, line + lines, cause);
    }
    line += lines;
    // A symbol stands for no tokens.
    if (typeof tokens === "symbol") return;
    empty = false;
    for (const token of tokens.values) sink.token(token);
  };
  const decode = (chunk: Uint8Array | undefined) => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch (cause) {
      throw invalid(name, `is not UTF-8, at or after line ${line}${within(sink)}`, cause);
    }
  };
  for await (const chunk of source) {
    for (const piece of pieces(decode(chunk))) feed(piece);
    await sink.settle();
  }
  // White space ends what could go on; the sink knows whether all brackets are closed.
  feed(`${decode(undefined)}\n`);
  if (empty) throw invalid(name, "is empty");
  await sink.settle();
}

/** Ends where lines end, where that is possible. */
function* pieces(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    const feedAt = text.indexOf("\n", start + pieceLength);
    const end = feedAt < 0 ? text.length : feedAt + 1;
    for (; end - start > 64 * pieceLength; start += 64 * pieceLength) {
      yield text.slice(start, start + 64 * pieceLength);
    }
    yield text.slice(start, end);
    start = end;
  }
}

function countLineFeeds(text: string): number {
  let count = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) count += 1;
  return count;
}

function within(sink: TokenSink): string {
  const place = sink.place();
  return place === "" ? "" : `, after ${place}`;
}

/** For a document that ends before its last bracket is closed. */
export function incompleteDocument(name: string, place: string): AppError {
  return new AppError(
    "incomplete-document",
    ExitCode.invalidInput,
    `${name} is incomplete: it ends ${place === "" ? "at its beginning" : `in or after ${place}`}`,
    {
      hint: "Take another copy of the document; this one was cut while it was written or copied.",
    },
  );
}

function notJson(
  name: string,
  sink: TokenSink,
  first: number,
  last: number,
  cause: unknown,
): AppError {
  const lines = first === last ? `at line ${first}` : `between lines ${first} and ${last}`;
  return invalid(name, `is not valid JSON ${lines}${within(sink)}`, cause);
}

function invalid(name: string, what: string, cause?: unknown): AppError {
  return new AppError("invalid-document", ExitCode.invalidInput, `${name} ${what}`, {
    hint: "Give a state document as N-Kudo writes it: one JSON object, neither compressed nor encrypted.",
    ...(cause === undefined ? {} : { cause }),
  });
}
