import { sql } from "kysely";
import type { BundleHeader, LeftOut } from "../bundle/format.ts";
import { storedColumns } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import { type Session, withTransaction } from "../postgres/session.ts";
import { proveRoot } from "./boundary-proof.ts";
import { refuseConflicts } from "./conflicts.ts";
import { tableFindings } from "./diff-findings.ts";
import { countDeviations, countLiveRows, findDeviations, findLiveRows } from "./diff-rows.ts";
import type {
  BundleDiff,
  DiffCounts,
  DiffFinding,
  DiffOptions,
  DiffSummary,
  TableDiff,
} from "./diff-types.ts";
import type { LostValues } from "./homeless.ts";
import { refuseReceipt, requireProfile } from "./import.ts";
import type { OpenSchema } from "./open-schema.ts";
import { type SelectedPart, selectPart } from "./selection/import-part.ts";
import { openBundle, type StagedBundle, stageBundle } from "./staging.ts";

/**
 * Compares a bundle with its tenant's live rows, as they stand in one snapshot. It writes into
 * temporary tables of its own only, waits for no lock, and needs no right but to read.
 *
 * @param use gets the comparison while its transaction is open
 * @throws {AppError} exit 3 for a bundle that is not whole and valid, 4 when it does not hold the
 *   tenant that it names, 7 when the database fails
 */
export async function diffBundle<T>(
  session: Session,
  schema: OpenSchema,
  source: AsyncIterable<Uint8Array>,
  options: DiffOptions,
  use: (diff: BundleDiff) => Promise<T>,
): Promise<T> {
  const started = performance.now();
  const { header, parts } = await openBundle(source, options);
  requireProfile(schema, header, options.name);
  refuseReceipt(header, options.name);
  await session.client.query("SET temp_buffers = '64MB'").catch(() => undefined);
  await session.client.query("SET work_mem = '64MB'");
  const everything = { ...options, set: new Map<string, string>(), leaveOut: namesOf(header) };
  const whole = await stageBundle(session, schema, parts, header, everything);
  return await withTransaction(session, "REPEATABLE READ", async () => {
    refuseConflicts(await proveRoot(session, schema, whole));
    // As an import with --mode replace would look at it.
    const { selection } = options;
    const part = await selectPart(session, schema, whole, { mode: "replace", selection });
    const { bundle } = part;
    const compared = await compare(session, schema, part, options);
    options.progress.stop();
    const summary = { ...compared, seconds: (performance.now() - started) / 1000 };
    const readings: AsyncGenerator<DiffFinding>[] = [];
    try {
      return await use({
        summary,
        findings: (perTable) => {
          const reading = findings(session, schema, bundle, summary.tables, perTable);
          readings.push(reading);
          return reading;
        },
      });
    } finally {
      // A reading that was given up would keep the session from its COMMIT.
      for (const reading of readings) await reading.return(undefined);
    }
  });
}

/** Whatever the target has no place for is told, and stops nothing. */
function namesOf(header: BundleHeader): readonly string[] {
  return header.tables.flatMap(({ name, columns }) => [
    name,
    ...columns.map((column) => `${name}.${column.name}`),
  ]);
}

async function compare(
  session: Session,
  schema: OpenSchema,
  { bundle, within }: SelectedPart,
  options: DiffOptions,
): Promise<Omit<DiffSummary, "seconds">> {
  for (const staged of bundle.tables) {
    options.progress.advance(`comparing ${staged.table.name}`, 0);
    await findDeviations(session, schema, bundle, staged);
    await findLiveRows(session, schema, bundle, staged, within);
  }
  const tables: TableDiff[] = [];
  for (const staged of bundle.tables) tables.push(await countDeviations(session, staged));
  for (const { table, column, row } of bundle.lost) {
    if (column === undefined) tables.push({ ...noRows, table, onlyInBundle: row });
  }
  const counts: DiffCounts = {
    onlyInBundle: sum(tables, "onlyInBundle"),
    onlyLive: sum(tables, "onlyLive"),
    different: sum(tables, "different"),
    boundary: sum(tables, "boundary"),
    equal: sum(tables, "equal"),
  };
  const deviating = counts.onlyInBundle + counts.onlyLive + counts.different + counts.boundary;
  return {
    equal: deviating === 0 && bundle.lost.length === 0,
    tenant: bundle.tenant,
    ...(await lookAtTenant(session, schema, bundle)),
    bundleCreatedAt: bundle.header.createdAt,
    database: session.database,
    counts,
    tables,
    leftOut: [...bundle.leftOut, ...(await notInBundle(session, schema, bundle))],
    warnings: schema.warnings,
  };
}

const noRows: DiffCounts = { onlyInBundle: 0, onlyLive: 0, different: 0, boundary: 0, equal: 0 };

function sum(tables: readonly TableDiff[], field: keyof DiffCounts): number {
  return tables.reduce((total, table) => total + table[field], 0);
}

async function lookAtTenant(
  session: Session,
  { catalog, root }: OpenSchema,
  bundle: StagedBundle,
): Promise<Pick<DiffSummary, "tenantExists" | "comparedAt">> {
  const table = catalog.tables.get(root.table);
  if (table === undefined) throw new Error(`no table ${root.table}`);
  const { rows } = await sql<{ found: boolean; now: string }>`
    SELECT EXISTS (SELECT FROM ${relation(table)} AS l
                    WHERE ${sql.id("l", root.key)} = ${sql.lit(bundle.tenant.id)}) AS found,
           to_char(now(), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS now`.execute(session.db);
  const [row] = rows;
  if (row === undefined) throw new Error("the server did not tell the time");
  return { tenantExists: row.found, comparedAt: row.now };
}

/** Tables and columns about which the bundle says nothing, such as those of a later migration. */
async function notInBundle(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
): Promise<readonly LeftOut[]> {
  const found: LeftOut[] = [];
  for (const table of schema.tables) {
    const inBundle = bundle.header.tables.find(({ name }) => name === table.name);
    if (inBundle === undefined) {
      const rows = await countLiveRows(session, schema, bundle, table);
      found.push({
        table: table.name,
        reason: `the bundle has no such table; ${rows} row(s) are live`,
      });
      continue;
    }
    const names = new Set(inBundle.columns.map((column) => column.name));
    for (const { name } of storedColumns(table)) {
      if (names.has(name)) continue;
      found.push({ column: `${table.name}.${name}`, reason: "the bundle has no such column" });
    }
  }
  return found;
}

async function* findings(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  tables: readonly TableDiff[],
  perTable: number | undefined,
): AsyncGenerator<DiffFinding> {
  for (const lost of bundle.lost) yield noPlace(lost);
  for (const staged of bundle.tables) {
    const counts = tables.find(({ table }) => table === staged.table.name);
    if (counts === undefined) continue;
    const { onlyInBundle, onlyLive, different, boundary } = counts;
    if (onlyInBundle + onlyLive + different + boundary === 0) continue;
    yield* tableFindings(session, schema, staged, perTable);
  }
}

function noPlace({ table, column, row }: LostValues): DiffFinding {
  return column === undefined
    ? { kind: "no-place", table, reason: `${row} row(s), and the target has no such table` }
    : {
        kind: "no-place",
        table,
        column,
        reason: `a value in row ${row}, and the target has no such column`,
      };
}
