import type { FindingList } from "./findings.ts";
import type { BundleTable } from "./format.ts";
import type { Row } from "./row-validator.ts";
import type { RowValues } from "./row-values.ts";

/** What is known of a hash-chained table's links, each row's to the row before it. */
export interface ChainCount {
  readonly table: string;
  /** To the row before it in the bundle. */
  readonly holding: number;
  /** To a row that is not in the bundle, such as another tenant's; nothing can be said of it. */
  readonly leadingOutside: number;
  readonly broken: number;
  /** Rows from before the chain was introduced. */
  readonly unhashed: number;
}

/**
 * Follows the links of one table. The chain runs through all tenants' rows, so that a link to
 * another row than the one before is broken only where no row can lie between the two.
 */
export class ChainCheck {
  readonly #table: BundleTable;
  readonly #chain: NonNullable<BundleTable["chain"]>;
  readonly #findings: FindingList;
  #holding = 0;
  #leadingOutside = 0;
  #broken = 0;
  #unhashed = 0;
  #lastOwn: string | undefined;
  #lastOrder: bigint | undefined;

  constructor(table: BundleTable, chain: NonNullable<BundleTable["chain"]>, list: FindingList) {
    this.#table = table;
    this.#chain = chain;
    this.#findings = list;
  }

  row(row: Row, number: number, values: RowValues): void {
    const previous = values.text(row, number, this.#chain.previous);
    const own = values.text(row, number, this.#chain.own) || undefined;
    const order = toInteger(values.text(row, number, this.#chain.order));
    const adjacent =
      order !== undefined && this.#lastOrder !== undefined && order === this.#lastOrder + 1n;
    if (own === undefined) this.#unhashed += 1;
    else if (this.#lastOwn === undefined) this.#leadingOutside += 1;
    else if (previous === this.#lastOwn) this.#holding += 1;
    else if (adjacent) this.#fail(number);
    else this.#leadingOutside += 1;
    this.#lastOwn = own;
    this.#lastOrder = order;
  }

  get counts(): ChainCount {
    return Object.freeze({
      table: this.#table.name,
      holding: this.#holding,
      leadingOutside: this.#leadingOutside,
      broken: this.#broken,
      unhashed: this.#unhashed,
    });
  }

  #fail(row: number): void {
    this.#broken += 1;
    const { previous, own } = this.#chain;
    this.#findings.add({
      kind: "broken-chain",
      table: this.#table.name,
      row,
      columns: [previous],
      message: `row ${row} of table "${this.#table.name}" does not link to the row before it: its "${previous}" is not that row's "${own}"`,
    });
  }
}

function toInteger(text: string | undefined): bigint | undefined {
  return text !== undefined && /^-?\d+$/.test(text) ? BigInt(text) : undefined;
}
