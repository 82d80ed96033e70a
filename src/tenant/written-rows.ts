import { type RawBuilder, sql } from "kysely";
import type { BundleHeader, ReceiptHeader } from "../bundle/format.ts";
import type { BundlePart } from "../bundle/reader.ts";
import { writtenTable } from "../bundle/receipt-format.ts";
import { createRowValidator } from "../bundle/row-validator.ts";
import { columnOf } from "../catalog/catalog.ts";
import { AppError, ExitCode } from "../errors.ts";
import { columnList, columnsEqual } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { isDataException, SqlState, sqlStateOf } from "../postgres/sqlstates.ts";
import { linesAsArray } from "./stage-table.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/** What an import wrote to one table, as its receipt has it. */
export interface WrittenRows {
  readonly staged: StagedTable;
  readonly rows: number;
  /** A temporary table of the keys, each with `pgtenant$did` and `pgtenant$after`. */
  readonly written: RawBuilder<unknown>;
  /** A temporary table of the keys of rows that referred softly to rows which were inserted. */
  readonly referring: RawBuilder<unknown>;
  /** The columns that `pgtenant$after` is a hash of, for rows that were inserted and others. */
  readonly insertedColumns: readonly string[];
  readonly allColumns: readonly string[];
}

/** A receipt in temporary tables: the old rows as a bundle, and what was written. */
export interface StagedReceipt {
  readonly receipt: ReceiptHeader;
  readonly bundle: StagedBundle;
  readonly written: ReadonlyMap<string, WrittenRows>;
}

const list = sql`pg_temp.pgtenant_written`;

/** The header without the section that is no table of the database. */
export function withoutWritten(header: BundleHeader): BundleHeader {
  return { ...header, tables: header.tables.filter(({ name }) => name !== writtenTable.name) };
}

/**
 * Hands on all parts of a receipt but the section of what was written, which it takes into a
 * temporary table.
 *
 * @throws {AppError} exit 3 when a row of it is not valid
 */
export async function* takingWritten(
  session: Session,
  parts: AsyncGenerator<BundlePart>,
  maxRowBytes: number,
): AsyncGenerator<BundlePart> {
  await sql`DROP TABLE IF EXISTS ${list}`.execute(session.db);
  await sql`CREATE TEMPORARY TABLE pgtenant_written (
    "table" text NOT NULL, key text NOT NULL, action text NOT NULL, after text)`.execute(
    session.db,
  );
  const { name, schema } = writtenTable;
  const validator = createRowValidator(name, schema, maxRowBytes);
  const insert = `INSERT INTO pg_temp.pgtenant_written SELECT "table", key, action, after
    FROM json_to_recordset($1::json) AS r ("table" text, key text, action text, after text)`;
  for await (const part of parts) {
    if (part.kind === "rows" && part.table.name === name) {
      validator.check(part.bytes, part.firstRow);
      await session.client
        .query({ text: insert, values: [linesAsArray(part.bytes)] })
        .catch(unreadable);
    } else if (part.kind === "table" && part.table.name === name) {
      // Its rows follow.
    } else if (part.kind !== "end" || part.end.table !== name) yield part;
  }
}

/**
 * Brings the list of written rows and the old rows together: each row was written once, an old
 * row is there exactly where one was updated or deleted, and every name is one of the catalog's.
 *
 * @throws {AppError} exit 3 when that does not hold, 4 when the schema has changed
 */
export async function matchWritten(
  session: Session,
  header: BundleHeader,
  receipt: ReceiptHeader,
  bundle: StagedBundle,
): Promise<StagedReceipt> {
  const written = new Map<string, WrittenRows>();
  for (const [index, source] of withoutWritten(header).tables.entries()) {
    const staged = bundle.tables.find(({ table }) => table.name === source.name);
    const inserted = receipt.inserted.find(({ table }) => table === source.name)?.columns ?? [];
    const allColumns = source.columns.map((column) => column.name);
    if (
      staged === undefined ||
      ![...allColumns, ...inserted].every((column) => staged.present.has(column)) ||
      staged.key.join("\0") !== source.primaryKey.join("\0")
    ) {
      throw schemaChanged(source.name);
    }
    const tables = {
      written: sql`pg_temp.${sql.id(`pgtenant_w${index}`)}`,
      referring: sql`pg_temp.${sql.id(`pgtenant_r${index}`)}`,
    };
    const entry = { staged, ...tables, insertedColumns: inserted, allColumns };
    const rows = await splitOff(session, entry);
    await requireOldRows(session, { ...entry, rows });
    written.set(source.name, { ...entry, rows });
  }
  await requireKnownTables(session, [...written.keys()]);
  return { receipt, bundle, written };
}

