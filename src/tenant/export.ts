import { createHash, type Hash } from "node:crypto";
import { type RawBuilder, sql } from "kysely";
import { encode } from "../bundle/encode.ts";
import type { Encryption } from "../bundle/encryption.ts";
import type { BundleHeader, LeftOut, TableEnd, TenantIdentity } from "../bundle/format.ts";
import { type BundleSection, writeBundle } from "../bundle/writer.ts";
import { type Column, storedColumns, type Table } from "../catalog/catalog.ts";
import { ownedBy, relation } from "../catalog/ownership.ts";
import { copyJsonLines } from "../postgres/copy.ts";
import { conjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { walPosition } from "../postgres/share-snapshot.ts";
import { keyOf } from "../profile/classify.ts";
import type { ProgressListener } from "../progress.ts";
import { writeOutput } from "../storage/output.ts";
import type { S3Server } from "../storage/s3-url.ts";
import type { Store } from "../storage/store.ts";
import { refuseForeignReferences } from "./boundary.ts";
import { bundleHeader, describeTables } from "./bundle-header.ts";
import type { BundleForm } from "./bundle-path.ts";
import type { Selection } from "./import-types.ts";
import type { OpenSchema } from "./open-schema.ts";
import { presentTables } from "./present-tables.ts";
import type { Redaction } from "./redaction.ts";
import {
  choosePart,
  type PartChooser,
  preparePart,
  type RowChoice,
} from "./selection/export-part.ts";
import { headerSelection } from "./selection/items.ts";

export interface ExportOptions extends BundleForm {
  /** A path, `s3://bucket/key`, or `-` for the standard output. */
  readonly output: string;
  /** Where S3 is; by default Amazon's. */
  readonly server?: S3Server | undefined;
  /** The bucket that `output` lies in, where it is open already. */
  readonly bucket?: Store | undefined;
  /** Hashes what is stored. */
  readonly hashStored?: boolean | undefined;
  readonly overwrite: boolean;
  readonly validate: boolean;
  readonly maxRowBytes: number;
  /** What stands for secrets and names; made by `prepareRedaction` in the same transaction. */
  readonly redaction?: Redaction | undefined;
  readonly progress: ProgressListener;
  readonly signal: AbortSignal;
}

export interface ExportResult {
  readonly tenant: TenantIdentity;
  readonly output: string;
  /** As stored, after compression and encryption. */
  readonly bytes: number;
  /** Of the stored bytes, if they were to be hashed. */
  readonly sha256?: string;
  readonly encryption: Encryption["method"];
  readonly rows: number;
  readonly tables: readonly TableEnd[];
  /** What was chosen of the tenant; null for all of it. */
  readonly selection: BundleHeader["selection"];
  readonly leftOut: readonly LeftOut[];
  readonly warnings: readonly string[];
  readonly validated: boolean;
  readonly redacted?: RedactedExport;
  readonly seconds: number;
}

export interface RedactedExport {
  readonly secrets: true;
  readonly personal: boolean;
  /** The columns whose values were replaced, as `schema.table.column`. */
  readonly columns: readonly string[];
  /** The tenant as the bundle names it. */
  readonly tenant: TenantIdentity;
}

export interface Snapshot {
  readonly lsn: string;
  readonly createdAt: string;
  readonly migrations: readonly string[];
}

/**
 * Begins the snapshot that an export reads from; everything it tells is part of the header. What is
 * needed to choose a part of the tenant is made before it begins.
 */
export async function withSnapshot<T>(
  session: Session,
  schema: OpenSchema,
  use: (snapshot: Snapshot, part: PartChooser | undefined) => Promise<T>,
  selection?: Selection,
): Promise<T> {
  const part = await preparePart(session, schema, selection);
  await session.client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  try {
    await session.client.query("SET LOCAL search_path = pg_catalog; SET LOCAL work_mem = '64MB'");
    const { rows } = await sql<{ lsn: string; now: string }>`
      SELECT ${walPosition} AS lsn,
             to_char(now(), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS now`.execute(session.db);
    const [row] = rows;
    if (row === undefined) throw new Error("the server did not tell its position");
    const migrations = await readMigrations(session, schema);
    return await use({ lsn: row.lsn, createdAt: row.now, migrations }, part);
  } finally {
    await session.client.query("ROLLBACK").catch(() => undefined);
  }
}

/**
 * Writes one tenant's bundle from an open snapshot, or of a part of the tenant.
 *
 * @throws {AppError} exit 2 when the output exists, 3 when a row does not fit its schema, 4 when
 *   a row refers to another tenant, 7 and 8 as the database and the disk have it
 */
export async function exportTenant(
  session: Session,
  schema: OpenSchema,
  snapshot: Snapshot,
  tenant: TenantIdentity,
  options: ExportOptions,
  part?: PartChooser,
): Promise<ExportResult> {
  const started = performance.now();
  const present = await presentTables(session, schema, tenant);
  await refuseForeignReferences(session, schema, tenant, present);
  const { redaction } = options;
  const selection = part === undefined ? null : headerSelection(part.selection.given);
  const header = bundleHeader(session, schema, { snapshot, tenant, selection, redaction });
  const chosen = part && (await choosePart(session, schema, tenant, part));
  const choice = chosen?.choice;
  if (options.progress.wantsTotal) {
    options.progress.start(await countRows(session, schema, tenant, choice));
  }
  const ends: TableEnd[] = [];
  const read = { present, choice, redaction };
  const bytes = writeBundle(header, sections(session, schema, tenant, read), {
    layout: options.layout,
    validate: options.validate,
    maxRowBytes: options.maxRowBytes,
    onRows: (table, rows) => options.progress.advance(table, rows),
    onEnd: (end) => ends.push(end),
  });
  const hash = options.hashStored === true ? createHash("sha256") : undefined;
  const stored = hashed(encode(bytes, options), hash);
  const written = await writeOutput(options.output, stored, options);
  options.progress.stop();
  return {
    tenant,
    output: options.output,
    bytes: written.bytes,
    ...(hash === undefined ? {} : { sha256: hash.digest("hex") }),
    encryption: options.encryption.method,
    rows: ends.reduce((sum, end) => sum + end.rows, 0),
    tables: ends,
    selection,
    leftOut: header.leftOut,
    warnings: [
      ...schema.warnings,
      ...describeTables(schema).warnings,
      ...(chosen?.warnings ?? []),
      ...(redaction?.warnings ?? []),
    ],
    validated: options.validate,
    ...(redaction === undefined || header.redacted === undefined
      ? {}
      : {
          redacted: {
            secrets: true,
            personal: redaction.personal,
            columns: redaction.columns,
            tenant: redaction.tenant,
          },
        }),
    seconds: (performance.now() - started) / 1000,
  };
}

interface SectionOptions {
  readonly present: ReadonlySet<string>;
  readonly choice?: RowChoice | undefined;
  readonly redaction?: Redaction | undefined;
}

async function* sections(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
  { present, choice, redaction }: SectionOptions,
): AsyncGenerator<BundleSection> {
  for (const table of schema.tables) {
    if (!present.has(table.name)) {
      yield { table: table.name, rows: noRows(), expectedRows: () => 0 };
      continue;
    }
    const replaced = redaction?.of(table.name);
    const rows = rowsAsJson(schema, table, tenant.id, { choice, replaced });
    const copy = copyJsonLines(session, rows);
    yield { table: table.name, rows: copy.stream, expectedRows: copy.rowCount };
  }
}

async function* hashed(
  source: AsyncIterable<Uint8Array>,
  hash: Hash | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    hash?.update(chunk);
    yield chunk;
  }
}

