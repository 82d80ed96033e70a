import { encode } from "../bundle/encode.ts";
import type { Encryption } from "../bundle/encryption.ts";
import type {
  BundleColumn,
  BundleHeader,
  BundleTable,
  LeftOut,
  TableEnd,
  TenantIdentity,
} from "../bundle/format.ts";
import { closedRowSchema, withoutNotes } from "../bundle/row-schema.ts";
import { shippedTables } from "../bundle/shipped-schemas.ts";
import { type BundleSection, writeBundle } from "../bundle/writer.ts";
import { AppError, ExitCode } from "../errors.ts";
import { openTempFolder } from "../postgres/temp-folder.ts";
import { nKudo } from "../profile/n-kudo.ts";
import type { ProgressListener } from "../progress.ts";
import { writeOutput } from "../storage/output.ts";
import type { S3Server } from "../storage/s3-url.ts";
import { toolVersion } from "../version.ts";
import { type BundleForm, bundlePath, type Destination } from "./bundle-path.ts";
import {
  openSpools,
  readStateDocument,
  type StateDocument,
  type StateSpools,
} from "./state-document.ts";
import { leftOutOf } from "./state-left-out.ts";
import { type AbsentReference, absentReferences, isAbsent } from "./state-references.ts";
import type { StateRows } from "./state-rows.ts";
import { chainColumns, mostAuditEvents, rootTable, type StateColumn } from "./state-tables.ts";

export interface ConvertOptions extends BundleForm {
  /** How messages call the document. */
  readonly name: string;
  readonly destination: Destination;
  readonly server?: S3Server | undefined;
  readonly overwrite: boolean;
  /** The tenant's own row, which a document does not hold. */
  readonly root?: { readonly slug: string; readonly name: string } | undefined;
  /** Sets references to NULL whose rows the document lacks. */
  readonly dropReferences: boolean;
  readonly maxRowBytes: number;
  /** Where rows lie for a while; by default the system's own place. */
  readonly tempFolder: string | undefined;
  readonly searchPath: string | undefined;
  readonly progress: ProgressListener;
  readonly signal: AbortSignal;
}

export interface ConvertResult {
  readonly tenant: TenantIdentity;
  readonly output: string;
  readonly bytes: number;
  readonly encryption: Encryption["method"];
  /** When N-Kudo wrote the document. */
  readonly exportedAt: string;
  readonly rows: number;
  readonly tables: readonly TableEnd[];
  /** References to rows that the document lacks. */
  readonly references: readonly AbsentReference[];
  readonly leftOut: readonly LeftOut[];
  readonly warnings: readonly string[];
  readonly seconds: number;
}

/**
 * Turns a state document of N-Kudo's into a bundle. The document is read once; its rows lie in
 * temporary files meanwhile, so that its size does not matter and its keys may come in any order.
 *
 * @throws {AppError} exit 3 for what is no whole and valid state document, 2 and 8 as for an export
 */
export async function convertDocument(
  source: AsyncIterable<Uint8Array>,
  options: ConvertOptions,
): Promise<ConvertResult> {
  const started = performance.now();
  const folder = await openTempFolder(options.tempFolder, options.searchPath);
  let spools: StateSpools = new Map();
  try {
    spools = await openSpools(folder.path);
    const document = await readStateDocument(source, spools, {
      name: options.name,
      maxRowBytes: options.maxRowBytes,
      onRow: (table) => options.progress.advance(`reading ${table}`, 1),
    });
    if (options.root !== undefined) setRoot(document, options.root);
    return await writeDocument(document, options, started);
  } finally {
    for (const spool of spools.values()) await spool.close();
    await folder.remove();
  }
}

async function writeDocument(
  document: StateDocument,
  options: ConvertOptions,
  started: number,
): Promise<ConvertResult> {
  const kept = [...document.tables.values()].filter((rows) => rows.count > 0);
  const withRows = new Map(kept.map((rows) => [rows.table.name, rows]));
  if (kept.every(({ table }) => table.name === rootTable)) {
    throw new AppError(
      "empty-document",
      ExitCode.invalidInput,
      `${options.name} holds no row that can be restored`,
      { hint: "Export the tenant from its database instead: pgtenant export TENANT." },
    );
  }
  const columns = new Map(
    kept.map((rows) => [rows.table.name, rows.presentColumns(withoutColumns(rows))]),
  );
  const references = await absentReferences(withRows, options.dropReferences);
  const tenant = await identityOf(document);
  const leftOut = leftOutOf(document, columns);
  const header: BundleHeader = {
    format: 1,
    createdAt: document.exportedAt,
    tool: `pgtenant ${toolVersion}`,
    tenant,
    source: {
      server: "none",
      database: "N-Kudo state document 1.0",
      snapshotLsn: "none",
      migrations: [],
    },
    profile: { name: nKudo.name, version: nKudo.version },
    selection: null,
    tables: kept.map((rows) => describeTable(rows, columns, references)),
    leftOut,
  };
  const ends: TableEnd[] = [];
  const bytes = writeBundle(header, sections(kept, withRows, columns, options.dropReferences), {
    layout: options.layout,
    // What is made of a foreign document is checked, always.
    validate: true,
    maxRowBytes: options.maxRowBytes,
    onRows: (table, rows) => options.progress.advance(`writing ${table}`, rows),
    onEnd: (end) => ends.push(end),
  });
  const output = await bundlePath(
    options.destination,
    options,
    tenant,
    document.exportedAt,
    new Set(),
    false, // converted again, it would be the same
  );
  const written = await writeOutput(output, encode(bytes, options), options);
  options.progress.stop();
  return {
    tenant,
    output,
    bytes: written.bytes,
    encryption: options.encryption.method,
    exportedAt: document.exportedAt,
    rows: ends.reduce((sum, end) => sum + end.rows, 0),
    tables: ends,
    references,
    leftOut,
    warnings: warningsOf(document, references),
    seconds: (performance.now() - started) / 1000,
  };
}

