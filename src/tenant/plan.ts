import { sql } from "kysely";
import type { Session } from "../postgres/session.ts";
import { adaptRows } from "./adapt.ts";
import { auditNotes } from "./audit-import.ts";
import { proveRoot } from "./boundary-proof.ts";
import { cloneAdvice, cloneBundle } from "./clone.ts";
import { compareAndSettle, ofRowsThatAreIn } from "./collisions.ts";
import { refuseConflicts } from "./conflicts.ts";
import { noteCredentials } from "./credentials.ts";
import type { ImportOptions, ImportPlan, PlanNote, TablePlan } from "./import-types.ts";
import type { OpenSchema } from "./open-schema.ts";
import { hashPlan } from "./plan-hash.ts";
import { redactionWarnings } from "./redaction.ts";
import { countKept } from "./rows-out.ts";
import { selectPart } from "./selection/import-part.ts";
import { planSequences } from "./sequences.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";
import { type FiringTrigger, firingTriggers, triggerWarnings } from "./triggers.ts";
import type { Vacating } from "./unique-proof.ts";

/** A plan with what its application needs to know beyond what people are shown. */
export interface WorkingPlan {
  readonly plan: ImportPlan;
  /** What is written of the bundle, under the keys it is written with. */
  readonly bundle: StagedBundle;
  readonly deletesFirst: boolean;
  readonly vacating: readonly Vacating[];
  readonly firing: readonly FiringTrigger[];
}

/** What shapes a plan, beyond the bundle and the live rows. */
export type PlanOptions = Pick<
  ImportOptions,
  | "mode"
  | "disableTriggers"
  | "keepInFlight"
  | "expireCredentials"
  | "onCollision"
  | "selection"
  | "clone"
  | "set"
  | "leaveOut"
  | "audit"
>;

/**
 * Compares the staged bundle with the live rows of this transaction's snapshot and decides what
 * happens to each row. Everything that stands against the import is collected first.
 *
 * @throws {AppError} exit 3 or 4, naming every row that cannot be written
 */
export async function makePlan(
  session: Session,
  schema: OpenSchema,
  whole: StagedBundle,
  options: PlanOptions,
): Promise<WorkingPlan> {
  const { mode, disableTriggers } = options;
  refuseConflicts(await proveRoot(session, schema, whole));
  const part = await selectPart(session, schema, whole, options);
  const cloned = await cloneBundle(session, schema, part.bundle, options.clone);
  const { bundle } = cloned;
  const adapted = await adaptRows(session, schema, bundle, options);
  const found = await compareAndSettle(session, schema, bundle, options, part.within);
  refuseConflicts(found.conflicts, cloneAdvice(bundle));
  const counting = { settled: found.settled, ofPart: options.selection !== undefined };
  const tables: TablePlan[] = [];
  const credentials: PlanNote[] = [];
  for (const staged of bundle.tables) {
    tables.push(await countActions(session, staged, counting));
    const noted = await noteCredentials(session, schema, staged, {
      expiring: options.expireCredentials,
      cloning: bundle.clone !== undefined,
    });
    credentials.push(...noted);
  }
  const makesTenant = tables.some(({ table, insert }) => table === schema.root.table && insert > 0);
  const notes: PlanNote[] = [
    ...part.notes,
    ...cloned.notes,
    ...auditNotes(schema, options, makesTenant),
    ...ofRowsThatAreIn(adapted, found),
    ...found.notes,
    ...credentials,
  ];
  const firing = firingTriggers(schema, bundle, tables, found.vacating);
  return {
    plan: {
      tenant: bundle.tenant,
      ...(bundle.clone === undefined ? {} : { clonedFrom: bundle.clone.from }),
      mode,
      hash: await hashPlan(session, bundle, options, found.settled),
      tables,
      sequences: await planSequences(session, bundle),
      notes,
      leftOut: bundle.leftOut,
      warnings: [
        ...schema.warnings,
        ...redactionWarnings(bundle.header),
        ...triggerWarnings(firing, disableTriggers),
      ],
    },
    bundle,
    deletesFirst: found.deletesFirst,
    vacating: found.vacating,
    firing,
  };
}

export function rowsToWrite(plan: ImportPlan): number {
  return plan.tables.reduce((sum, t) => sum + t.insert + t.update + t.relink + t.delete, 0);
}

/** True when applying the plan would write nothing. */
export function isEmpty(plan: ImportPlan): boolean {
  return plan.sequences.length === 0 && rowsToWrite(plan) === 0;
}

/** True when applying the plan changes or deletes rows that exist. */
export function isDestructive(plan: ImportPlan): boolean {
  return plan.tables.some((table) => table.update + table.delete > 0);
}

export async function countActions(
  session: Session,
  staged: StagedTable,
  { settled, ofPart }: { readonly settled: boolean; readonly ofPart: boolean },
): Promise<TablePlan> {
  const { rows } = await sql<{ action: string; count: string }>`
    SELECT "pgtenant$action" AS action, count(*) AS count FROM ${staged.match} GROUP BY 1
     UNION ALL SELECT 'staged', count(*) FROM ${staged.stage}
     UNION ALL SELECT 'delete', count(*) FROM ${staged.extra}`.execute(session.db);
  const of = (action: string) => Number(rows.find((row) => row.action === action)?.count ?? 0);
  const matched = rows.filter(({ action }) => action !== "delete" && action !== "staged");
  const kept = settled ? await countKept(session, staged) : 0;
  return {
    table: staged.table.name,
    inBundle: staged.inBundle,
    ...(ofPart ? { chosen: staged.rows } : {}),
    insert: of("staged") - matched.reduce((sum, row) => sum + Number(row.count), 0),
    update: of("update"),
    relink: of("relink"),
    delete: of("delete"),
    unchanged: of("same"),
    keep: of("keep") + kept,
  };
}
