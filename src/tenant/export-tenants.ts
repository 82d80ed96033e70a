import { stat } from "node:fs/promises";
import { join } from "node:path";
import { sql } from "kysely";
import type { TenantIdentity } from "../bundle/format.ts";
import { AppError } from "../errors.ts";
import { databaseError } from "../postgres/database-errors.ts";
import { type ConnectionOptions, type Session, withSession } from "../postgres/session.ts";
import { isS3Url, parseS3Url } from "../storage/s3-url.ts";
import {
  type BundleForm,
  defaultOutputName,
  type ExportOptions,
  type ExportResult,
  exportTenant,
  type Snapshot,
  withSnapshot,
} from "./export.ts";
import { findTenant, listIdentities } from "./find-tenant.ts";
import type { Selection } from "./import-types.ts";
import { type OpenSchema, openSchema, type SchemaOptions } from "./open-schema.ts";
import { type PartChooser, preparePart } from "./selection/export-part.ts";

/**
 * Where a bundle goes; a dated name is made in a folder. A path may be an `s3://` URL, where a
 * folder is what ends with a slash or has no key at all.
 */
export type Destination =
  | { readonly kind: "stdout" }
  | { readonly kind: "file"; readonly path: string }
  /** With `perTenant`, in a folder of each tenant's own below it. */
  | { readonly kind: "folder"; readonly path: string; readonly perTenant: boolean };

export interface ExportRequest extends Omit<ExportOptions, "output"> {
  readonly connection: ConnectionOptions;
  readonly schema: SchemaOptions;
  readonly destination: Destination;
  /** What is exported of each tenant; all of it by default. */
  readonly selection?: Selection | undefined;
}

/** Exports the tenant with this key or name from a snapshot of its own. */
export function exportNamedTenant(request: ExportRequest, wanted: string): Promise<ExportResult> {
  return withSession(request.connection, async (session) => {
    const schema = await openSchema(session, request.schema);
    const work = async (snapshot: Snapshot, part: PartChooser | undefined) => {
      // Within the snapshot, or the tenant could be gone from it.
      const tenant = await findTenant(session, schema, wanted);
      const output = await outputFor(request, tenant, snapshot, new Set());
      const options = { ...request, output };
      return await exportTenant(session, schema, snapshot, tenant, options, part);
    };
    return await withSnapshot(session, schema, work, request.selection);
  });
}

export interface FailedExport {
  readonly tenant: TenantIdentity;
  readonly error: AppError;
}

export interface ExportAllResult {
  readonly exported: readonly ExportResult[];
  readonly failed: readonly FailedExport[];
  readonly snapshotLsn: string;
}

/** Called after each tenant, so that what was done is known whatever comes next. */
export type ExportListener = (outcome: ExportResult | FailedExport) => void;

/**
 * Exports every tenant, all from one snapshot. A tenant that cannot be exported is reported,
 * and the others go on; what would stop each of them, such as a lost server, ends it all.
 */
export function exportAllTenants(
  request: ExportRequest,
  onOutcome: ExportListener,
): Promise<ExportAllResult> {
  return withSession(request.connection, async (session) => {
    const schema = await openSchema(session, request.schema);
    const work = async (snapshot: Snapshot, own: PartChooser | undefined) => {
      const tenants = await listIdentities(session, schema);
      const exported: ExportResult[] = [];
      const failed: FailedExport[] = [];
      const taken = new Set<string>();
      const shared = await shareSnapshot(session);
      let next = 0;
      while (next < tenants.length) {
        // A failure in the middle of a COPY costs the connection; the snapshot outlives it.
        const prepare = (reader: Session) => preparePart(reader, schema, request.selection);
        const owner = { session, part: own };
        await withReader(request.connection, owner, shared, prepare, async (reader, part) => {
          for (let tenant = tenants[next]; tenant !== undefined; tenant = tenants[next]) {
            next += 1;
            const outcome = await attempt(request, reader, part, schema, snapshot, tenant, taken);
            if ("error" in outcome) failed.push(outcome);
            else exported.push(outcome);
            onOutcome(outcome);
            if ("error" in outcome && shared !== undefined) return;
          }
        });
      }
      return { exported, failed, snapshotLsn: snapshot.lsn };
    };
    return await withSnapshot(session, schema, work, request.selection);
  });
}

