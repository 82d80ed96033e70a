import { isDeepStrictEqual } from "node:util";
import { AppError } from "../errors.ts";
import type { DecryptionKeys } from "./encryption.ts";
import { type Finding, FindingList, type FurtherFindings } from "./findings.ts";
import type { BundleHeader, BundleTable, JsonSchema } from "./format.ts";
import { readBundle } from "./reader.ts";
import { withoutNotes } from "./row-schema.ts";
import {
  createRowValidator,
  type Row,
  type RowValidator,
  requirePlainSchema,
} from "./row-validator.ts";
import { RowValues } from "./row-values.ts";
import { shippedTables } from "./shipped-schemas.ts";
import { ChainCheck, type ChainCount } from "./verify-chain.ts";
import { ReferenceCheck } from "./verify-references.ts";

export interface VerifyOptions {
  /** How messages call the bundle. */
  readonly name: string;
  readonly maxRowBytes: number;
  readonly keys?: DecryptionKeys;
  readonly onRows?: (table: string, rows: number) => void;
}

export interface VerifiedBundle {
  readonly header: BundleHeader;
  readonly tables: readonly { readonly table: string; readonly rows: number }[];
  readonly rows: number;
  readonly chains: readonly ChainCount[];
  /** What does not hold; at most twenty of each kind at each place. */
  readonly findings: readonly Finding[];
  readonly further: readonly FurtherFindings[];
  readonly found: number;
  /** Noteworthy, and no reason to distrust the bundle. */
  readonly notes: readonly string[];
}

/**
 * Checks a bundle without a database: its frame, counts and hashes; every row against the schema
 * in the header; keys; references inside the bundle; JSON texts; links of hash chains. Holds
 * one batch of rows, and about 20 bytes for each key that is referred to.
 *
 * @throws {AppError} exit 3 when the bundle is not complete and unchanged, so that nothing in it
 *   can be relied on; 6 when it is encrypted and no key fits
 */
export async function verifyBundle(
  source: AsyncIterable<Uint8Array>,
  options: VerifyOptions,
): Promise<VerifiedBundle> {
  const findings = new FindingList();
  const tables: { readonly table: string; readonly rows: number }[] = [];
  const sections: SectionCheck[] = [];
  let opening: { readonly header: BundleHeader; readonly references: ReferenceCheck } | undefined;
  for await (const part of readBundle(source, options)) {
    switch (part.kind) {
      case "header":
        opening = { header: part.header, references: new ReferenceCheck(part.header, findings) };
        break;
      case "table":
        if (opening === undefined) throw new Error("a section came before the header");
        sections.at(-1)?.end();
        sections.push(new SectionCheck(part.table, opening.references, findings, options));
        break;
      case "rows":
        sections.at(-1)?.rows(part.bytes, part.firstRow);
        options.onRows?.(part.table.name, part.count);
        break;
      case "end":
        tables.push({ table: part.end.table, rows: part.end.rows });
        break;
      case "trailer":
        sections.at(-1)?.end();
        break;
    }
  }
  if (opening === undefined) throw new Error("the reader accepted a bundle without a header");
  opening.references.endOfBundle();
  return Object.freeze({
    header: opening.header,
    tables,
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
    chains: sections.flatMap((section) => section.chain ?? []),
    findings: findings.listed,
    further: findings.further,
    found: findings.total,
    notes: schemaNotes(opening.header),
  });
}

/** Everything that is checked of one table's rows. */
class SectionCheck {
  readonly #table: BundleTable;
  readonly #references: ReferenceCheck;
  readonly #findings: FindingList;
  readonly #validator: RowValidator;
  readonly #jsonColumns: readonly string[];
  readonly #chain: ChainCheck | undefined;

  constructor(
    table: BundleTable,
    references: ReferenceCheck,
    findings: FindingList,
    options: VerifyOptions,
  ) {
    requirePlainSchema(table.name, table.schema);
    this.#table = table;
    this.#references = references;
    this.#findings = findings;
    this.#validator = createRowValidator(table.name, table.schema, options.maxRowBytes);
    this.#jsonColumns = Object.entries(propertiesOf(table))
      .filter(([, schema]) => schema.contentMediaType === "application/json")
      .map(([name]) => name);
    this.#chain =
      table.chain === undefined ? undefined : new ChainCheck(table, table.chain, findings);
  }

  get chain(): ChainCount | undefined {
    return this.#chain?.counts;
  }

  rows(batch: Buffer, firstRow: number): void {
    const values = new RowValues(batch, firstRow, this.#table);
    const visit = (row: Row, number: number) => this.#row(row, number, values);
    let number = firstRow;
    for (let rest = batch; rest.length > 0; ) {
      try {
        this.#validator.check(rest, number, visit);
        return;
      } catch (error) {
        // The validator stops at the first row that does not fit; the others are checked too.
        const bad = invalidRowNumber(error);
        if (bad === undefined || !(error instanceof AppError)) throw error;
        const { name } = this.#table;
        this.#findings.add({
          kind: "invalid-row",
          table: name,
          row: bad,
          columns: [],
          message: error.message,
        });
        for (; number <= bad; number += 1) rest = rest.subarray(rest.indexOf(lineFeed) + 1);
      }
    }
  }

  end(): void {
    this.#references.endOfTable(this.#table.name);
  }

  #row(row: Row, number: number, values: RowValues): void {
    this.#references.row(this.#table, row, number, values);
    this.#chain?.row(row, number, values);
    for (const column of this.#jsonColumns) {
      const text = row[column];
      if (typeof text === "string" && !isJson(text)) {
        this.#findings.add({
          kind: "invalid-json",
          table: this.#table.name,
          row: number,
          columns: [column],
          message: `row ${number} of table "${this.#table.name}": column "${column}" does not hold JSON`,
        });
      }
    }
  }
}

const lineFeed = 0x0a;

function invalidRowNumber(error: unknown): number | undefined {
  if (!(error instanceof AppError) || error.code !== "invalid-row") return undefined;
  const { row } = error.data;
  return typeof row === "number" ? row : undefined;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Columns whose schema in the header is another than the one shipped for the profile. */
function schemaNotes(header: BundleHeader): readonly string[] {
  const shipped = shippedTables(header.profile);
  return header.tables.flatMap((table) => {
    const known = shipped.get(table.name)?.properties;
    if (known === undefined) return [];
    return Object.entries(propertiesOf(table)).flatMap(([name, schema]) => {
      const expected = Object.hasOwn(known, name) ? known[name] : undefined;
      if (expected === undefined) {
        return [`column "${table.name}.${name}" is not in the profile's schema`];
      }
      return isDeepStrictEqual(withoutNotes(expected), withoutNotes(schema))
        ? []
        : [`column "${table.name}.${name}" has another schema than the profile's`];
    });
  });
}

function propertiesOf(table: BundleTable): Readonly<Record<string, JsonSchema>> {
  return (table.schema.properties ?? {}) as Readonly<Record<string, JsonSchema>>;
}
