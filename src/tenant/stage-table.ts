import { type RawBuilder, sql } from "kysely";
import { createRowValidator, type Row, type RowValidator } from "../bundle/row-validator.ts";
import type { Column, Table } from "../catalog/catalog.ts";
import { AppError, ExitCode } from "../errors.ts";
import { disjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { isDataException, SqlState, sqlStateOf } from "../postgres/sqlstates.ts";
import { keyOf } from "../profile/classify.ts";
import { rowKeyText } from "./row-key.ts";
import type { FilteredTable, LeafFilter } from "./selection/leaf-filter.ts";
import {
  isCut,
  mayAlter,
  type OldTypes,
  readOldTypes,
  recordType,
  typedValue,
} from "./staged-values.ts";
import type { StagedTable } from "./staging.ts";
import type { MatchedColumn, TargetMatch } from "./target-match.ts";

/** True for a row with a value that the target's type would cut, round or alter. */
export const cutColumn = "pgtenant$cut";
const lineFeed = 0x0a;
const comma = 0x2c;

/** So many rows of a table are staged before it is asked which of them may be chosen. */
const shortTable = 2000;

const heldBytes = 256 * 1024;

/** The lines become the elements of one JSON array, which the server expands. */
export function linesAsArray(bytes: Buffer): Buffer {
  const array = Buffer.allocUnsafe(bytes.length + 1);
  array[0] = 0x5b; /* [ */
  bytes.copy(array, 1);
  for (let at = array.indexOf(lineFeed); at >= 0; at = array.indexOf(lineFeed, at + 1)) {
    array[at] = comma;
  }
  array[array.length - 1] = 0x5d; /* ] */
  return array;
}

/** Takes the rows of one table of a bundle into a temporary table of the session. */
export class TableStaging {
  readonly match: TargetMatch;
  /** Columns of the bundle that the target lacks, and the first row with a value in each. */
  readonly homeless = new Map<string, number>();
  readonly #session: Session;
  readonly #index: number;
  readonly #validator: RowValidator;
  /** The statement that is under way while the next batch is read and validated. */
  #pending: Promise<void> = Promise.resolve();
  #rows = 0;
  #staged = 0;
  #filter: LeafFilter | "not yet" | undefined = "not yet";
  /** Lines that a filter has let through, and the numbers of their rows. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #heldRows: number[] = [];
  #oldTypes: OldTypes = new Map();

  readonly #secrets: readonly string[];

  constructor(
    session: Session,
    match: TargetMatch,
    index: number,
    { maxRowBytes, secrets }: { readonly maxRowBytes: number; readonly secrets: readonly string[] },
  ) {
    this.match = match;
    this.#secrets = secrets;
    this.#session = session;
    this.#index = index;
    this.#validator = createRowValidator(match.source.name, match.rowSchema, maxRowBytes);
  }

  get rows(): number {
    return this.#rows;
  }

  get table(): Table {
    const { target } = this.match;
    if (target === undefined) throw new Error(`the target has no table ${this.match.source.name}`);
    return target;
  }

  get stage(): RawBuilder<unknown> {
    return sql`pg_temp.${sql.id(this.#name("s"))}`;
  }

  get present(): ReadonlySet<string> {
    return new Set(
      [...this.match.columns.map((c) => c.column), ...this.#generatedColumns()].map(
        (column) => column.name,
      ),
    );
  }

  get filtered(): FilteredTable | undefined {
    return this.#filter === "not yet" ? undefined : this.#filter?.filtered;
  }

  /** It has become worth while to look for a filter. */
  isLong(nextRow: number): boolean {
    return this.match.target !== undefined && this.#filter === "not yet" && nextRow > shortTable;
  }

  filterBy(filter: LeafFilter | "not yet" | undefined): void {
    this.#filter = filter;
  }

  async create(): Promise<void> {
    const { target } = this.match;
    if (target === undefined) return;
    const columns = this.match.columns.map(
      ({ column }) => sql`${sql.id(column.name)} ${sql.raw(column.type)}`,
    );
    if (this.#narrowing().length > 0) columns.push(sql`${sql.id(cutColumn)} boolean`);
    for (const column of this.#generatedColumns()) {
      columns.push(
        sql`${sql.id(column.name)} ${sql.raw(column.type)}
            GENERATED ALWAYS AS (${sql.raw(column.generatedAs ?? "NULL")}) STORED`,
      );
    }
    // A session may import more than once.
    for (const prefix of ["s", "m", "e", "x"]) {
      await sql`DROP TABLE IF EXISTS pg_temp.${sql.id(this.#name(prefix))}`.execute(
        this.#session.db,
      );
    }
    await sql`CREATE TEMPORARY TABLE ${sql.id(this.#name("s"))} (${sql.join(columns)})`.execute(
      this.#session.db,
    );
    this.#oldTypes = await readOldTypes(this.#session, this.match.columns);
  }

  #narrowing(): readonly MatchedColumn[] {
    return this.match.columns.filter(mayAlter);
  }

  /** Staged too, so that unique indexes over them can be proved; if all they need is there. */
  #generatedColumns(): readonly Column[] {
    const { target, columns } = this.match;
    if (target === undefined) return [];
    const generated = target.columns.filter((column) => column.generatedAs !== undefined);
    return columns.length + generated.length === target.columns.length ? generated : [];
  }

  async add(bytes: Buffer, firstRow: number, count: number): Promise<void> {
    this.#rows += count;
    if (this.#filter === "not yet" || this.#filter === undefined) {
      await this.#stage({ bytes, count, numberOf: (index) => firstRow + index });
    } else if (this.#filter.keeps !== undefined) {
      this.#hold(bytes, firstRow, this.#filter);
      if (this.#heldBytes >= heldBytes) await this.#stageHeld();
    }
  }

  /** Few lines of each batch are held, and a statement for each would take longer than its rows. */
  #hold(bytes: Buffer, firstRow: number, { keeps, scan }: LeafFilter): void {
    const kept: Buffer[] = [];
    for (let start = 0, number = firstRow; start < bytes.length; number += 1) {
      const end = endOfLine(bytes, start);
      if (scan?.mayMatter(bytes, start, end) !== false) {
        const line = bytes.subarray(start, end);
        const row = parsedRow(line);
        // What is no row is for the validator to say.
        if (row === undefined || keeps?.(row) === true) {
          kept.push(line);
          this.#heldRows.push(number);
        }
      }
      start = end;
    }
    const copy = Buffer.concat(kept);
    this.#held.push(copy);
    this.#heldBytes += copy.length;
  }

  async #stageHeld(): Promise<void> {
    const numbers = this.#heldRows;
    const bytes = Buffer.concat(this.#held);
    this.#held = [];
    this.#heldRows = [];
    this.#heldBytes = 0;
    if (numbers.length === 0) return;
    const numberOf = (index: number) => numbers[index] ?? 0;
    await this.#stage({ bytes, count: numbers.length, numberOf });
  }

  async #stage(lines: Lines): Promise<void> {
    this.#validate(lines);
    this.#staged += lines.count;
    await this.#pending;
    if (this.match.target === undefined) return;
    const pending = this.#insert(lines);
    // It is awaited with the next batch; until then a failure must not count as unhandled.
    pending.catch(() => undefined);
    this.#pending = pending;
  }

  #validate({ bytes, count, numberOf }: Lines): void {
    const { dropped } = this.match;
    const visit = (row: Row, number: number) => {
      for (const name of dropped) {
        if (row[name] !== null && !this.homeless.has(name)) this.homeless.set(name, number);
      }
    };
    const visited = dropped.length === 0 ? undefined : visit;
    const first = numberOf(0);
    if (numberOf(count - 1) - first === count - 1) {
      this.#validator.check(bytes, first, visited);
      return;
    }
    for (const [index, line] of splitLines(bytes).entries()) {
      this.#validator.check(line, numberOf(index), visited);
    }
  }

  /** Waits until everything is staged that was added. */
  async settle(): Promise<void> {
    await this.#stageHeld();
    await this.#pending;
  }

  async #insert(lines: Lines): Promise<void> {
    try {
      await this.#insertLines(lines.bytes);
    } catch (error) {
      if (!isBadValue(error)) throw error;
      throw await this.#nameBadRow(lines, error);
    }
  }

  async #insertLines(bytes: Buffer): Promise<void> {
    await this.#session.client.query({
      text: this.#insertStatement(),
      values: [linesAsArray(bytes)],
    });
  }

  #insertStatement(): string {
    const { columns, target } = this.match;
    const key = target === undefined ? [] : keyOf(target);
    const record = columns
      .filter(({ inBundle }) => inBundle)
      .map((c) => sql`${sql.id(c.column.name)} ${sql.raw(recordType(c))}`);
    const names = columns.map(({ column }) => sql.id(column.name));
    const values = columns.map((matched) => {
      const { column, inBundle, setTo } = matched;
      const value = inBundle ? typedValue(matched) : sql`NULL`;
      // Other columns wait for their live row's value, which wins.
      return setTo === undefined || !key.includes(column.name)
        ? value
        : sql`coalesce(${value}, ${sql.lit(setTo)}::${sql.raw(column.type)})`;
    });
    const cuts = this.#narrowing().map((matched) => isCut(matched, this.#oldTypes));
    if (cuts.length > 0) {
      names.push(sql.id(cutColumn));
      values.push(disjunction(cuts));
    }
    return sql`INSERT INTO pg_temp.${sql.id(this.#name("s"))} (${sql.join(names)})
      SELECT ${sql.join(values)} FROM json_to_recordset($1::json) AS r (${sql.join(record)})`.compile(
      this.#session.db,
    ).sql;
  }

  /** Halves the batch until the row is found that the server does not take. */
  async #nameBadRow(bad: Lines, error: unknown): Promise<AppError> {
    let lines = splitLines(bad.bytes);
    let first = 0;
    let last = error;
    while (lines.length > 1) {
      const half = lines.slice(0, Math.ceil(lines.length / 2));
      try {
        await this.#insertLines(Buffer.concat(half));
        first += half.length;
        lines = lines.slice(half.length);
      } catch (failure) {
        if (!isBadValue(failure)) throw failure;
        last = failure;
        lines = half;
      }
    }
    const row = bad.numberOf(first);
    // Without the value, which the server quotes at the end and which may be a secret.
    const reason = last instanceof Error ? last.message.replace(/: ".*$/s, "") : "";
    return new AppError(
      "invalid-row",
      ExitCode.invalidInput,
      `row ${row} of table "${this.match.source.name}" is invalid: ${reason}`,
      {
        cause: last,
        hint: "The database does not take this value. If this bundle was edited by hand, export it again.",
        data: { table: this.match.source.name, row },
      },
    );
  }

  async finish(): Promise<StagedTable | undefined> {
    const { target } = this.match;
    if (target === undefined) return undefined;
    const key = keyOf(target);
    const { stage } = this;
    await this.#requireUniqueKey(stage, key);
    await sql`ANALYZE ${stage}`.execute(this.#session.db);
    return {
      table: target,
      key,
      secrets: this.#secrets,
      columns: this.match.columns.map(({ column }) => column),
      present: this.present,
      unfilled: this.match.unfilled,
      narrowing: this.#narrowing().map(({ column }) => column),
      setTo: new Map(
        this.match.columns
          .filter(({ column }) => !key.includes(column.name))
          .flatMap(({ column, setTo }) => (setTo === undefined ? [] : [[column.name, setTo]])),
      ),
      mayBeNull: this.match.columns.filter((c) => c.mayBeNull).map((c) => c.column),
      rows: this.#staged,
      inBundle: this.#rows,
      stage,
      match: sql`pg_temp.${sql.id(this.#name("m"))}`,
      extra: sql`pg_temp.${sql.id(this.#name("e"))}`,
      out: sql`pg_temp.${sql.id(this.#name("x"))}`,
    };
  }

  async #requireUniqueKey(stage: RawBuilder<unknown>, key: readonly string[]): Promise<void> {
    try {
      await sql`ALTER TABLE ${stage} ADD PRIMARY KEY (${sql.join(key.map((k) => sql.id(k)))})`.execute(
        this.#session.db,
      );
    } catch (error) {
      if (sqlStateOf(error) !== SqlState.uniqueViolation) throw error;
      const { rows } = await sql<{ key: string }>`
        SELECT ${rowKeyText("s", { key, secrets: this.#secrets })} AS key FROM ${stage} AS s
         GROUP BY ${sql.join(key.map((k) => sql.id("s", k)))} HAVING count(*) > 1 LIMIT 1000`.execute(
        this.#session.db,
      );
      throw new AppError(
        "duplicate-row",
        ExitCode.invalidInput,
        `table "${this.match.source.name}" of the bundle holds ${rows.length} row(s) more than once, such as ${rows[0]?.key ?? ""}`,
        {
          hint: "No export writes a row twice; take another copy of the bundle.",
          details: rows.map((row) => `${this.match.source.name} ${row.key}`),
        },
      );
    }
  }

  #name(prefix: string): string {
    return `pgtenant_${prefix}${this.#index}`;
  }
}

/** Whole lines, and the numbers of their rows in the bundle's table. */
interface Lines {
  readonly bytes: Buffer;
  readonly count: number;
  readonly numberOf: (index: number) => number;
}

function endOfLine(bytes: Buffer, start: number): number {
  const feed = bytes.indexOf(lineFeed, start);
  return feed < 0 ? bytes.length : feed + 1;
}

function splitLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = endOfLine(bytes, start);
    lines.push(bytes.subarray(start, end));
    start = end;
  }
  return lines;
}

function parsedRow(line: Buffer): Row | undefined {
  try {
    const value: unknown = JSON.parse(line.toString("utf8"));
    return typeof value === "object" && value !== null ? (value as Row) : undefined;
  } catch {
    return undefined;
  }
}

function isBadValue(error: unknown): boolean {
  const state = sqlStateOf(error);
  return (
    isDataException(state) ||
    // A domain's own rules.
    state === SqlState.checkViolation ||
    state === SqlState.notNullViolation
  );
}