function setRoot(document: StateDocument, root: { slug: string; name: string }): void {
  const rows = document.tables.get(rootTable);
  if (rows === undefined) throw new Error("there is no root table");
  if (rows.count > 0) {
    throw new AppError(
      "root-given",
      ExitCode.usage,
      "the document holds the tenant's own row, and --slug and --name give another",
      { hint: "Leave them out." },
    );
  }
  const text = (value: string) => ({ kind: "string" as const, text: value });
  const row = new Map([
    ["id", text(document.tenantId)],
    ["slug", text(root.slug)],
    ["name", text(root.name)],
  ]);
  rows.add(row, "tenant", () => undefined);
}

async function identityOf(document: StateDocument): Promise<TenantIdentity> {
  const rows = document.tables.get(rootTable);
  for await (const values of rows?.read(false) ?? []) {
    const textOf = (column: string) => JSON.parse(values[rows?.at(column) ?? -1] ?? "") as string;
    return { id: document.tenantId, slug: textOf("slug"), name: textOf("name") };
  }
  return { id: document.tenantId, slug: null, name: null };
}

/** N-Kudo writes these even where it has not read them. */
function withoutColumns(rows: StateRows): ReadonlySet<string> {
  const { chain } = rows.table;
  return new Set(chain === undefined || rows.hasValues(chain.own) ? [] : chainColumns);
}

function describeTable(
  rows: StateRows,
  columnsOf: ReadonlyMap<string, readonly StateColumn[]>,
  absent: readonly AbsentReference[],
): BundleTable {
  const { name, chain, references } = rows.table;
  const columns = columnsOf.get(name) ?? [];
  const shipped = shippedTables(nKudo).get(name)?.properties ?? {};
  const has = new Set(columns.map((column) => column.name));
  const isWhole = (by: string) =>
    !absent.some((one) => one.table === name && one.column === by && !one.dropped);
  const isRoot = name === rootTable;
  return {
    name,
    columns: columns.map(
      (column): BundleColumn => ({
        name: column.name,
        type: column.type,
        nullable: column.nullable,
        encoding: column.type === "jsonb" ? "text" : "value",
      }),
    ),
    primaryKey: ["id"],
    ownedThrough: isRoot ? [] : [`tenant_id -> ${rootTable} (id)`],
    references: [
      ...references
        .filter(({ table, by }) => columnsOf.has(table) && has.has(by) && isWhole(by))
        .map(({ columns: from, table, to }) => ({ columns: from, table, to })),
      ...(isRoot || !columnsOf.has(rootTable)
        ? []
        : [{ columns: ["tenant_id"], table: rootTable, to: ["id"] }]),
    ],
    ...(chain === undefined || !has.has(chain.own) || !has.has(chain.previous) ? {} : { chain }),
    schema: closedRowSchema(
      new Map(columns.map((column) => [column.name, withoutNotes(shipped[column.name] ?? {})])),
    ),
  };
}

async function* sections(
  kept: readonly StateRows[],
  withRows: ReadonlyMap<string, StateRows>,
  columnsOf: ReadonlyMap<string, readonly StateColumn[]>,
  drop: boolean,
): AsyncGenerator<BundleSection> {
  for (const rows of kept) {
    const columns = columnsOf.get(rows.table.name) ?? [];
    yield {
      table: rows.table.name,
      rows: lines(rows, withRows, columns, drop),
      expectedRows: () => rows.count,
    };
  }
}

const batchLength = 32 * 1024;

async function* lines(
  rows: StateRows,
  withRows: ReadonlyMap<string, StateRows>,
  columns: readonly StateColumn[],
  drop: boolean,
): AsyncGenerator<Uint8Array> {
  const parts = columns.map(({ name }, i) => ({
    at: rows.at(name),
    key: `${i === 0 ? "{" : ","}${JSON.stringify(name)}:`,
  }));
  const references = drop ? rows.table.references : [];
  let batch = "";
  for await (const values of rows.read(true)) {
    for (const reference of references) {
      const at = rows.at(reference.by);
      const nullable = rows.table.columns[at]?.nullable === true;
      if (nullable && isAbsent(withRows, reference, values[at])) values[at] = "";
    }
    for (const { at, key } of parts) batch += key + (values[at] || "null");
    batch += "}\n";
    if (batch.length < batchLength) continue;
    yield Buffer.from(batch);
    batch = "";
  }
  if (batch !== "") yield Buffer.from(batch);
}

function warningsOf(
  document: StateDocument,
  references: readonly AbsentReference[],
): readonly string[] {
  const cut = document.tables.values().reduce((sum, rows) => sum + rows.cut, 0);
  const audit = document.tables.get("public.audit_events");
  const open = references.filter((one) => !one.dropped);
  return [
    ...(cut === 0
      ? []
      : [
          `${cut} time(s) are finer than microseconds, which is all that PostgreSQL holds, and were cut`,
        ]),
    ...(audit === undefined || audit.count < mostAuditEvents
      ? []
      : [
          `the document holds ${audit.count} audit events; N-Kudo writes the newest ${mostAuditEvents} only, so older ones may be missing`,
        ]),
    ...open.map(
      (one) =>
        `${one.rows} row(s) of "${one.table}" refer by "${one.column}" to rows of "${one.to}" that the document lacks; import takes them only where those rows are live${one.nullable ? ", or convert with --drop-references" : ""}`,
    ),
    ...[...document.unread].map(
      ([key, elements]) =>
        `nothing was taken from the document's "${key}"${elements > 0 ? ` (${elements} elements)` : ""}`,
    ),
  ];
}