/** @returns the number of rows that were written to the table */
async function splitOff(
  session: Session,
  { staged, written, referring }: Omit<WrittenRows, "rows">,
): Promise<number> {
  const { table, key } = staged;
  const columns = key.flatMap((name) => columnOf(table, name) ?? []);
  const record = columns.map(
    (column) =>
      sql`${sql.id(column.name)} ${sql.raw(column.encoding.as === "value" ? column.plainType : "text")}`,
  );
  const values = columns.map(
    (column) => sql`${sql.id("r", column.name)}::${sql.raw(column.type)} AS ${sql.id(column.name)}`,
  );
  const from = sql`FROM ${list} AS w, json_to_record(w.key::json) AS r (${sql.join(record)})
    WHERE w."table" = ${sql.lit(table.name)}`;
  const create = async (name: RawBuilder<unknown>, query: RawBuilder<unknown>) => {
    await sql`DROP TABLE IF EXISTS ${name}`.execute(session.db);
    await sql`CREATE TEMPORARY TABLE ${name} AS ${query}`.execute(session.db);
    await sql`ALTER TABLE ${name} ADD PRIMARY KEY (${columnList(key)})`.execute(session.db);
    await sql`ANALYZE ${name}`.execute(session.db);
  };
  try {
    await create(
      written,
      sql`SELECT ${sql.join(values)}, w.action AS "pgtenant$did", w.after AS "pgtenant$after" ${from}
          AND w.action <> 'referring'`,
    );
    await create(referring, sql`SELECT ${sql.join(values)} ${from} AND w.action = 'referring'`);
  } catch (error) {
    throw unreadableError(error);
  }
  const { rows } = await sql<{ count: string }>`SELECT count(*) AS count FROM ${written}`.execute(
    session.db,
  );
  return Number(rows[0]?.count ?? 0);
}

async function requireOldRows(session: Session, { staged, written }: WrittenRows): Promise<void> {
  const { rows } = await sql<{ sound: boolean }>`
    SELECT NOT EXISTS (
      SELECT FROM ${written} AS w FULL JOIN ${staged.stage} AS s ON ${columnsEqual("s", staged.key, "w")}
       WHERE w."pgtenant$did" IS NULL
          OR (w."pgtenant$did" = 'inserted') <> (${sql.id("s", staged.key[0] ?? "")} IS NULL)
    ) AS sound`.execute(session.db);
  if (rows[0]?.sound !== true) {
    throw contradictory(`the old rows of "${staged.table.name}" are not those that were written`);
  }
}

async function requireKnownTables(session: Session, names: readonly string[]): Promise<void> {
  const { rows } = await sql<{ table: string }>`
    SELECT "table" FROM ${list} WHERE NOT ("table" = ANY (${[...names]}::text[])) LIMIT 1`.execute(
    session.db,
  );
  const [row] = rows;
  if (row !== undefined) throw contradictory(`its header lacks the table "${row.table}"`);
}

function schemaChanged(table: string): AppError {
  return new AppError(
    "schema-changed",
    ExitCode.refused,
    `the table "${table}" has not all the columns any more that it had when the receipt was written; nothing was undone`,
    {
      hint: "What an import wrote cannot be compared across such a migration. Use an export from before the import: pgtenant import --mode replace.",
    },
  );
}

function contradictory(what: string): AppError {
  return new AppError(
    "invalid-receipt",
    ExitCode.invalidInput,
    `the receipt contradicts itself: ${what}`,
    { hint: "No import writes such a receipt; take another copy of it." },
  );
}

function unreadable(error: unknown): never {
  throw unreadableError(error);
}

function unreadableError(error: unknown): unknown {
  const state = sqlStateOf(error);
  if (
    !isDataException(state) &&
    state !== SqlState.uniqueViolation &&
    state !== SqlState.notNullViolation &&
    state !== SqlState.checkViolation
  ) {
    return error;
  }
  return contradictory(
    state === SqlState.uniqueViolation
      ? "a row is written twice"
      : "the key of a row that was written cannot be read",
  );
}
