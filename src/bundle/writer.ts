import { createHash } from "node:crypto";
import { AppError, ExitCode } from "../errors.ts";
import {
  type BundleHeader,
  endLine,
  headerLine,
  markerKeys,
  type TableEnd,
  tableLine,
  trailerLine,
} from "./format.ts";
import { completeLines, countLines, endsWithLineFeed } from "./lines.ts";
import { createRowValidator } from "./row-validator.ts";

export type BundleLayout = "jsonl" | "json";

export interface BundleSection {
  readonly table: string;
  /** The rows' lines in key order, in chunks that need not respect line ends. */
  readonly rows: AsyncIterable<Uint8Array>;
  /** How many rows the server says it sent; asked for after the last chunk. */
  expectedRows(): number;
}

export interface WriteOptions {
  readonly layout: BundleLayout;
  readonly validate: boolean;
  readonly maxRowBytes: number;
  /** Called as rows pass, with the number of rows and bytes since the last call. */
  readonly onRows?: (table: string, rows: number, bytes: number) => void;
  readonly onEnd?: (end: TableEnd) => void;
}

const batchBytes = 128 * 1024;

/**
 * The bytes of a bundle, from its header to its trailer. Each byte is hashed once: rows for
 * their table's end marker, everything else for the trailer.
 *
 * @throws {AppError} exit 3 when a row does not fit its schema, exit 7 when the server sent
 *   fewer rows than it said
 */
export async function* writeBundle(
  header: BundleHeader,
  sections: AsyncIterable<BundleSection>,
  options: WriteOptions,
): AsyncGenerator<Uint8Array> {
  const layout = options.layout === "json" ? documentLayout : linesLayout;
  const outer = createHash("sha256");
  const ends: TableEnd[] = [];
  const opening = headerLine(header);
  outer.update(opening);
  yield Buffer.from(layout.header(opening));
  for await (const section of sections) {
    const start = tableLine(section.table);
    outer.update(start);
    yield Buffer.from(layout.tableStart(start, section.table, ends.length));
    const end = yield* writeRows(header, section, layout, options);
    const closing = endLine(end);
    outer.update(closing);
    ends.push(end);
    options.onEnd?.(end);
    yield Buffer.from(layout.tableEnd(closing));
  }
  const rows = ends.reduce((sum, end) => sum + end.rows, 0);
  const trailer = trailerLine({ tables: ends.length, rows, sha256: outer.digest("hex") });
  yield Buffer.from(layout.trailer(trailer, ends));
}

async function* writeRows(
  header: BundleHeader,
  section: BundleSection,
  layout: Layout,
  options: WriteOptions,
): AsyncGenerator<Uint8Array, TableEnd> {
  const table = header.tables.find((entry) => entry.name === section.table);
  if (table === undefined) throw new Error(`section ${section.table} is not in the header`);
  refuseAmbiguousRows(table.name, table.columns[0]?.name);
  const validator = options.validate
    ? createRowValidator(table.name, table.schema, options.maxRowBytes)
    : undefined;
  const hash = createHash("sha256");
  const limits = { maxLine: options.maxRowBytes, batch: batchBytes, table: table.name };
  let rows = 0;
  for await (const batch of completeLines(section.rows, limits)) {
    if (!endsWithLineFeed(batch)) throw incompleteCopy(table.name);
    hash.update(batch);
    const count =
      validator?.check(batch, rows + 1) ?? countLines(batch, options.maxRowBytes, table.name);
    yield* layout.rows(batch, rows === 0);
    rows += count;
    options.onRows?.(table.name, count, batch.length);
  }
  yield* layout.afterRows(rows);
  if (rows !== section.expectedRows()) throw incompleteCopy(table.name);
  return { table: table.name, rows, sha256: hash.digest("hex") };
}

/** A row is told from a marker by its first key. */
function refuseAmbiguousRows(table: string, firstColumn: string | undefined): void {
  if (!markerKeys.some((key) => key === firstColumn)) return;
  throw new AppError(
    "reserved-column-name",
    ExitCode.usage,
    `the first column of table "${table}" is named "${firstColumn}", which the bundle format reserves`,
    { hint: "Rename the column, or put another column before it." },
  );
}

function incompleteCopy(table: string): AppError {
  return new AppError(
    "incomplete-copy",
    ExitCode.database,
    `the server sent table "${table}" incompletely`,
    { hint: "The connection was cut; run the export again." },
  );
}

/** The two ways to write the same lines; a document wraps them so that it is one JSON value. */
interface Layout {
  header(line: string): string;
  tableStart(line: string, table: string, index: number): string;
  rows(batch: Buffer, first: boolean): Iterable<Uint8Array>;
  afterRows(rows: number): Iterable<Uint8Array>;
  tableEnd(line: string): string;
  trailer(line: string, ends: readonly TableEnd[]): string;
}

const linesLayout: Layout = {
  header: (line) => line,
  tableStart: (line) => line,
  rows: (batch) => [batch],
  afterRows: () => [],
  tableEnd: (line) => line,
  trailer: (line) => line,
};

const lineFeed = Buffer.from("\n");
const separator = Buffer.from(",\n");

const documentLayout: Layout = {
  header: (line) => `${line.slice(0, -2)},\n"tables":{\n`,
  tableStart: (_line, table, index) => `${index === 0 ? "" : ",\n"}${JSON.stringify(table)}:[\n`,
  *rows(batch, first) {
    if (!first) yield separator;
    // Each line but the last of all gets a comma; the one of this batch waits for the next.
    const lines = batch.toString("utf8", 0, batch.length - 1).replaceAll("\n", ",\n");
    yield Buffer.from(lines);
  },
  afterRows: (rows) => (rows === 0 ? [] : [lineFeed]),
  tableEnd: () => "]",
  trailer: (line, ends) => {
    const list = ends.map((end) => endLine(end).slice('{"$end":'.length, -2)).join(",\n");
    const opening = ends.length === 0 ? "" : "\n";
    return `${opening}},\n"$end":[\n${list}${opening}],\n${line.slice(1)}`;
  },
};
