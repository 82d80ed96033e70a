import { sql } from "kysely";
import { columnOf } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Session } from "../postgres/session.ts";
import { isDataException, sqlStateOf } from "../postgres/sqlstates.ts";
import { adaptRows } from "./adapt.ts";
import { undoAuditNotes } from "./audit-import.ts";
import { proveBoundary, proveRoot } from "./boundary-proof.ts";
import { type Conflict, refuseConflicts, undoAdvice } from "./conflicts.ts";
import { noteCredentials } from "./credentials.ts";
import { rootOf } from "./find-tenant.ts";
import type { PlanNote, TablePlan } from "./import-types.ts";
import { matchLiveRows } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import { countActions, type WorkingPlan } from "./plan.ts";
import { hashPlan } from "./plan-hash.ts";
import { mayDeleteFirst } from "./replace.ts";
import { planSequences } from "./sequences.ts";
import type { StagedBundle } from "./staging.ts";
import { firingTriggers, triggerWarnings } from "./triggers.ts";
import { decideUndo } from "./undo-actions.ts";
import { findReferrers } from "./undo-referrers.ts";
import { proveUniqueness } from "./unique-proof.ts";
import { proveValues } from "./value-proof.ts";
import type { StagedReceipt } from "./written-rows.ts";

/** An undo as the steps see it that it shares with an import. */
const asImport = {
  mode: "overwrite",
  expireCredentials: false,
  onCollision: "fail",
  set: new Map(),
  leaveOut: [],
} as const;

/**
 * Plans to take back what a receipt says was written, by the same tables and proofs as an import:
 * rows that were inserted are extra, the old rows are the bundle.
 *
 * @throws {AppError} exit 3 or 4, naming every row that stands against it
 */
export async function makeUndoPlan(
  session: Session,
  schema: OpenSchema,
  receipt: StagedReceipt,
  options: {
    readonly disableTriggers: boolean;
    readonly keepInFlight: boolean;
    readonly audit?: boolean;
  },
): Promise<WorkingPlan> {
  const { bundle } = receipt;
  await requireTenant(session, schema, bundle);
  const notes: PlanNote[] = [
    ...(await adaptRows(session, schema, bundle, { ...asImport, ...options })),
  ];
  await matchLiveRows(session, schema, bundle, "overwrite");
  const changed = await decideUndo(session, schema, receipt);
  refuseChanged([...changed, ...(await findReferrers(session, schema, receipt))]);
  const conflicts: Conflict[] = [...(await proveBoundary(session, schema, bundle, true))];
  refuseConflicts(conflicts, undoAdvice);
  conflicts.push(...(await proveValues(session, bundle)));
  const deletesFirst = await mayDeleteFirst(session, schema, bundle);
  const unique = await proveUniqueness(session, schema, bundle, deletesFirst);
  conflicts.push(...unique.conflicts);
  refuseConflicts(conflicts, undoAdvice);
  const tables: TablePlan[] = [];
  for (const { staged, rows } of receipt.written.values()) {
    const counts = await countActions(session, staged, { settled: false, ofPart: false });
    const done = counts.insert + counts.update + counts.delete + counts.keep;
    // What was inserted and is gone is as it was before, and in no table.
    tables.push({ ...counts, inBundle: rows, unchanged: rows - done });
    notes.push(...(await noteCredentials(session, schema, staged)));
  }
  notes.push(...undoAuditNotes(schema, options, deletesTenant(schema, tables)));
  const firing = firingTriggers(schema, bundle, tables, unique.vacating);
  return {
    plan: {
      tenant: bundle.tenant,
      mode: "undo",
      hash: await hashPlan(session, bundle, { ...asImport, ...options }, false),
      tables,
      sequences: await planSequences(session, bundle),
      notes,
      leftOut: bundle.leftOut,
      warnings: [...schema.warnings, ...triggerWarnings(firing, options.disableTriggers)],
    },
    bundle,
    deletesFirst,
    vacating: unique.vacating,
    firing,
  };
}

/** True when the tenant's own row was inserted, and so goes again. */
export function deletesTenant(
  { root }: Pick<OpenSchema, "root">,
  tables: readonly TablePlan[],
): boolean {
  return tables.some((table) => table.table === root.table && table.delete > 0);
}

/**
 * Proves that the header's tenant, which may be any text until then, is a key of the root table,
 * and that old rows have a tenant to come back to.
 */
async function requireTenant(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
): Promise<void> {
  const root = rootOf(schema);
  const { id } = bundle.tenant;
  const type = columnOf(root, schema.root.key)?.type ?? "text";
  const found = await sql<{ same: boolean; live: boolean }>`
    SELECT ${sql.lit(id)}::${sql.raw(type)}::text = ${id} AS same,
           EXISTS (SELECT FROM ${relation(root)} AS l
                    WHERE ${sql.id("l", schema.root.key)} = ${sql.lit(id)}::${sql.raw(type)}) AS live`
    .execute(session.db)
    .catch((error: unknown) => {
      if (isDataException(sqlStateOf(error))) return { rows: [] };
      throw error;
    });
  const [row] = found.rows;
  if (row?.same !== true) {
    throw new AppError(
      "invalid-receipt",
      ExitCode.invalidInput,
      `the receipt's tenant "${id}" is no key of "${root.name}"`,
      { hint: "No import writes such a receipt; take another copy of it." },
    );
  }
  const staged = bundle.tables.find(({ table }) => table.name === root.name);
  if (staged !== undefined && staged.rows > 0) {
    refuseConflicts(await proveRoot(session, schema, bundle), undoAdvice);
  } else if (!row.live && bundle.rows > 0) {
    throw new AppError(
      "no-such-tenant",
      ExitCode.refused,
      `the tenant "${bundle.tenant.slug ?? id}" is gone, so its rows cannot be set back; nothing was undone`,
      { hint: "Import an export of the tenant." },
    );
  }
}

function refuseChanged(conflicts: readonly Conflict[]): void {
  const [first] = conflicts;
  if (first === undefined) return;
  const what = `${first.table} ${first.row} ${first.reason}`;
  throw new AppError(
    "changed-since",
    ExitCode.refused,
    conflicts.length === 1
      ? `${what}; nothing was undone`
      : `${conflicts.length} rows stand against the undo, such as: ${what}; nothing was undone`,
    {
      hint: "An undo takes back only what is still as the import left it. Take these rows back by hand first, or import an export from before with --mode overwrite --select.",
      details: conflicts.map((c) => `${c.table} ${c.row} ${c.reason}`),
      data: { conflicts },
    },
  );
}
