import { createHash } from "node:crypto";
import { AppError, ExitCode, retold } from "../errors.ts";
import type { DecryptionKeys, Opener } from "./encryption.ts";
import {
  type BundleHeader,
  type BundleTable,
  defaultMaxRowBytes,
  endLine,
  formatVersion,
  maxMarkerBytes,
  type TableEnd,
  type Trailer,
  tableLine,
  trailerLine,
} from "./format.ts";
import { withoutLayers } from "./layers.ts";
import { countLines } from "./lines.ts";
import { checkDocument, type DocumentKind } from "./shipped-schemas.ts";
import { tokenize } from "./tokens.ts";

/** What a bundle holds, in the order in which it stands there. */
export type BundlePart =
  | { readonly kind: "header"; readonly header: BundleHeader; readonly layout: "jsonl" | "json" }
  | { readonly kind: "table"; readonly table: BundleTable }
  | {
      readonly kind: "rows";
      readonly table: BundleTable;
      /** Whole lines. */
      readonly bytes: Buffer;
      /** The number of the first of them in its table, from 1. */
      readonly firstRow: number;
      readonly count: number;
    }
  | { readonly kind: "end"; readonly end: TableEnd }
  | { readonly kind: "trailer"; readonly trailer: Trailer };

export interface ReadOptions {
  /** How messages call the bundle. */
  readonly name: string;
  readonly maxRowBytes?: number;
  /** What may open a bundle that is encrypted. */
  readonly keys?: DecryptionKeys | undefined;
  /** Hears what has opened the bundle, before its header comes. */
  readonly onOpened?: (opener: Opener) => void;
}

/**
 * Reads a bundle, taking off its layers, and checks its frame: each table of the header once
 * and in order, counts, hashes, and nothing after the trailer. Rows are handed on before
 * their hash is known, so nothing may be done with them that cannot be taken back until the
 * trailer has come. The rows themselves are not looked into.
 *
 * @throws {AppError} exit 3 with the place, for any bundle that is not complete and unchanged; 6
 *   when it is encrypted and no key fits
 */
export async function* readBundle(
  source: AsyncIterable<Uint8Array>,
  options: ReadOptions,
): AsyncGenerator<BundlePart> {
  const maxRowBytes = options.maxRowBytes ?? defaultMaxRowBytes;
  const { layout, tokens } = await tokenize(
    withoutLayers(source, options.name, options.keys, options.onOpened),
    options.name,
    maxRowBytes,
  );
  const frame = new BundleFrame(options.name, layout, maxRowBytes);
  try {
    for await (const token of tokens) {
      switch (token.kind) {
        case "header":
          yield { kind: "header", header: frame.header(token.line), layout };
          break;
        case "table":
          yield { kind: "table", table: frame.table(token.line) };
          break;
        case "rows":
          yield frame.rows(token.bytes);
          break;
        case "end":
          yield { kind: "end", end: frame.end(token.line) };
          break;
        case "trailer":
          yield { kind: "trailer", trailer: frame.trailer(token.line) };
          break;
      }
    }
  } catch (error) {
    throw frame.placed(error);
  }
  frame.finish();
}

interface OpenTable {
  readonly table: BundleTable;
  readonly hash: ReturnType<typeof createHash>;
  rows: number;
}

/** The checks that hold for the order, the counts and the hashes of a bundle's parts. */
class BundleFrame {
  readonly #name: string;
  readonly #layout: "jsonl" | "json";
  readonly #maxRowBytes: number;
  #header: BundleHeader | undefined;
  #headerLine = "";
  readonly #started: OpenTable[] = [];
  readonly #ends: TableEnd[] = [];
  #line = 0;
  #complete = false;

  constructor(name: string, layout: "jsonl" | "json", maxRowBytes: number) {
    this.#name = name;
    this.#layout = layout;
    this.#maxRowBytes = maxRowBytes;
  }

