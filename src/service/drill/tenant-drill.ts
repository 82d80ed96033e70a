import { sql } from "kysely";
import type { DecryptionKeys } from "../../bundle/encryption.ts";
import { defaultMaxRowBytes } from "../../bundle/format.ts";
import { relation } from "../../catalog/ownership.ts";
import { databaseError } from "../../postgres/database-errors.ts";
import { type ConnectionOptions, type Session, withSession } from "../../postgres/session.ts";
import { noProgress } from "../../progress.ts";
import { diffBundle } from "../../tenant/diff.ts";
import type { DiffCounts } from "../../tenant/diff-types.ts";
import { importBundle } from "../../tenant/import.ts";
import type { ImportMode, ImportOptions } from "../../tenant/import-types.ts";
import { type OpenSchema, openSchema, type SchemaOptions } from "../../tenant/open-schema.ts";
import { countWords } from "../words.ts";
import { type Finding, notWhole } from "./drill-checks.ts";
import type { FoundBundle } from "./newest-bundle.ts";

export interface TenantDrill {
  /** Of the scratch database: the tenant in it is deleted. */
  readonly connection: ConnectionOptions;
  readonly schema: SchemaOptions;
  readonly bundle: FoundBundle;
  readonly keys: DecryptionKeys;
}

/**
 * Loses the bundle's tenant in the scratch database as an operator would lose it, brings it back
 * from the bundle, and compares every row with the bundle's.
 *
 * @throws {AppError} exit 3 when the bundle is not whole, or what came back is not what it holds; 4
 *   when the import is refused, 6 when no key fits
 */
export async function drillTenant(drill: TenantDrill): Promise<Finding> {
  const { bundle, keys } = drill;
  const { tenant, createdAt } = bundle.header;
  const called = `tenant "${tenant.slug ?? tenant.id}"`;
  const kept = await inScratch(drill, (session, schema) => loseTenant(session, schema, tenant.id));
  const options = importOptions(bundle.name, kept === undefined ? "missing" : "replace", keys);
  const imported = await inScratch(drill, async (session, schema) =>
    importBundle(session, schema, await bundle.open(), options),
  );
  const { counts, tables } = await inScratch(drill, async (session, schema) =>
    diffBundle(session, schema, await bundle.open(), options, ({ summary }) =>
      Promise.resolve(summary),
    ),
  );
  const away = counts.onlyInBundle + counts.boundary;
  // What a replace may not change, revocations for one, is not lost.
  const wrong = kept === undefined ? away + counts.different : away;
  if (wrong > 0) {
    throw notWhole(
      "tenant-differs",
      `${called} did not come back from ${bundle.name} as it was: ${countWords(wrong, "row")} differ`,
      {
        hint: "Look at them with pgtenant diff against a restored database; a bundle of another day may hold what this one does not.",
        details: tables.filter(deviates).map((table) => `${table.table}: ${countsText(table)}`),
      },
    );
  }
  const how =
    kept === undefined
      ? `was deleted from the scratch database and came back`
      : `was made what the bundle holds`;
  return {
    message: `${called} ${how} from ${bundle.name} of ${createdAt}: ${countWords(imported.rowsInBundle, "row")}, each as in the bundle`,
    details: kept === undefined ? [] : [kept],
  };
}

async function inScratch<T>(
  { connection, schema }: TenantDrill,
  work: (session: Session, schema: OpenSchema) => Promise<T>,
): Promise<T> {
  return await withSession(connection, async (session) =>
    work(session, await openSchema(session, schema)),
  );
}

/** @returns why it could not be deleted; undefined when it is gone, or was not there */
async function loseTenant(
  session: Session,
  { catalog, root }: OpenSchema,
  id: string,
): Promise<string | undefined> {
  const table = catalog.tables.get(root.table);
  if (table === undefined) throw new Error(`no table ${root.table}`);
  try {
    await sql`DELETE FROM ${relation(table)} AS l
               WHERE ${sql.id("l", root.key)} = ${sql.lit(id)}`.execute(session.db);
    return undefined;
  } catch (error) {
    const known = databaseError(error);
    const why = known instanceof Error ? known.message : String(known);
    return `it was replaced instead of deleted: ${why}`;
  }
}

/** Everything that an operator would be asked for is allowed: nothing here is anybody's. */
function importOptions(name: string, mode: ImportMode, keys: DecryptionKeys): ImportOptions {
  return {
    name,
    mode,
    keys,
    dryRun: false,
    confirmed: true,
    set: new Map(),
    leaveOut: [],
    disableTriggers: true,
    // The rows are compared with the bundle's.
    keepInFlight: true,
    expireCredentials: false,
    onCollision: "fail",
    acceptRedacted: false,
    maxRowBytes: defaultMaxRowBytes,
    progress: noProgress,
  };
}

function deviates({ onlyInBundle, different, boundary }: DiffCounts): boolean {
  return onlyInBundle + different + boundary > 0;
}

function countsText({ onlyInBundle, different, boundary }: DiffCounts): string {
  return [
    [onlyInBundle, "missing"],
    [different, "different"],
    [boundary, "held by another tenant"],
  ]
    .filter(([count]) => count !== 0)
    .map(([count, what]) => `${count} ${what}`)
    .join(", ");
}
