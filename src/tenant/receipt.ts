import { type RawBuilder, sql } from "kysely";
import { encode } from "../bundle/encode.ts";
import type { Encryption } from "../bundle/encryption.ts";
import {
  type BundleHeader,
  type BundleTable,
  defaultMaxRowBytes,
  type ReceiptHeader,
} from "../bundle/format.ts";
import { writtenTable } from "../bundle/receipt-format.ts";
import { bundleColumns, rowSchemaOf } from "../bundle/row-schema.ts";
import { type BundleSection, writeBundle } from "../bundle/writer.ts";
import { storedColumns, type Table } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import { copyJsonLines } from "../postgres/copy.ts";
import { columnList, columnsEqual } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { systemIdentifier } from "../postgres/system-identifier.ts";
import { keyOf } from "../profile/classify.ts";
import { toolVersion } from "../version.ts";
import { encoded, readMigrations } from "./export.ts";
import type { TablePlan } from "./import-types.ts";
import { isInserted } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import type { WorkingPlan } from "./plan.ts";
import { rowHash } from "./row-hash.ts";
import { softReferences } from "./soft-references.ts";
import type { StagedTable } from "./staging.ts";

/** What a receipt says it is for. */
export type ReceiptSubject = Pick<ReceiptHeader, "of" | "source">;

/** A table that is written to, or whose rows refer softly to one that is. */
interface Entry {
  readonly table: Table;
  /** Undefined where the plan has nothing to do with the table. */
  readonly staged: StagedTable | undefined;
  readonly plan: TablePlan | undefined;
}

/** By table: queries for the rows that refer softly to rows which are inserted. */
type Referrers = ReadonlyMap<string, readonly RawBuilder<unknown>[]>;

/**
 * The bytes of the receipt of a plan that is about to be applied, in the same transaction: the old
 * rows of all that it updates or deletes, and a line for each row that it writes. Rows stream by
 * COPY and are never held.
 */
export async function receiptBytes(
  session: Session,
  schema: OpenSchema,
  working: WorkingPlan,
  subject: ReceiptSubject,
  encryption: Encryption,
  onRows: (rows: number) => void,
): Promise<AsyncGenerator<Uint8Array>> {
  const referrers = findReferrers(schema, working);
  const entries = touchedTables(schema, working, referrers);
  const header = await describeReceipt(session, schema, working, subject, entries);
  const bytes = writeBundle(header, sections(session, entries, referrers), {
    layout: "jsonl",
    // The rows come from the database that would take them back.
    validate: false,
    maxRowBytes: Math.max(defaultMaxRowBytes, longestRow),
    onRows: (_table, rows) => onRows(rows),
  });
  return encode(bytes, { compression: "zstd", encryption });
}

/** PostgreSQL makes no longer text, so whatever could be read can be written down. */
const longestRow = 1024 ** 3;

function touchedTables(
  schema: OpenSchema,
  { plan, bundle }: WorkingPlan,
  referrers: Referrers,
): readonly Entry[] {
  return schema.tables.flatMap((table): readonly Entry[] => {
    const counts = plan.tables.find((entry) => entry.table === table.name);
    const written =
      counts !== undefined && counts.insert + counts.update + counts.relink + counts.delete > 0;
    if (!written && !referrers.has(table.name)) return [];
    const staged = bundle.tables.find((entry) => entry.table.name === table.name);
    return [{ table, staged: written ? staged : undefined, plan: written ? counts : undefined }];
  });
}

async function describeReceipt(
  session: Session,
  schema: OpenSchema,
  { plan, bundle }: WorkingPlan,
  subject: ReceiptSubject,
  entries: readonly Entry[],
): Promise<BundleHeader> {
  const { rows } = await sql<{ lsn: string; now: string; transaction: string }>`
    SELECT pg_current_wal_lsn()::text AS lsn,
           to_char(clock_timestamp(), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS now,
           pg_current_xact_id()::text AS transaction`.execute(session.db);
  const [row] = rows;
  if (row === undefined) throw new Error("the server did not tell its position");
  return {
    format: 1,
    createdAt: row.now,
    tool: `pgtenant ${toolVersion}`,
    tenant: bundle.tenant,
    source: {
      server: session.serverVersion,
      database: session.database,
      snapshotLsn: row.lsn,
      migrations: await readMigrations(session, schema),
    },
    profile: { name: schema.profile.name, version: schema.profile.version },
    selection: null,
    tables: [...entries.map(({ table }) => describeTable(schema, table)), writtenTable],
    leftOut: [],
    receipt: {
      ...subject,
      mode: plan.mode,
      transaction: row.transaction,
      cluster: await systemIdentifier(session),
      inserted: entries.flatMap(({ table, staged, plan: counts }) =>
        staged === undefined || counts?.insert === 0
          ? []
          : [{ table: table.name, columns: staged.columns.map((column) => column.name) }],
      ),
    },
  };
}

/** Without references and chain: what the rows point to need not be in the receipt. */
function describeTable(schema: OpenSchema, table: Table): BundleTable {
  return {
    name: table.name,
    columns: bundleColumns(table),
    primaryKey: keyOf(table),
    ownedThrough: [],
    references: [],
    schema: rowSchemaOf(table, schema.shipped.get(table.name)).schema,
  };
}