  header(line: string): BundleHeader {
    this.#step(line);
    if (this.#header !== undefined) throw this.#corrupt("a second header stands there");
    const body = this.#parse(line, "$bundle");
    const format = isRecord(body) ? body.format : undefined;
    if (typeof format === "number" && Number.isInteger(format) && format > formatVersion) {
      throw new AppError(
        "newer-format",
        ExitCode.invalidInput,
        `${this.#name} has bundle format ${format}; this version of pgtenant reads up to ${formatVersion}`,
        {
          hint: "Use the version of pgtenant that wrote the bundle, or a newer one.",
          data: { format, line: this.#line },
        },
      );
    }
    this.#requireValid("bundle-header", body);
    const header = body as BundleHeader;
    const names = new Set(header.tables.map((table) => table.name));
    if (names.size !== header.tables.length) throw this.#corrupt("the header names a table twice");
    this.#header = header;
    this.#headerLine = line;
    return header;
  }

  table(line: string): BundleTable {
    this.#step(line);
    const header = this.#requireOpen();
    if (this.#layout === "jsonl") this.#requireEnded();
    const expected = header.tables[this.#started.length];
    if (expected === undefined || line !== tableLine(expected.name)) {
      const body = this.#parse(line, "$table");
      this.#requireValid("table-marker", body);
      const found = `section "${String(body)}" stands there`;
      throw this.#corrupt(
        expected === undefined
          ? `${found}, but no further table should follow`
          : `${found}, but section "${expected.name}" should`,
      );
    }
    this.#started.push({ table: expected, hash: createHash("sha256"), rows: 0 });
    return expected;
  }

  rows(bytes: Buffer): BundlePart {
    const open = this.#started.at(-1);
    if (open === undefined || this.#started.length === this.#ends.length || this.#complete) {
      this.#line += 1;
      throw this.#corrupt("a row stands there, but outside of any table's section");
    }
    open.hash.update(bytes);
    const count = countLines(bytes, this.#maxRowBytes);
    const firstRow = open.rows + 1;
    open.rows += count;
    this.#line += count;
    return { kind: "rows", table: open.table, bytes, firstRow, count };
  }

  end(line: string): TableEnd {
    this.#step(line);
    this.#requireOpen();
    const open = this.#started[this.#ends.length];
    if (open === undefined) throw this.#corrupt("a section ends there that has not begun");
    const actual: TableEnd = {
      table: open.table.name,
      rows: open.rows,
      sha256: open.hash.digest("hex"),
    };
    if (line !== endLine(actual)) throw this.#wrongEnd(line, actual);
    this.#ends.push(actual);
    return actual;
  }

  #wrongEnd(line: string, actual: TableEnd): AppError {
    const body = this.#parse(line, "$end");
    this.#requireValid("table-end", body);
    const claimed = body as TableEnd;
    if (claimed.table !== actual.table) {
      return this.#corrupt(
        `the end of "${claimed.table}" stands there, but that of "${actual.table}" should`,
      );
    }
    return claimed.rows === actual.rows
      ? this.#corrupt(
          `the ${actual.rows} rows of table "${actual.table}" are not those that were written (SHA-256 differs)`,
        )
      : this.#corrupt(
          `table "${actual.table}" has ${actual.rows} rows, ${claimed.rows} were written`,
        );
  }

  trailer(line: string): Trailer {
    this.#step(line);
    const header = this.#requireOpen();
    if (this.#started.length < header.tables.length) {
      throw this.#corrupt(`section "${header.tables[this.#started.length]?.name}" is missing`);
    }
    this.#requireEnded();
    const outer = createHash("sha256").update(this.#headerLine);
    for (const end of this.#ends) outer.update(tableLine(end.table)).update(endLine(end));
    const trailer: Trailer = {
      tables: this.#ends.length,
      rows: this.#ends.reduce((sum, end) => sum + end.rows, 0),
      sha256: outer.digest("hex"),
    };
    if (line !== trailerLine(trailer)) {
      const body = this.#parse(line, "$trailer");
      this.#requireValid("bundle-trailer", body);
      throw this.#corrupt(
        "the header or a marker is not what was written (the trailer's SHA-256 or counts differ)",
      );
    }
    this.#complete = true;
    return trailer;
  }

  finish(): void {
    if (this.#complete) return;
    throw new AppError(
      "incomplete-bundle",
      ExitCode.invalidInput,
      `${this.#name} is incomplete: it ends ${this.#place()}`,
      {
        hint: "Take another copy of the bundle; this one was cut while it was written or copied.",
        data: this.#placeData(),
      },
    );
  }

  /** An error of a layer below, such as the compression's, with how far reading had come. */
  placed(error: unknown): unknown {
    if (!(error instanceof AppError) || error.data.line !== undefined) return error;
    return retold(error, {
      message: `${error.message}, ${this.#place()}`,
      data: { ...error.data, ...this.#placeData() },
    });
  }

  /** Rows come in batches, so that a place is only as exact as those. */
  #place(): string {
    const last = this.#started.at(-1);
    const where =
      last === undefined
        ? "before its first section"
        : `in or after table "${last.table.name}", row ${last.rows}`;
    return this.#layout === "jsonl" ? `after line ${this.#line}, ${where}` : where;
  }

  #placeData(): Readonly<Record<string, unknown>> {
    return { line: this.#line, table: this.#started.at(-1)?.table.name ?? null };
  }

  #step(line: string): void {
    this.#line += 1;
    if (this.#complete) throw this.#corrupt("something follows the trailer");
    if (line.length > maxMarkerBytes) throw this.#corrupt("a marker is too long");
  }

  #requireOpen(): BundleHeader {
    if (this.#header === undefined) throw this.#corrupt("the header is missing");
    return this.#header;
  }

  #requireEnded(): void {
    const open = this.#started[this.#ends.length];
    if (open !== undefined)
      throw this.#corrupt(`the end of section "${open.table.name}" is missing`);
  }

  #parse(line: string, key: string): unknown {
    try {
      const value: unknown = JSON.parse(line);
      if (isRecord(value) && Object.keys(value).length === 1 && Object.hasOwn(value, key)) {
        return value[key];
      }
    } catch {
      // Told below.
    }
    throw this.#corrupt(`the ${key} marker cannot be read`);
  }

  #requireValid(kind: DocumentKind, body: unknown): void {
    const { valid, problems } = checkDocument(kind, body);
    if (!valid)
      throw this.#corrupt(`the ${kind.replace("-", " ")} is invalid: ${problems[0] ?? ""}`);
  }

  #corrupt(what: string): AppError {
    const place =
      this.#layout === "jsonl" ? `at line ${this.#line}` : `at section ${this.#started.length}`;
    return new AppError(
      "corrupt-bundle",
      ExitCode.invalidInput,
      `${this.#name} is corrupt: ${place}, ${what}`,
      {
        hint: "Nothing of it was used. Take another copy of the bundle.",
        data: this.#placeData(),
      },
    );
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
