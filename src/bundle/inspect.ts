import type { DecryptionKeys } from "./encryption.ts";
import type { BundleHeader } from "./format.ts";
import { readBundle } from "./reader.ts";

export interface InspectedTable {
  readonly table: string;
  readonly rows: number;
  /** Of the rows' lines, before compression. */
  readonly bytes: number;
}

export interface InspectedBundle {
  readonly header: BundleHeader;
  readonly layout: "jsonl" | "json";
  readonly tables: readonly InspectedTable[];
  readonly rows: number;
  /** Of all rows' lines. */
  readonly bytes: number;
  /** As stored, after compression. */
  readonly storedBytes: number;
}

/**
 * Reads a bundle through: its frame, counts and hashes are checked, its rows are not looked into.
 *
 * @throws {AppError} exit 3 when it is not complete and unchanged, 6 when it is encrypted and no key fits
 */
export async function inspectBundle(
  source: AsyncIterable<Uint8Array>,
  options: {
    readonly name: string;
    readonly maxRowBytes: number;
    readonly keys?: DecryptionKeys;
    readonly onRows?: (table: string, rows: number) => void;
  },
): Promise<InspectedBundle> {
  let storedBytes = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      storedBytes += chunk.length;
      yield chunk;
    }
  }
  const tables: InspectedTable[] = [];
  let opening: { header: BundleHeader; layout: "jsonl" | "json" } | undefined;
  let bytes = 0;
  let tableBytes = new Map<string, number>();
  for await (const part of readBundle(counted(), options)) {
    switch (part.kind) {
      case "header":
        opening = part;
        tableBytes = new Map(part.header.tables.map((table) => [table.name, 0]));
        break;
      case "rows":
        bytes += part.bytes.length;
        tableBytes.set(part.table.name, (tableBytes.get(part.table.name) ?? 0) + part.bytes.length);
        options.onRows?.(part.table.name, part.count);
        break;
      case "end":
        tables.push({
          table: part.end.table,
          rows: part.end.rows,
          bytes: tableBytes.get(part.end.table) ?? 0,
        });
        break;
      case "table":
      case "trailer":
        break;
    }
  }
  if (opening === undefined) throw new Error("the reader accepted a bundle without a header");
  return {
    header: opening.header,
    layout: opening.layout,
    tables,
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
    bytes,
    storedBytes,
  };
}