/** What the next tenant would meet, too. */
const stopsAll: ReadonlySet<string> = new Set([
  "connection-lost",
  "disk-full",
  "no-such-bucket",
  "s3-clock",
  "s3-denied",
  "s3-full",
  "s3-no-credentials",
  "s3-region",
  "s3-unreachable",
  "s3-wrong-credentials",
]);

async function attempt(
  request: ExportRequest,
  session: Session,
  part: PartChooser | undefined,
  schema: OpenSchema,
  snapshot: Snapshot,
  tenant: TenantIdentity,
  taken: Set<string>,
): Promise<ExportResult | FailedExport> {
  try {
    const output = await outputFor(request, tenant, snapshot, taken);
    return await exportTenant(session, schema, snapshot, tenant, { ...request, output }, part);
  } catch (thrown) {
    const error = databaseError(thrown);
    if (request.signal.aborted || !(error instanceof AppError)) throw error;
    if (stopsAll.has(error.code)) throw error;
    return { tenant, error };
  }
}

/** The name under which other sessions can see the same; undefined on a standby, which has none. */
async function shareSnapshot(session: Session): Promise<string | undefined> {
  const { rows } = await sql<{ recovering: boolean }>`
    SELECT pg_is_in_recovery() AS recovering`.execute(session.db);
  if (rows[0]?.recovering !== false) return undefined;
  const shared = await sql<{ id: string }>`SELECT pg_export_snapshot() AS id`.execute(session.db);
  return shared.rows[0]?.id;
}

async function withReader(
  connection: ConnectionOptions,
  owner: { readonly session: Session; readonly part: PartChooser | undefined },
  shared: string | undefined,
  prepare: (reader: Session) => Promise<PartChooser | undefined>,
  use: (reader: Session, part: PartChooser | undefined) => Promise<void>,
): Promise<void> {
  if (shared === undefined) return await use(owner.session, owner.part);
  await withSession(connection, async (reader) => {
    const part = await prepare(reader);
    await reader.client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    await sql`SET TRANSACTION SNAPSHOT ${sql.lit(shared)}`.execute(reader.db);
    await reader.client.query("SET LOCAL search_path = pg_catalog; SET LOCAL work_mem = '64MB'");
    await use(reader, part);
  });
}

async function outputFor(
  request: ExportRequest,
  tenant: TenantIdentity,
  snapshot: Snapshot,
  taken: Set<string>,
): Promise<string> {
  const { destination } = request;
  if (destination.kind === "stdout") return "-";
  const inFolder =
    destination.kind === "folder" ||
    destination.path.endsWith("/") ||
    (await isFolder(destination.path));
  if (!inFolder) return destination.path;
  const perTenant = destination.kind === "folder" && destination.perTenant;
  // Two tenants whose names differ only in characters that no file name may hold.
  for (const named of [tenant, { ...tenant, slug: `${tenant.slug}_${tenant.id}` }]) {
    const path = datedPath(destination.path, perTenant, named, snapshot, request);
    if (taken.has(path.toLowerCase())) continue;
    taken.add(path.toLowerCase());
    return path;
  }
  throw new Error("two tenants have the same key");
}

function datedPath(
  folder: string,
  perTenant: boolean,
  tenant: TenantIdentity,
  snapshot: Snapshot,
  form: BundleForm,
): string {
  const name = defaultOutputName(tenant, snapshot.createdAt, form);
  const path = perTenant ? join(name.folder, name.file) : name.file;
  // The slashes after "s3:" are no folders.
  return isS3Url(folder) ? `${folder.replace(/\/$/, "")}/${path}` : join(folder, path);
}

async function isFolder(path: string): Promise<boolean> {
  if (isS3Url(path)) return parseS3Url(path).key === "";
  return await stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );
}
