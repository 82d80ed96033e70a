import type { BundleTable } from "./format.ts";
import type { Row } from "./row-validator.ts";

const lineFeed = 0x0a;

/**
 * The values of one batch's rows as texts that are equal when PostgreSQL calls them equal.
 * Numbers that a double cannot hold are read from the row's line itself.
 */
export class RowValues {
  readonly #batch: Buffer;
  readonly #adapt: ReadonlyMap<string, (text: string) => string>;
  #number: number;
  #start = 0;

  constructor(batch: Buffer, firstRow: number, table: BundleTable) {
    this.#batch = batch;
    this.#number = firstRow;
    this.#adapt = adaptations(table);
  }

  /** Undefined for NULL; `number` must not decrease from call to call. */
  text(row: Row, number: number, column: string): string | undefined {
    const value = Object.hasOwn(row, column) ? row[column] : undefined;
    switch (typeof value) {
      case "string":
        return this.#adapt.get(column)?.(value) ?? value;
      case "number":
        return Number.isSafeInteger(value) ? String(value) : this.#source(number, column);
      case "boolean":
        return String(value);
      default:
        return undefined;
    }
  }

  /** All columns, or undefined when one of them is NULL: such a key refers to nothing. */
  tuple(row: Row, number: number, columns: readonly string[]): readonly string[] | undefined {
    const parts: string[] = [];
    for (const column of columns) {
      const text = this.text(row, number, column);
      if (text === undefined) return undefined;
      parts.push(text);
    }
    return parts;
  }

  #source(number: number, column: string): string | undefined {
    for (; this.#number < number; this.#number += 1) {
      this.#start = this.#batch.indexOf(lineFeed, this.#start) + 1;
    }
    const end = this.#batch.indexOf(lineFeed, this.#start);
    let source: string | undefined;
    JSON.parse(this.#batch.toString("utf8", this.#start, end), ((
      key: string,
      value: unknown,
      context: { readonly source?: string },
    ) => {
      if (key === column) source = context.source;
      return value;
    }) as (key: string, value: unknown) => unknown);
    return source;
  }
}

/** Types whose equality is wider than that of their texts. */
function adaptations(table: BundleTable): ReadonlyMap<string, (text: string) => string> {
  return new Map(
    table.columns.flatMap((column) => {
      if (/^character(\(|$)/.test(column.type)) {
        return [[column.name, (text: string) => text.replace(/ +$/, "")] as const];
      }
      return /(^|\.)citext$/.test(column.type)
        ? [[column.name, (text: string) => text.toLowerCase()] as const]
        : [];
    }),
  );
}
