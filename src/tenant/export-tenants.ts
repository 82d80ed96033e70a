import { sql } from "kysely";
import type { TenantIdentity } from "../bundle/format.ts";
import { AppError } from "../errors.ts";
import { databaseError } from "../postgres/database-errors.ts";
import { type ConnectionOptions, type Session, withSession } from "../postgres/session.ts";
import { bundlePath, type Destination } from "./bundle-path.ts";
import {
  type ExportOptions,
  type ExportResult,
  exportTenant,
  type Snapshot,
  withSnapshot,
} from "./export.ts";
import { findTenant, listIdentities } from "./find-tenant.ts";
import type { Selection } from "./import-types.ts";
import { type OpenSchema, openSchema, type SchemaOptions } from "./open-schema.ts";
import { prepareRedaction, type RedactionChoice } from "./redaction.ts";
import { type PartChooser, preparePart } from "./selection/export-part.ts";

export interface ExportRequest extends Omit<ExportOptions, "output" | "redaction"> {
  readonly connection: ConnectionOptions;
  readonly schema: SchemaOptions;
  readonly destination: Destination;
  /** What is exported of each tenant; all of it by default. */
  readonly selection?: Selection | undefined;
  /** Replaces secrets, perhaps names too. */
  readonly redact?: RedactionChoice | undefined;
}

/** Exports the tenant with this key or name from a snapshot of its own. */
export function exportNamedTenant(request: ExportRequest, wanted: string): Promise<ExportResult> {
  return withSession(request.connection, async (session) => {
    const schema = await openSchema(session, request.schema);
    const work = async (snapshot: Snapshot, part: PartChooser | undefined) => {
      // Within the snapshot, or the tenant could be gone from it.
      const tenant = await findTenant(session, schema, wanted);
      return await exportInto(request, session, schema, snapshot, tenant, new Set(), part);
    };
    return await withSnapshot(session, schema, work, request.selection);
  });
}

async function exportInto(
  request: ExportRequest,
  session: Session,
  schema: OpenSchema,
  snapshot: Snapshot,
  tenant: TenantIdentity,
  taken: Set<string>,
  part: PartChooser | undefined,
): Promise<ExportResult> {
  const { redact, destination } = request;
  const redaction =
    redact === undefined ? undefined : await prepareRedaction(session, schema, tenant, redact);
  const named = redaction?.tenant ?? tenant;
  const output = await bundlePath(destination, request, named, snapshot.createdAt, taken);
  const options = { ...request, output, redaction };
  return await exportTenant(session, schema, snapshot, tenant, options, part);
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
    return await exportInto(request, session, schema, snapshot, tenant, taken, part);
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