async function* sections(
  session: Session,
  entries: readonly Entry[],
  referrers: Referrers,
): AsyncGenerator<BundleSection> {
  for (const { table, staged, plan } of entries) {
    const has = plan !== undefined && plan.update + plan.relink + plan.delete > 0;
    const queries = has && staged !== undefined ? [oldRows(staged)] : [];
    yield section(session, table.name, queries);
  }
  const queries = entries.flatMap(({ table, staged }) => {
    const parts = [
      ...(staged === undefined ? [] : writtenRows(staged)),
      ...(referrers.get(table.name) ?? []),
    ];
    return parts.map((part) => sql`SELECT row_to_json(w) FROM (${part}) AS w`);
  });
  yield section(session, writtenTable.name, queries);
}

/** The rows of several queries, one after the other. */
function section(
  session: Session,
  table: string,
  queries: readonly RawBuilder<unknown>[],
): BundleSection {
  let total = 0;
  async function* rows(): AsyncGenerator<Uint8Array> {
    for (const query of queries) {
      const copy = copyJsonLines(session, query);
      yield* copy.stream as AsyncIterable<Uint8Array>;
      total += copy.rowCount();
    }
  }
  return { table, rows: rows(), expectedRows: () => total };
}

function oldRows({ table, key, match, extra }: StagedTable): RawBuilder<unknown> {
  const order = key.map((name) =>
    table.columns.some((column) => column.name === name && column.collatable)
      ? sql`${sql.id("l", name)} COLLATE "C"`
      : sql.id("l", name),
  );
  return sql`SELECT row_to_json(t) FROM (
    SELECT ${sql.join(storedColumns(table).map((column) => encoded(column)))}
      FROM (SELECT ${columnList(key)} FROM ${match} WHERE "pgtenant$action" IN ('update', 'relink')
             UNION ALL SELECT ${columnList(key)} FROM ${extra}) AS w
      JOIN ${relation(table)} AS l ON ${columnsEqual("l", key, "w")}
     ORDER BY ${sql.join(order)}) AS t`;
}

function writtenRows(staged: StagedTable): readonly RawBuilder<unknown>[] {
  const { table, key, stage, match, extra } = staged;
  const restored = new Set(staged.columns.map((column) => column.name));
  const inserted = staged.columns.map((column) => sql.id("s", column.name));
  // Columns that the bundle lacks stay as they are, and have to do so until the undo.
  const updated = storedColumns(table).map(({ name }) =>
    sql.id(restored.has(name) ? "s" : "l", name),
  );
  return [
    sql`${written(table, "s", sql`'inserted'`, rowHash(inserted))}
          FROM ${stage} AS s WHERE ${isInserted(staged, "s")}`,
    sql`${written(table, "s", sql`"pgtenant$action" || CASE "pgtenant$action" WHEN 'relink' THEN 'ed' ELSE 'd' END`, rowHash(updated))}
          FROM ${match} AS m JOIN ${stage} AS s ON ${columnsEqual("s", key, "m")}
          JOIN ${relation(table)} AS l ON ${columnsEqual("l", key, "m")}
         WHERE m."pgtenant$action" IN ('update', 'relink')`,
    sql`${written(table, "e", sql`'deleted'`, sql`NULL`)} FROM ${extra} AS e`,
  ];
}

function findReferrers(schema: OpenSchema, { plan, bundle }: WorkingPlan): Referrers {
  const found = new Map<string, RawBuilder<unknown>[]>();
  for (const key of softReferences(schema)) {
    const to = bundle.tables.find(({ table }) => table.name === key.to);
    const from = schema.catalog.tables.get(key.from);
    const counts = plan.tables.find(({ table }) => table === key.to);
    if (to === undefined || from === undefined || counts === undefined || counts.insert === 0) {
      continue;
    }
    if (!key.toColumns.every((column) => to.present.has(column))) continue;
    const query = sql`SELECT ${columnList(keyOf(from), "r")} FROM ${relation(from)} AS r
        JOIN ${to.stage} AS s ON ${columnsEqual("r", key.columns, "s", key.toColumns)}
       WHERE ${isInserted(to, "s")}`;
    const others = found.get(from.name) ?? [];
    found.set(from.name, [...others, query]);
  }
  return new Map(
    [...found].map(([name, queries]) => {
      const table = schema.catalog.tables.get(name);
      if (table === undefined) return [name, []];
      // UNION, since a row may refer by several references.
      const all = queries.reduce((left, right) => sql`${left} UNION ${right}`);
      const once = queries.length === 1 ? sql`SELECT DISTINCT * FROM (${all}) AS q` : all;
      return [name, [sql`${written(table, "d", sql`'referring'`, sql`NULL`)} FROM (${once}) AS d`]];
    }),
  );
}

/** The beginning of a query for rows of the last section; `alias` has the key's columns. */
function written(
  table: Table,
  alias: string,
  action: RawBuilder<unknown>,
  after: RawBuilder<unknown>,
): RawBuilder<unknown> {
  const members = keyOf(table).map((name) => {
    const column = table.columns.find((candidate) => candidate.name === name);
    const value = sql.id(alias, name);
    return sql`${sql.lit(name)}, ${column?.encoding.as === "text" ? sql`${value}::text` : value}`;
  });
  return sql`SELECT ${sql.lit(table.name)} AS "table",
      json_build_object(${sql.join(members)})::text AS key, ${action} AS action, ${after} AS after`;
}
