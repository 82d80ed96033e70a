import { AppError, ExitCode } from "../errors.ts";
import { type StateRow, shown } from "./state-reader.ts";
import type { StateSpool } from "./state-spool.ts";
import type { StateColumn, StateTable } from "./state-tables.ts";
import { convertValue } from "./state-values.ts";

/** Stands raw in no JSON text, so it parts the values of a spooled row. */
const separator = "\x01";
/** Keys that nobody knows are named, up to so many of them. */
const mostNamed = 50;

/** The rows of one table, converted, and what was seen of each of its columns. */
export class StateRows {
  readonly table: StateTable;
  readonly spool: StateSpool;
  readonly #document: string;
  readonly #columns: ReadonlyMap<string, number>;
  readonly #withValue: number[];
  readonly #notEmpty: number[];
  readonly #firstWithout: (string | undefined)[];
  readonly #places: string;
  /** By key of the document: how many rows have it. */
  readonly unknown = new Map<string, number>();
  /** Rows that stay out, since what would restore them is not in the document. */
  leftOut = 0;
  /** Values with more than microseconds. */
  cut = 0;

  constructor(table: StateTable, spool: StateSpool, document: string) {
    this.table = table;
    this.spool = spool;
    this.#document = document;
    this.#columns = new Map(table.columns.map(({ name }, at) => [name, at]));
    this.#withValue = table.columns.map(() => 0);
    this.#notEmpty = table.columns.map(() => 0);
    this.#firstWithout = table.columns.map(() => undefined);
    this.#places = table.array;
  }

  get count(): number {
    return this.spool.count;
  }

  at(column: string): number {
    return this.#columns.get(column) ?? -1;
  }

  /** @throws {AppError} exit 3 for a value that is none of its column, with its place */
  add(row: StateRow, place: string, requireTenant: (id: string, place: string) => void): void {
    const { columns, required, restoredBy } = this.table;
    const values = this.#convert(row, place);
    const missing = required.find((name) => values[this.at(name)] === "");
    if (missing !== undefined && (restoredBy.length === 0 || missing !== "id")) {
      throw this.#invalid(`${place} has no "${missing}"`);
    }
    const tenant = values[this.#columns.get("tenant_id") ?? this.at("id")] ?? "";
    if (tenant !== "") requireTenant(tenant.slice(1, -1), place);
    if (restoredBy.some((name) => ["", '""'].includes(values[this.at(name)] ?? ""))) {
      this.leftOut += 1;
      return;
    }
    for (let at = 0; at < columns.length; at += 1) {
      if (values[at] === "") this.#firstWithout[at] ??= place;
      else this.#withValue[at] = (this.#withValue[at] ?? 0) + 1;
      if (values[at] !== "" && values[at] !== '""') {
        this.#notEmpty[at] = (this.#notEmpty[at] ?? 0) + 1;
      }
    }
    this.spool.add((values[this.at("id")] ?? "").replaceAll('"', ""), values.join(separator));
  }

  #convert(row: StateRow, place: string): string[] {
    const { columns, aliases } = this.table;
    const values = columns.map(() => "");
    const given = new Set<number>();
    for (const [key, value] of row) {
      const name = Object.hasOwn(aliases, key) ? (aliases[key] ?? key) : key;
      const at = this.at(name);
      const column = columns[at];
      if (column === undefined) {
        this.#noteUnknown(key);
        continue;
      }
      if (given.has(at)) throw this.#invalid(`${place} has "${name}" under two keys`);
      given.add(at);
      const converted = convertValue(column, value);
      if ("problem" in converted) {
        throw this.#invalid(`${place}.${shown(key)} ${converted.problem}`);
      }
      if (converted.cut === true) this.cut += 1;
      values[at] = converted.json ?? "";
    }
    for (const [at, column] of columns.entries()) {
      if (values[at] === "" && column.whenAbsent !== undefined) values[at] = column.whenAbsent;
    }
    return values;
  }

  #noteUnknown(key: string): void {
    const seen = this.unknown.get(key);
    if (seen === undefined && this.unknown.size >= mostNamed) return;
    this.unknown.set(key, (seen ?? 0) + 1);
  }

  /** @throws {AppError} exit 3 when two rows have one key */
  refuseDuplicates(): void {
    const found = this.spool.duplicate();
    if (found === undefined) return;
    const [first, second] = found.map((row) => `row ${row + 1}`);
    throw this.#invalid(
      `two rows of ${this.#places} have the same id: ${first} and ${second} of those that can be restored`,
    );
  }

  /**
   * The columns that the rows have values for. Where only some have one and the database demands
   * it, the document contradicts itself.
   *
   * @throws {AppError} exit 3, with the first row that has no value
   */
  presentColumns(without: ReadonlySet<string>): readonly StateColumn[] {
    return this.table.columns.filter((column, at) => {
      if (without.has(column.name)) return false;
      const withValue = this.#withValue[at] ?? 0;
      if (withValue === 0) return column.nullable && column.written === true;
      if (!column.nullable && withValue < this.count) {
        throw this.#invalid(
          `${this.#firstWithout[at] ?? this.#places} has no "${column.name}", which other rows have`,
        );
      }
      return true;
    });
  }

  /** True when a row has another value in the column than an empty text. */
  hasValues(column: string): boolean {
    return (this.#notEmpty[this.at(column)] ?? 0) > 0;
  }

  /** The JSON text of each column of every row, an empty one for NULL. */
  async *read(sorted: boolean): AsyncGenerator<string[]> {
    for await (const text of this.spool.read(sorted)) yield text.split(separator);
  }

  #invalid(what: string): AppError {
    return new AppError("invalid-document", ExitCode.invalidInput, `${this.#document}: ${what}`, {
      hint: "Give a state document as N-Kudo writes it; nothing was written.",
    });
  }
}
