import { type RawBuilder, sql } from "kysely";
import type { BundleHeader } from "../../bundle/format.ts";
import type { Row } from "../../bundle/row-validator.ts";
import { type Column, columnOf, type ForeignKey, type Table } from "../../catalog/catalog.ts";
import { AppError, ExitCode } from "../../errors.ts";
import { columnsEqual } from "../../postgres/identifiers.ts";
import type { Session } from "../../postgres/session.ts";
import { keyOf } from "../../profile/classify.ts";
import type { ImportOptions } from "../import-types.ts";
import type { OpenSchema } from "../open-schema.ts";
import type { StagedTable } from "../staging.ts";
import { belongingAncestors, belongingKeys, isLeaf } from "./belonging.ts";
import { type Chosen, chooseRows, hasKey } from "./choose.ts";
import { type ParsedSelection, parseSelection } from "./items.ts";
import { createKeyTables, type KeyTables } from "./key-tables.ts";
import { LineScan, plainUuid, type SoughtColumn } from "./line-scan.ts";
import { liveSide, stagedSide } from "./sides.ts";

/** A table of which only rows were staged that may be chosen. */
export interface FilteredTable {
  readonly table: string;
  /** By reference: the parents whose children were staged. */
  readonly parents: readonly { readonly key: ForeignKey; readonly known: ReadonlySet<string> }[];
  /** Holds the keys of live rows that were looked for. */
  readonly live: KeyTables | undefined;
}

/** Tells which rows of a table that nothing refers to may be chosen; the rest need no staging. */
export interface LeafFilter {
  /** Undefined: no row at all is kept, and none needs to be read. */
  readonly keeps: ((row: Row) => boolean) | undefined;
  /** Passes over most of the others without parsing them. */
  readonly scan?: LineScan;
  readonly filtered: FilteredTable | undefined;
}

/** What is staged before its table is done: enough to look for rows in. */
export type StagedPart = Pick<StagedTable, "table" | "stage" | "present">;

/** Beyond this many keys a table is staged whole; their text takes some 20 MB. */
const maxKeys = 200_000;

/**
 * Makes filters for the tables of a bundle that nothing refers to, such as logs: what is chosen of
 * them follows from rows that are staged already, so that a million lines of other sites need not
 * go to the database. A filter may keep too much, and never too little.
 */
export class LeafFilters {
  readonly #session: Session;
  readonly #schema: OpenSchema;
  readonly #header: BundleHeader;
  readonly #clone: boolean;
  readonly #selection: ParsedSelection | undefined;

  /** @throws {AppError} exit 2 for a selection that names what does not exist */
  constructor(
    session: Session,
    schema: OpenSchema,
    header: BundleHeader,
    { selection, clone }: Pick<ImportOptions, "selection" | "clone">,
  ) {
    this.#session = session;
    this.#schema = schema;
    this.#header = header;
    this.#clone = clone !== undefined;
    this.#selection = selection && parseSelection(schema, selection);
  }

