import { isUtf8 } from "node:buffer";
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
        yield { kind, line: markerText(batch.subarray(at, end), name) };
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

/** Decoding would put U+FFFD for what is no UTF-8, and so hide that it was altered. */
function markerText(line: Buffer, name: string): string {
  if (isUtf8(line)) return line.toString("utf8");
  throw new AppError(
    "corrupt-bundle",
    ExitCode.invalidInput,
    `${name} is corrupt: a marker is not UTF-8`,
    {
      hint: "Nothing of it was used. Take another copy of the bundle.",
    },
  );
}

function cutInside(name: string): AppError {
  return new AppError(
    "incomplete-bundle",
    ExitCode.invalidInput,
    `${name} is incomplete: its last line is cut short`,
    { hint: "Take another copy of the bundle; this one was cut while it was written or copied." },
  );
}

/** What a document's next line has to be. */
type DocumentPlace =
  | "header"
  | "tables"
  | "section"
  | "rows"
  | "tables end"
  | "ends"
  | "end"
  | "trailer"
  | "nothing";

async function* documentTokens(
  batches: AsyncIterable<Buffer>,
  name: string,
): AsyncGenerator<Token> {
  let place: DocumentPlace = "header";
  let number = 0;
  // A comma tells that another row, or another end, follows; the last one has none.
  let more = true;
  let isFirst = true;
  const unexpected = (): AppError =>
    new AppError(
      "corrupt-bundle",
      ExitCode.invalidInput,
      `${name} is corrupt: line ${number} is not what a JSON bundle has there`,
      {
        hint: "Take another copy of the bundle, as pgtenant export wrote it: one row a line.",
        data: { line: number },
      },
    );
  const require = (holds: boolean): void => {
    if (!holds) throw unexpected();
  };
  for await (const batch of batches) {
    let rows: Buffer[] = [];
    for (let start = 0; start < batch.length; ) {
      const end = batch.indexOf(lineFeed, start) + 1;
      if (end === 0) throw cutInside(name);
      const line = batch.subarray(start, end);
      start = end;
      number += 1;
      if (place === "rows") {
        if (line[0] === 0x7b /* { */ && more) {
          more = line.length > 2 && line[line.length - 2] === 0x2c; /* , */
          isFirst = false;
          rows.push(line.subarray(0, line.length - (more ? 2 : 1)), newLine);
          continue;
        }
        if (rows.length > 0) yield { kind: "rows", bytes: Buffer.concat(rows) };
        rows = [];
      }
      const text = markerText(line, name);
      switch (place) {
        case "header":
          require(text.endsWith(",\n"));
          yield { kind: "header", line: `${text.slice(0, -2)}}\n` };
          place = "tables";
          break;
        case "tables":
          require(text === '"tables":{\n');
          place = "section";
          break;
        case "section":
          yield { kind: "table", line: tableLineOf(text) ?? raise(unexpected()) };
          place = "rows";
          more = true;
          isFirst = true;
          break;
        case "rows":
          require(isFirst || !more);
          require(text === "],\n" || text === "]\n");
          place = text === "],\n" ? "section" : "tables end";
          break;
        case "tables end":
          require(text === "},\n");
          place = "ends";
          break;
        case "ends":
          require(text === '"$end":[\n');
          place = "end";
          more = true;
          break;
        case "end":
          if (more) {
            more = text.endsWith(",\n");
            yield { kind: "end", line: `{"$end":${text.slice(0, more ? -2 : -1)}}\n` };
          } else {
            require(text === "],\n");
            place = "trailer";
          }
          break;
        case "trailer":
          yield { kind: "trailer", line: `{${text}` };
          place = "nothing";
          break;
        case "nothing":
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
    return typeof table === "string" && text === `${JSON.stringify(table)}:[\n`
      ? `${JSON.stringify({ $table: table })}\n`
      : undefined;
  } catch {
    return undefined;
  }
}

function raise(error: AppError): never {
  throw error;
}
