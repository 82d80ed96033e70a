import { AppError, ExitCode } from "../errors.ts";
import { maxMarkerBytes } from "./format.ts";
import { completeLines, endsWithLineFeed } from "./lines.ts";

/**
 * A bundle's parts in the order they stand. Lines come as the JSON Lines layout has them,
 * line end included, also out of a JSON document: hashes are made of those.
 */
export type Token =
  | { readonly kind: "header" | "table" | "end" | "trailer"; readonly line: string }
  | { readonly kind: "rows"; readonly bytes: Buffer };

export interface TokenStream {
  readonly layout: "jsonl" | "json";
  readonly tokens: AsyncGenerator<Token>;
}

const batchBytes = 1024 * 1024;
const lineFeed = 0x0a;

/**
 * Splits a bundle in either layout into its parts, without judging them.
 *
 * @param name how messages call the bundle
 * @throws {AppError} exit 3 when it is neither layout of a bundle
 */
export async function tokenize(
  source: AsyncIterable<Uint8Array>,
  name: string,
  maxRowBytes: number,
): Promise<TokenStream> {
  const limits = { maxLine: Math.max(maxRowBytes, maxMarkerBytes), batch: batchBytes };
  const batches = completeLines(source, limits);
  const first = await batches.next();
  const head = first.done === true ? Buffer.alloc(0) : first.value;
  if (!head.subarray(0, 11).toString("latin1").startsWith('{"$bundle":')) {
    await batches.return(undefined);
    throw notABundle(name, head);
  }
  async function* all(): AsyncGenerator<Buffer> {
    yield head;
    yield* batches;
  }
  const headerEnd = head.indexOf(lineFeed);
  // The header of a document is followed by a comma instead of closing the value.
  const isDocument = headerEnd > 0 && head[headerEnd - 1] === 0x2c;
  return isDocument
    ? { layout: "json", tokens: documentTokens(all(), name) }
    : { layout: "jsonl", tokens: lineTokens(all(), name) };
}

function notABundle(name: string, head: Buffer): AppError {
  const start = head.subarray(0, 4096).toString("utf8").trimStart();
  const hint = start.startsWith("{")
    ? start.includes('"$bundle"')
      ? "It was reformatted, so its hashes can no longer be checked. Use the file as pgtenant export wrote it."
      : start.includes('"exported_at"')
        ? "This looks like a state document of N-Kudo's own tenant export, which is not a bundle."
        : 'A bundle\'s first line begins with {"$bundle":'
    : "Bundles are made by pgtenant export.";
  return new AppError("not-a-bundle", ExitCode.invalidInput, `${name} is not a pgtenant bundle`, {
    hint,
  });
}

const markers = [
  ["end", Buffer.from('{"$end":')],
  ["table", Buffer.from('{"$table":')],
  ["trailer", Buffer.from('{"$trailer":')],
  ["header", Buffer.from('{"$bundle":')],
] as const;

const markerStart = Buffer.from('\n{"$');

async function* lineTokens(batches: AsyncIterable<Buffer>, name: string): AsyncGenerator<Token> {
  for await (const batch of batches) {
    let at = 0;
    while (at < batch.length) {
      const kind = markerAt(batch, at);
      if (kind !== undefined) {
        const end = batch.indexOf(lineFeed, at) + 1;
        if (end === 0) throw cutInside(name);
        yield { kind, line: batch.toString("utf8", at, end) };
        at = end;
        continue;
      }
      const end = nextMarker(batch, at);
      const bytes = batch.subarray(at, end);
      if (!endsWithLineFeed(bytes)) throw cutInside(name);
      yield { kind: "rows", bytes };
      at = end;
    }
  }
}

function markerAt(batch: Buffer, at: number): (typeof markers)[number][0] | undefined {
  return markers.find(([, prefix]) => batch.subarray(at, at + prefix.length).equals(prefix))?.[0];
}

/** The start of the next line that is a marker, or the end of the batch. */
function nextMarker(batch: Buffer, from: number): number {
  for (let at = from; ; ) {
    const found = batch.indexOf(markerStart, at);
    if (found < 0) return batch.length;
    if (markerAt(batch, found + 1) !== undefined) return found + 1;
    at = found + 1;
  }
}

function cutInside(name: string): AppError {
  return new AppError(
    "incomplete-bundle",
    ExitCode.invalidInput,
    `${name} is incomplete: its last line is cut short`,
    { hint: "Take another copy of the bundle; this one was cut while it was written or copied." },
  );
}

/** Where in a document a line stands. */
type DocumentPlace = "header" | "tables" | "between" | "rows" | "ends" | "trailer" | "done";

async function* documentTokens(
  batches: AsyncIterable<Buffer>,
  name: string,
): AsyncGenerator<Token> {
  let place: DocumentPlace = "header";
  let number = 0;
  // A row's comma tells that another follows; the last row has none.
  let rowsMayFollow = true;
  const unexpected = (): AppError =>
    new AppError(
      "corrupt-bundle",
      ExitCode.invalidInput,
      `${name} is corrupt: line ${number} is not what a JSON bundle has there`,
      { hint: "Use the file as pgtenant export wrote it, one row a line." },
    );
  for await (const batch of batches) {
    let rows: Buffer[] = [];
    for (let start = 0; start < batch.length; ) {
      const end = batch.indexOf(lineFeed, start) + 1;
      if (end === 0) throw cutInside(name);
      const line = batch.subarray(start, end);
      start = end;
      number += 1;
      if (place === "rows") {
        const first = line[0];
        if (first === 0x7b /* { */ && rowsMayFollow) {
          rowsMayFollow = line.length > 2 && line[line.length - 2] === 0x2c; /* , */
          rows.push(line.subarray(0, line.length - (rowsMayFollow ? 2 : 1)), newLine);
          continue;
        }
        if (rows.length > 0) yield { kind: "rows", bytes: Buffer.concat(rows) };
        rows = [];
      }
      const text = line.toString("utf8");
      switch (place) {
        case "header":
          if (!text.endsWith(",\n")) throw unexpected();
          yield { kind: "header", line: `${text.slice(0, -2)}}\n` };
          place = "tables";
          break;
        case "tables":
          if (text !== '"tables":{\n') throw unexpected();
          place = "between";
          break;
        case "between":
          if (text === "},\n") place = "ends";
          else {
            yield { kind: "table", line: tableLineOf(text) ?? raise(unexpected()) };
            place = "rows";
            rowsMayFollow = true;
          }
          break;
        case "rows":
          if (text !== "],\n" && text !== "]\n") throw unexpected();
          place = "between";
          break;
        case "ends":
          if (text === "],\n") place = "trailer";
          else if (text !== '"$end":[\n') {
            const entry = text.endsWith(",\n") ? text.slice(0, -2) : text.slice(0, -1);
            yield { kind: "end", line: `{"$end":${entry}}\n` };
          }
          break;
        case "trailer":
          yield { kind: "trailer", line: `{${text}` };
          place = "done";
          break;
        case "done":
          throw unexpected();
      }
    }
    if (rows.length > 0) yield { kind: "rows", bytes: Buffer.concat(rows) };
  }
}

const newLine = Buffer.from("\n");

function tableLineOf(text: string): string | undefined {
  if (!text.endsWith(":[\n")) return undefined;
  try {
    const table: unknown = JSON.parse(text.slice(0, -3));
    return typeof table === "string" ? `${JSON.stringify({ $table: table })}\n` : undefined;
  } catch {
    return undefined;
  }
}

function raise(error: AppError): never {
  throw error;
}