  /** Whether no row at all of a table can be chosen. */
  choosesNone(table: Table): LeafFilter | undefined {
    const selection = this.#selection;
    if (selection === undefined || !isLeaf(this.#schema, table.name)) return undefined;
    if (namesAll(selection.exclude, table)) return { keeps: undefined, filtered: undefined };
    if (selection.everything || names(selection.select, table)) return undefined;
    if (belongingKeys(this.#schema, table.name).length > 0) return undefined;
    return { keeps: undefined, filtered: { table: table.name, parents: [], live: undefined } };
  }

  /**
   * The filter for a table whose section has begun, if there are enough rows of it to look for one.
   *
   * @param done what is staged of the tables whose sections have ended
   */
  async filterFor(
    table: Table,
    done: ReadonlyMap<string, StagedPart>,
  ): Promise<LeafFilter | undefined> {
    const selection = this.#selection;
    if (selection === undefined || !isLeaf(this.#schema, table.name)) return undefined;
    const sinceThen = this.#sinceThen(selection, table);
    const byParents = await this.#byParents(selection, table, done);
    if (byParents === undefined) {
      return sinceThen === undefined ? undefined : { keeps: sinceThen, filtered: undefined };
    }
    const { keeps } = byParents;
    if (keeps === undefined || sinceThen === undefined) return byParents;
    return { ...byParents, keeps: (row) => sinceThen(row) && keeps(row) };
  }

  /** Sure of rows alone that are older by a millisecond: JavaScript cuts the rest. */
  #sinceThen(selection: ParsedSelection, table: Table): ((row: Row) => boolean) | undefined {
    const column = this.#schema.profile.logs[table.name];
    const source = column === undefined ? undefined : this.#plainColumn(table, column);
    if (selection.since === undefined || column === undefined) return undefined;
    if (source?.type !== "timestamp with time zone") return undefined;
    const since = Math.floor(Date.parse(selection.since));
    return (row) => {
      const value = row[column];
      const time = typeof value === "string" ? Date.parse(value) : Number.NaN;
      return Number.isNaN(time) || Math.floor(time) >= since;
    };
  }

  async #byParents(
    selection: ParsedSelection,
    table: Table,
    done: ReadonlyMap<string, StagedPart>,
  ): Promise<LeafFilter | undefined> {
    if (selection.everything || names([...selection.select, ...selection.exclude], table)) {
      return undefined;
    }
    const ancestors = belongingAncestors(this.#schema, table.name);
    const toCome = this.#header.tables.filter(({ name }) => !done.has(name));
    if (toCome.some(({ name }) => ancestors.has(name))) return undefined;
    const keys = belongingKeys(this.#schema, table.name);
    const own = keyOf(table);
    if (![...keys.flatMap((key) => key.columns), ...own].every((c) => this.#hasPlainKey(table, c)))
      return undefined;

    const name = `leaf${this.#schema.tables.indexOf(table)}_`;
    const only = new Set([...ancestors, table.name]);
    const keyTables = await createKeyTables(this.#session, this.#schema, name, only);
    const staged = stagedSide(done.values());
    const tenant = this.#header.tenant.id;
    const sides = this.#clone ? [staged] : [staged, liveSide(this.#schema, tenant)];
    const chosen = await chooseRows(this.#session, this.#schema, keyTables, sides, selection, only);
    const parents: { key: ForeignKey; known: ReadonlySet<string> }[] = [];
    for (const key of keys) {
      const known = await chosenParents(this.#session, chosen, key);
      if (known === undefined) return undefined;
      parents.push({ key, known });
    }
    // A live row may hang on a selected one that hung on another one when the bundle was made.
    const live = await tuples(
      this.#session,
      sql`SELECT ${textsOf("k", own)} FROM ${keyTables.of(table.name)} AS k`,
    );
    if (live === undefined) return undefined;
    const filtered = { table: table.name, parents, live: this.#clone ? undefined : keyTables };
    return {
      scan: new LineScan([
        ...parents.map(({ key, known }) => firstOf(key.columns, known)),
        ...(live.size === 0 ? [] : [firstOf(own, live)]),
      ]),
      keeps: (row) =>
        isIn(live, row, own) || parents.some(({ key, known }) => isIn(known, row, key.columns)),
      filtered,
    };
  }

  /** The bundle's column, if the target has it and its type is the same. */
  #plainColumn(table: Table, name: string): Column | undefined {
    const source = this.#header.tables
      .find((candidate) => candidate.name === table.name)
      ?.columns.find((column) => column.name === name);
    const target = columnOf(table, name);
    return source !== undefined && source.type === target?.type ? target : undefined;
  }

  /** Equal values of the type have equal JSON, which does not hold of numeric or citext. */
  #hasPlainKey(table: Table, name: string): boolean {
    const { type = "" } = this.#plainColumn(table, name) ?? {};
    return plainKeys.has(type);
  }
}

const plainKeys: ReadonlySet<string> = new Set(["uuid", "smallint", "integer", "bigint"]);

/** An item means the table as a whole, or rows of it. */
function names(items: ParsedSelection["select"], table: Table): boolean {
  return items.some((item) =>
    item.kind === "rows" ? item.table.name === table.name : item.tables.includes(table),
  );
}

function namesAll(items: ParsedSelection["select"], table: Table): boolean {
  return items.some((item) => item.kind === "tables" && item.tables.includes(table));
}

/** The values of a row, as `tuples` has them; a row that has others is not judged here. */
function isIn(known: ReadonlySet<string>, row: Row, columns: readonly string[]): boolean {
  const texts: string[] = [];
  for (const column of columns) {
    const value = row[column];
    if (value === null) return false;
    if (typeof value === "number") texts.push(String(value));
    else if (typeof value === "string" && plainUuid.test(value)) texts.push(value);
    else return true;
  }
  return known.has(texts.join("\n"));
}

/** Whoever has none of these has none of the tuples. */
function firstOf(columns: readonly string[], tuples: ReadonlySet<string>): SoughtColumn {
  const [name = ""] = columns;
  return { name, values: new Set(Array.from(tuples, (tuple) => tuple.split("\n", 1).join())) };
}

function textsOf(alias: string, columns: readonly string[]): RawBuilder<unknown> {
  return sql`ARRAY[${sql.join(columns.map((column) => sql`${sql.id(alias, column)}::text`))}] AS texts`;
}

/** What the references of chosen rows' children hold; undefined if these are too many. */
async function chosenParents(
  session: Session,
  { schema, keys, sides }: Chosen,
  key: ForeignKey,
): Promise<ReadonlySet<string> | undefined> {
  const parent = schema.catalog.tables.get(key.to);
  if (parent === undefined) return new Set();
  const each = sides.flatMap((side) => {
    const rows = side.rows(key.to);
    if (rows === undefined || !side.has(key.to, key.toColumns)) return [];
    return sql`SELECT ${textsOf("r", key.toColumns)} FROM ${rows} AS r
                WHERE ${hasKey({ keys }, parent, "r", ["selected", "belongs"])}`;
  });
  return each.length === 0
    ? new Set()
    : await tuples(session, sql`${sql.join(each, sql` UNION `)}`);
}

async function tuples(
  session: Session,
  select: RawBuilder<unknown>,
): Promise<ReadonlySet<string> | undefined> {
  const { rows } = await sql<{ texts: readonly string[] }>`
    SELECT texts FROM (${select}) AS t LIMIT ${maxKeys + 1}`.execute(session.db);
  if (rows.length > maxKeys) return undefined;
  return new Set(rows.map(({ texts }) => texts.map(asInJson).join("\n")));
}

/** As JSON.parse and String make it of the value; large numbers lose the same digits on both ways. */
function asInJson(text: string): string {
  return plainUuid.test(text) ? text : String(Number(text));
}

/**
 * Sees to it that no row has become a chosen one's child since the bundle was staged, whose line was
 * then passed over.
 *
 * @throws {AppError} exit 4
 */
export async function refuseNewParents(
  session: Session,
  chosen: Chosen,
  filtered: readonly FilteredTable[],
): Promise<void> {
  for (const { table, parents } of filtered) {
    for (const { key, known } of parents) {
      const now = await chosenParents(session, chosen, key);
      if (now !== undefined && [...now].every((tuple) => known.has(tuple))) continue;
      throw new AppError(
        "changed-meanwhile",
        ExitCode.refused,
        `rows of "${key.to}" have come into the selection while the bundle was read, and rows of "${table}" hang on them; nothing was written`,
        { hint: "Another session changed this tenant meanwhile. Run the command again." },
      );
    }
  }
}

/** A condition on the live row `alias`: it was there when the bundle's rows were looked through. */
export function isKnown(
  filtered: readonly FilteredTable[],
  table: Table,
  alias: string,
): RawBuilder<boolean> {
  const found = filtered.find((one) => one.table === table.name);
  if (found === undefined) return sql`TRUE`;
  if (found.live === undefined) return sql`FALSE`;
  return sql`EXISTS (SELECT FROM ${found.live.of(table.name)} AS known
    WHERE ${columnsEqual("known", keyOf(table), alias)})`;
}
