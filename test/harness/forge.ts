import { buffer } from "node:stream/consumers";
import type { BundleHeader } from "../../src/bundle/format.ts";
import { defaultMaxRowBytes } from "../../src/bundle/format.ts";
import { type BundleSection, writeBundle } from "../../src/bundle/writer.ts";
import { readWholeBundle } from "./tenant-bundle.ts";

/** Numbers are kept as their own text, so that no digit is lost on the way. */
export type ForgedRow = Record<string, unknown>;

export interface Forgery {
  readonly header?: (header: BundleHeader) => BundleHeader;
  /** By table without schema: what becomes of its rows. */
  readonly rows?: Readonly<Record<string, (rows: ForgedRow[]) => ForgedRow[]>>;
  /** By table without schema: what becomes of its rows' lines. */
  readonly lines?: Readonly<Record<string, (lines: readonly string[]) => readonly string[]>>;
}

/** The bundle with other content, and with counts and hashes that are right for it. */
export async function forge(bytes: Uint8Array, forgery: Forgery): Promise<Buffer> {
  const bundle = await readWholeBundle(bytes);
  const header = forgery.header?.(bundle.header) ?? bundle.header;
  async function* sections(): AsyncGenerator<BundleSection> {
    for (const { name } of header.tables) {
      let lines = bundle.tables.find((table) => table.name === name)?.lines ?? [];
      const short = name.replace(/^public\./, "");
      const rows = forgery.rows?.[short];
      if (rows !== undefined) lines = rows(lines.map(parseRow)).map((row) => JSON.stringify(row));
      lines = forgery.lines?.[short]?.(lines) ?? lines;
      const chunk = Buffer.from(lines.map((line) => `${line}\n`).join(""));
      yield {
        table: name,
        rows: (async function* () {
          if (chunk.length > 0) yield chunk;
        })(),
        expectedRows: () => lines.length,
      };
    }
  }
  return buffer(
    writeBundle(header, sections(), {
      layout: "jsonl",
      validate: false,
      maxRowBytes: defaultMaxRowBytes,
    }),
  );
}

/** Changes columns of the first row, or of the row that `where` picks. */
export function edit(
  change: ForgedRow,
  where: (row: ForgedRow) => boolean = () => true,
): (rows: ForgedRow[]) => ForgedRow[] {
  return (rows) => {
    const at = rows.findIndex(where);
    if (at < 0) throw new Error("no row to forge");
    return rows.with(at, { ...rows[at], ...change });
  };
}

function parseRow(line: string): ForgedRow {
  const exact = JSON as unknown as { rawJSON(text: string): unknown };
  return JSON.parse(line, ((_key: string, value: unknown, context: { source?: string }) =>
    typeof value === "number" ? exact.rawJSON(context.source ?? "") : value) as (
    key: string,
    value: unknown,
  ) => unknown) as ForgedRow;
}
