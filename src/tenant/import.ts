import type { BundleHeader } from "../bundle/format.ts";
import { AppError, ExitCode } from "../errors.ts";
import { type Session, withTransaction } from "../postgres/session.ts";
import { SqlState, sqlStateOf } from "../postgres/sqlstates.ts";
import type { ProgressListener } from "../progress.ts";
import { applyPlan } from "./apply.ts";
import { auditImport, requireAuditLog } from "./audit-import.ts";
import { refuseBadIdentity } from "./clone/new-tenant.ts";
import { lockOfClone, settleClone } from "./clone.ts";
import type { ImportOptions, ImportResult } from "./import-types.ts";
import type { OpenSchema } from "./open-schema.ts";
import { isDestructive, isEmpty, makePlan, rowsToWrite, type WorkingPlan } from "./plan.ts";
import { refuseOtherPlan } from "./plan-hash.ts";
import { countWrites, readBack, refuseUnplannedWrites, type Tally } from "./proof-of-writes.ts";
import { ReceiptFile } from "./receipt-file.ts";
import { refuseRedacted } from "./redaction.ts";
import { moveSequences } from "./sequences.ts";
import { openBundle, type StagedBundle, stageBundle } from "./staging.ts";
import { withTenantLock } from "./tenant-lock.ts";
import { refuseTriggers, withoutTriggers } from "./triggers.ts";

/**
 * Puts a bundle's rows back. The bundle is staged in temporary tables and proved as a whole;
 * then, in one transaction, the plan is made, applied, and read back before COMMIT. Until that
 * COMMIT no row of any table has changed, whatever ends the program.
 *
 * @throws {AppError} exit 3 for a bundle that is not whole and valid; 4 when it would leave its
 *   tenant, collides with live rows, or lacks a confirmation; 5 when the tenant is locked; 7
 *   when the database fails
 */
export async function importBundle(
  session: Session,
  schema: OpenSchema,
  source: AsyncIterable<Uint8Array>,
  options: ImportOptions,
): Promise<ImportResult> {
  const started = performance.now();
  const { header, parts, opener } = await openBundle(source, options);
  requireProfile(schema, header, options.name);
  refuseReceipt(header, options.name);
  refuseRedacted(header, options.name, options.acceptRedacted);
  requireAuditLog(schema, options);
  const receipt = await ReceiptFile.prepare(options.dryRun ? undefined : options.receipt, opener, {
    of: "import",
    source: options.name,
  });
  const run = async () => {
    await session.client.query("SET temp_buffers = '64MB'").catch(() => undefined);
    await session.client.query("SET work_mem = '64MB'");
    if (options.clone !== undefined) await refuseBadIdentity(session, schema, options.clone);
    const bundle = await stageBundle(session, schema, parts, header, options);
    const { working, applied } = await planAndApply(session, schema, bundle, receipt, options);
    options.progress.stop();
    return {
      plan: working.plan,
      applied,
      rowsInBundle: bundle.rows,
      receipt: receipt.path,
      seconds: (performance.now() - started) / 1000,
    };
  };
  const tenant = lockOfClone(options.clone) ?? header.tenant;
  return options.dryRun ? run() : withTenantLock(session, tenant, run);
}

async function planAndApply(
  session: Session,
  schema: OpenSchema,
  staged: StagedBundle,
  receipt: ReceiptFile,
  options: ImportOptions,
): Promise<{ working: WorkingPlan; applied: boolean }> {
  try {
    return await withTransaction(session, "REPEATABLE READ", async () => {
      await session.client.query("SET LOCAL lock_timeout = '10s'");
      options.progress.advance("planning", 0);
      const planned = await makePlan(session, schema, staged, options);
      options.onPlan?.(planned.plan);
      refuseOtherPlan(planned.plan.hash, options.planHash);
      if (options.dryRun || isEmpty(planned.plan)) {
        return { working: planned, applied: false };
      }
      if (isDestructive(planned.plan) && !options.confirmed) throw unconfirmed(planned);
      refuseTriggers(planned.firing, options.disableTriggers);
      const working = await settleClone(session, schema, planned);
      await receipt.write(session, schema, working, options.progress);
      await withoutTriggers(session, working.firing, () =>
        writePlan(session, schema, working, options.progress, (tallies) =>
          auditImport(session, schema, working, options, tallies),
        ),
      );
      await moveSequences(session, working.bundle);
      receipt.committing();
      return { working, applied: true };
    });
  } catch (error) {
    await receipt.discardAfter(error);
    throw constraintError(error);
  }
}

/**
 * Applies the plan, reads its rows back, and proves that nothing else was written.
 *
 * @param atLast writes more, and adds it to what was written
 */
export async function writePlan(
  session: Session,
  schema: OpenSchema,
  working: WorkingPlan,
  progress: ProgressListener,
  atLast?: (written: Map<string, Tally>) => Promise<void>,
): Promise<void> {
  const { bundle } = working;
  const before = await countWrites(session, schema);
  progress.start(rowsToWrite(working.plan));
  const planned = await applyPlan(session, schema, bundle, working, (step, rows) =>
    progress.advance(step, rows),
  );
  progress.advance("reading back", 0);
  await readBack(session, bundle);
  await atLast?.(planned);
  const after = await countWrites(session, schema);
  if (before !== undefined && after !== undefined) refuseUnplannedWrites(before, after, planned);
}

/** A receipt is a bundle, too, but of rows that an import has replaced. */
export function refuseReceipt(header: BundleHeader, name: string): void {
  if (header.receipt === undefined) return;
  throw new AppError(
    "is-a-receipt",
    ExitCode.usage,
    `${name} is the receipt of an ${header.receipt.of}, not a bundle`,
    { hint: "pgtenant undo takes back what it was written for." },
  );
}

/** @throws {AppError} exit 2 when the bundle was made with another profile, or a newer version */
export function requireProfile(schema: OpenSchema, header: BundleHeader, file: string): void {
  const { name, version } = schema.profile;
  if (header.profile.name === name && header.profile.version <= version) return;
  throw new AppError(
    "other-profile",
    ExitCode.usage,
    `${file} was made with profile "${header.profile.name}" version ${header.profile.version}, this is profile "${name}" version ${version}`,
    { hint: "Give the profile that the bundle was exported with: --profile FILE." },
  );
}

function unconfirmed(working: WorkingPlan): AppError {
  const sum = (pick: (table: WorkingPlan["plan"]["tables"][number]) => number) =>
    working.plan.tables.reduce((total, table) => total + pick(table), 0);
  return new AppError(
    "confirmation-missing",
    ExitCode.refused,
    `this would change ${sum((t) => t.update)} and delete ${sum((t) => t.delete)} existing row(s); nothing was written`,
    { hint: "Look at the plan, then add --yes.", data: { plan: working.plan } },
  );
}

/** What only the moment of writing can show: another session was faster, or a rule unseen. */
export function constraintError(error: unknown): unknown {
  const state = sqlStateOf(error);
  const known = [
    SqlState.uniqueViolation,
    SqlState.exclusionViolation,
    SqlState.foreignKeyViolation,
    SqlState.checkViolation,
    SqlState.notNullViolation,
  ] as const;
  if (!(error instanceof Error) || !known.some((code) => code === state)) return error;
  return new AppError(
    "constraint-violated",
    ExitCode.refused,
    `the database refused a row: ${error.message}; nothing was written`,
    {
      cause: error,
      hint: "If another session wrote to this tenant meanwhile, run the command again; else the target's rules differ from the source's.",
    },
  );
}
