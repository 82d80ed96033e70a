import type { TenantIdentity } from "../bundle/format.ts";
import { type ConnectionOptions, type Session, withSession } from "../postgres/session.ts";
import { bundlePath, type Destination } from "./bundle-path.ts";
import {
  type ExportOptions,
  type ExportResult,
  exportTenant,
  type Snapshot,
  withSnapshot,
} from "./export.ts";
import { findTenant } from "./find-tenant.ts";
import type { Selection } from "./import-types.ts";
import { type OpenSchema, openSchema, type SchemaOptions } from "./open-schema.ts";
import { prepareRedaction, type RedactionChoice } from "./redaction.ts";
import type { PartChooser } from "./selection/export-part.ts";

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
      return await exportInto(request, { session, schema, snapshot, part }, tenant, {
        taken: new Set(),
      });
    };
    return await withSnapshot(session, schema, work, request.selection);
  });
}

/** What a tenant is read from. */
export interface Source {
  readonly session: Session;
  readonly schema: OpenSchema;
  readonly snapshot: Snapshot;
  readonly part: PartChooser | undefined;
}

export interface Naming {
  /** The paths of the same run, in lower case; this one's is added. */
  readonly taken: Set<string>;
  /** Told the path before anything is written there. */
  readonly onOutput?: (output: string) => Promise<void>;
}

/** Exports a tenant into a file of its own in the request's destination. */
export async function exportInto(
  request: ExportRequest,
  { session, schema, snapshot, part }: Source,
  tenant: TenantIdentity,
  { taken, onOutput }: Naming,
): Promise<ExportResult> {
  const { redact, destination } = request;
  const redaction =
    redact === undefined ? undefined : await prepareRedaction(session, schema, tenant, redact);
  const named = redaction?.tenant ?? tenant;
  const { createdAt } = snapshot;
  const next = !request.overwrite;
  const output = await bundlePath(destination, request, named, createdAt, taken, next);
  await onOutput?.(output);
  const options = { ...request, output, redaction };
  return await exportTenant(session, schema, snapshot, tenant, options, part);
}
