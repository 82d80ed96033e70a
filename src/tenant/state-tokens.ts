import { jsonParser, type Token } from "stream-json/core/parser.js";
import { AppError, ExitCode } from "../errors.ts";

export interface TokenSink {
  token(token: Token): void;
  /** Where in the document the last token stood: `audit_events[12].action`. */
  place(): string;
  /** Writes away what was collected, when it is much. */
  settle(): Promise<void>;
}

/** Texts are parsed line by line, so that an error's place is known. */
const longestPiece = 4096;
/** Longer strings would live until V8 collects all of its heap. */
const decodedBytes = 64 * 1024;
const bundleStart = '{"$bundle":';

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
    let tokens: ReturnType<typeof parse>;
    try {
      tokens = parse(piece);
    } catch (cause) {
      throw invalid(name, `is not valid JSON at line ${line}${within(sink)}`, cause);
    }
    if (piece.endsWith("\n")) line += 1;
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
  let head = "";
  let unsettled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += decodedBytes) {
      const text = decode(chunk.subarray(at, at + decodedBytes));
      if (head.length < bundleStart.length) {
        head += text.slice(0, bundleStart.length);
        if (head.startsWith(bundleStart)) throw isBundle(name);
      }
      for (const piece of pieces(text)) feed(piece);
      unsettled += text.length;
      if (unsettled < decodedBytes) continue;
      unsettled = 0;
      await sink.settle();
    }
  }
  // White space ends what could go on; the sink knows whether all brackets are closed.
  feed(`${decode(undefined)}\n`);
  if (empty) throw invalid(name, "is empty");
  await sink.settle();
}

function isBundle(name: string): AppError {
  return new AppError("not-a-document", ExitCode.usage, `${name} is a bundle already`, {
    hint: "Import it as it is: pgtenant import FILE --dry-run.",
  });
}

/** Lines, and parts of those that are long. */
function* pieces(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    const feedAt = text.indexOf("\n", start);
    const lineEnd = feedAt < 0 ? text.length : feedAt + 1;
    const end = Math.min(lineEnd, start + longestPiece);
    yield text.slice(start, end);
    start = end;
  }
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

function invalid(name: string, what: string, cause?: unknown): AppError {
  return new AppError("invalid-document", ExitCode.invalidInput, `${name} ${what}`, {
    hint: "Give a state document as N-Kudo writes it: one JSON object, neither compressed nor encrypted.",
    ...(cause === undefined ? {} : { cause }),
  });
}