async function* noRows(): AsyncGenerator<Uint8Array> {}

/** What is exported of a table's rows, if it is not all as it is. */
export interface RowOptions {
  readonly choice?: RowChoice | undefined;
  /** By column: what stands in its place. */
  readonly replaced?: ReadonlyMap<string, RawBuilder<unknown>> | undefined;
}

/**
 * The tenant's rows of one table, each as the JSON that the format prescribes, in key order.
 *
 * @param replaced by column: what stands for it
 */
export function rowsAsJson(
  schema: OpenSchema,
  table: Table,
  tenantKey: string,
  { choice, replaced }: RowOptions = {},
): RawBuilder<unknown> {
  const columns = storedColumns(table);
  const byName = new Map(columns.map((column) => [column.name, column]));
  const valueIn = (name: string) => replaced?.get(name) ?? sql.id("l", name);
  const order = keyOf(table).map((name) =>
    byName.get(name)?.collatable === true ? sql`(${valueIn(name)}) COLLATE "C"` : valueIn(name),
  );
  return sql`
    SELECT row_to_json(t) FROM (
      SELECT ${sql.join(columns.map((column) => encoded(column, valueIn(column.name))))}
        FROM ${relation(table)} AS l
       WHERE ${conjunction([
         ownedBy(schema.catalog, schema.root, schema.ownership, table, "l", tenantKey),
         ...(choice === undefined ? [] : [choice(table, "l")]),
       ])}
       ORDER BY ${sql.join(order)}) AS t`;
}

/** A column of the row `l` as it travels, or what travels in its place. */
export function encoded(
  column: Column,
  value: RawBuilder<unknown> = sql.id("l", column.name),
): RawBuilder<unknown> {
  return column.encoding.as === "value"
    ? sql`${value} AS ${sql.id(column.name)}`
    : sql`(${value})::text AS ${sql.id(column.name)}`;
}

export async function countRows(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
  choice?: RowChoice,
): Promise<number> {
  const counts = schema.tables.map(
    (table) => sql`(SELECT count(*) FROM ${relation(table)} AS l
      WHERE ${conjunction([
        ownedBy(schema.catalog, schema.root, schema.ownership, table, "l", tenant.id),
        ...(choice === undefined ? [] : [choice(table, "l")]),
      ])})`,
  );
  const { rows } = await sql<{ total: string }>`
    SELECT ${sql.join(counts, sql` + `)} AS total`.execute(session.db);
  return Number(rows[0]?.total ?? 0);
}

export async function readMigrations(
  session: Session,
  schema: OpenSchema,
): Promise<readonly string[]> {
  const { migrations } = schema.profile;
  const table = migrations === undefined ? undefined : schema.catalog.tables.get(migrations.table);
  if (migrations === undefined || table === undefined) return [];
  const { rows } = await sql<{ name: string }>`
    SELECT ${sql.id("m", migrations.column)}::text AS name
      FROM ${relation(table)} AS m ORDER BY ${sql.id("m", migrations.column)}::text COLLATE "C"`.execute(
    session.db,
  );
  return rows.map((row) => row.name);
}
