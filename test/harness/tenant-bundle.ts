import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BundleHeader, TableEnd, Trailer } from "../../src/bundle/format.ts";
import { defaultMaxRowBytes } from "../../src/bundle/format.ts";
import { type BundlePart, readBundle } from "../../src/bundle/reader.ts";
import { type Session, withSession } from "../../src/postgres/session.ts";
import { noProgress } from "../../src/progress.ts";
import {
  type ExportOptions,
  type ExportResult,
  exportTenant,
  type Snapshot,
  withSnapshot,
} from "../../src/tenant/export.ts";
import { findTenant } from "../../src/tenant/find-tenant.ts";
import type { Selection } from "../../src/tenant/import-types.ts";
import { type OpenSchema, openSchema, type SchemaOptions } from "../../src/tenant/open-schema.ts";
import { prepareRedaction, type RedactionChoice } from "../../src/tenant/redaction.ts";
import type { PartChooser } from "../../src/tenant/selection/export-part.ts";

/** Connects to a test database and classifies its tables, as every command begins. */
export function withTenantSchema<T>(
  databaseUrl: string,
  use: (session: Session, schema: OpenSchema) => Promise<T>,
  options: Partial<SchemaOptions> = {},
): Promise<T> {
  return withSession({ databaseUrl, applicationName: "pgtenant-test" }, async (session) =>
    use(
      session,
      await openSchema(session, { profile: "n-kudo", acceptUnclassified: false, ...options }),
    ),
  );
}

/** As `withTenantSchema`, inside of the snapshot that exports read from. */
export function withExportSnapshot<T>(
  databaseUrl: string,
  use: (
    session: Session,
    schema: OpenSchema,
    snapshot: Snapshot,
    part: PartChooser | undefined,
  ) => Promise<T>,
  options: Partial<SchemaOptions> & { readonly selection?: Selection } = {},
): Promise<T> {
  return withTenantSchema(
    databaseUrl,
    (session, schema) =>
      withSnapshot(
        session,
        schema,
        (snapshot, part) => use(session, schema, snapshot, part),
        options.selection,
      ),
    options,
  );
}

export interface ExportedBundle {
  readonly bytes: Buffer;
  readonly result: ExportResult;
}

export type ExportChoice = Partial<
  Pick<ExportOptions, "layout" | "compression" | "encryption" | "validate" | "maxRowBytes">
> & {
  readonly selection?: Selection;
  /** Replaces secrets, and with `personal` names. */
  readonly redact?: RedactionChoice;
} & Partial<SchemaOptions>;

/** One tenant's bundle, which went through a file as with `export -o`. */
export async function exportBundle(
  databaseUrl: string,
  tenant: string,
  choice: ExportChoice = {},
): Promise<ExportedBundle> {
  const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  const output = join(folder, "bundle");
  try {
    const result = await withExportSnapshot(
      databaseUrl,
      async (session, schema, snapshot, part) => {
        const found = await findTenant(session, schema, tenant);
        const redaction =
          choice.redact === undefined
            ? undefined
            : await prepareRedaction(session, schema, found, choice.redact);
        const options: ExportOptions = {
          output,
          layout: "jsonl",
          compression: "none",
          encryption: { method: "none" },
          overwrite: false,
          validate: true,
          maxRowBytes: defaultMaxRowBytes,
          progress: noProgress,
          signal: new AbortController().signal,
          redaction,
          ...choice,
        };
        return await exportTenant(session, schema, snapshot, found, options, part);
      },
      choice,
    );
    return { bytes: await readFile(output), result };
  } finally {
    await rm(folder, { recursive: true });
  }
}

export interface ReadTable {
  readonly name: string;
  /** The rows' lines, without line ends. */
  readonly lines: readonly string[];
  readonly end: TableEnd;
}

export interface ReadBundle {
  readonly header: BundleHeader;
  readonly layout: "jsonl" | "json";
  readonly tables: readonly ReadTable[];
  readonly trailer: Trailer;
}

/** The bytes as a stream of chunks of this size. */
export async function* inChunks(bytes: Uint8Array, size = 64 * 1024): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Reads a whole bundle through the reader that import and verify use. */
export async function readWholeBundle(
  bytes: Uint8Array,
  options: { readonly chunk?: number; readonly maxRowBytes?: number } = {},
): Promise<ReadBundle> {
  const parts: BundlePart[] = [];
  const { chunk, ...limits } = options;
  for await (const part of readBundle(inChunks(bytes, chunk), { name: '"b"', ...limits })) {
    parts.push(part);
  }
  const [first] = parts;
  const last = parts.at(-1);
  if (first?.kind !== "header" || last?.kind !== "trailer") {
    throw new Error("the reader let a bundle without header or trailer pass");
  }
  const tables: { name: string; lines: string[]; end: TableEnd }[] = [];
  for (const part of parts) {
    if (part.kind === "rows") {
      const lines = part.bytes.toString("utf8").split("\n").slice(0, -1);
      tables.at(-1)?.lines.push(...lines);
    } else if (part.kind === "table") {
      const end: TableEnd = { table: part.table.name, rows: -1, sha256: "" };
      tables.push({ name: part.table.name, lines: [], end });
    } else if (part.kind === "end") {
      const open = tables.find((table) => table.name === part.end.table);
      if (open !== undefined) open.end = part.end;
    }
  }
  return { header: first.header, layout: first.layout, tables, trailer: last.trailer };
}

/** The parsed rows of one table of a bundle. Numbers lose precision, as JSON.parse has it. */
export function rowsOf(bundle: ReadBundle, table: string): readonly Record<string, unknown>[] {
  const found = bundle.tables.find((entry) => entry.name === table);
  if (found === undefined) throw new Error(`the bundle has no table ${table}`);
  return found.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}
