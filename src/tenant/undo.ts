import { sql } from "kysely";
import type { DecryptionKeys } from "../bundle/encryption.ts";
import type { BundleHeader, ReceiptHeader } from "../bundle/format.ts";
import { AppError, ExitCode } from "../errors.ts";
import { type Session, withTransaction } from "../postgres/session.ts";
import { systemIdentifier } from "../postgres/system-identifier.ts";
import type { ProgressListener } from "../progress.ts";
import { auditImport, requireAuditLog } from "./audit-import.ts";
import { constraintError, requireProfile, writePlan } from "./import.ts";
import type { ImportPlan } from "./import-types.ts";
import type { OpenSchema } from "./open-schema.ts";
import { isEmpty, rowsToWrite } from "./plan.ts";
import { ReceiptFile, type ReceiptOptions } from "./receipt-file.ts";
import { moveSequences } from "./sequences.ts";
import { openBundle, stageBundle } from "./staging.ts";
import { withTenantLock } from "./tenant-lock.ts";
import { refuseTriggers, withoutTriggers } from "./triggers.ts";
import { deletesTenant, makeUndoPlan } from "./undo-plan.ts";
import { matchWritten, type StagedReceipt, takingWritten, withoutWritten } from "./written-rows.ts";

export interface UndoOptions {
  /** How messages call the receipt. */
  readonly name: string;
  readonly dryRun: boolean;
  readonly confirmed: boolean;
  readonly disableTriggers: boolean;
  /** Rows that come back keep the state of work that was in flight. */
  readonly keepInFlight: boolean;
  /** Appends an event about it to the tenant's audit log. */
  readonly audit?: boolean;
  /** Takes a receipt that was written for another database, such as one that was restored since. */
  readonly otherDatabase: boolean;
  readonly maxRowBytes: number;
  readonly keys?: DecryptionKeys;
  /** Where the undo's own receipt goes; without it none is written. */
  readonly receipt?: ReceiptOptions | undefined;
  readonly progress: ProgressListener;
  /** Called when the plan is known, before it is applied. */
  readonly onPlan?: (plan: ImportPlan) => void;
}

export interface UndoResult {
  /** What the receipt was written for. */
  readonly undone: ReceiptHeader;
  readonly tenant: BundleHeader["tenant"];
  /** False for the receipt of a run that was ended before it had changed anything. */
  readonly wasCommitted: boolean;
  /** Null when there was nothing to plan, since it was never committed. */
  readonly plan: ImportPlan | null;
  /** False for a dry run, and when there was nothing to do. */
  readonly applied: boolean;
  /** The file that takes the undo back; null when no row was written. */
  readonly receipt: string | null;
  readonly seconds: number;
}

/**
 * Takes an import back, or an undo: rows that it inserted are deleted, rows that it altered or
 * deleted are as they were before. It is planned, proved and applied like an import, in one
 * transaction, and leaves a receipt of its own.
 *
 * @throws {AppError} exit 2 for a bundle that is no receipt; 3 for a receipt that is not whole and
 *   valid; 4 when rows have changed since, or a confirmation is missing; 5 when the tenant is
 *   locked; 8 when its own receipt cannot be written
 */
export async function undoImport(
  session: Session,
  schema: OpenSchema,
  source: AsyncIterable<Uint8Array>,
  options: UndoOptions,
): Promise<UndoResult> {
  const started = performance.now();
  const { header, parts, opener } = await openBundle(source, options);
  const { receipt } = header;
  if (receipt === undefined) throw notAReceipt(options.name);
  requireProfile(schema, header, options.name);
  requireAuditLog(schema, options);
  const ours = await ReceiptFile.prepare(options.dryRun ? undefined : options.receipt, opener, {
    of: "undo",
    source: options.name,
  });
  const own = await requireDatabase(session, header, receipt, options);
  const run = async (): Promise<UndoResult> => {
    const wasCommitted = !own || (await isCommitted(session, receipt));
    const outcome = wasCommitted
      ? await stageAndApply(session, schema, { header, receipt, parts }, ours, options)
      : { plan: null, applied: false };
    if (!wasCommitted) await parts.return(undefined);
    options.progress.stop();
    return {
      undone: receipt,
      tenant: header.tenant,
      wasCommitted,
      ...outcome,
      receipt: ours.path,
      seconds: (performance.now() - started) / 1000,
    };
  };
  return options.dryRun ? run() : withTenantLock(session, header.tenant, run);
}

interface OpenReceipt {
  readonly header: BundleHeader;
  readonly receipt: ReceiptHeader;
  readonly parts: Awaited<ReturnType<typeof openBundle>>["parts"];
}

type Outcome = Pick<UndoResult, "plan" | "applied">;

async function stageAndApply(
  session: Session,
  schema: OpenSchema,
  { header, receipt, parts }: OpenReceipt,
  ours: ReceiptFile,
  options: UndoOptions,
): Promise<Outcome> {
  await session.client.query("SET temp_buffers = '64MB'").catch(() => undefined);
  await session.client.query("SET work_mem = '64MB'");
  const bundle = await stageBundle(
    session,
    schema,
    takingWritten(session, parts, options.maxRowBytes),
    withoutWritten(header),
    {
      ...options,
      set: new Map(),
      leaveOut: [],
    },
  );
  const staged = await matchWritten(session, header, receipt, bundle);
  return await planAndApply(session, schema, staged, ours, options);
}

async function planAndApply(
  session: Session,
  schema: OpenSchema,
  staged: StagedReceipt,
  ours: ReceiptFile,
  options: UndoOptions,
): Promise<Outcome> {
  try {
    return await withTransaction(session, "REPEATABLE READ", async () => {
      await session.client.query("SET LOCAL lock_timeout = '10s'");
      options.progress.advance("planning", 0);
      const working = await makeUndoPlan(session, schema, staged, options);
      const { plan } = working;
      options.onPlan?.(plan);
      if (options.dryRun || isEmpty(plan)) return { plan, applied: false };
      if (!options.confirmed) throw unconfirmed(plan);
      refuseTriggers(working.firing, options.disableTriggers);
      await ours.write(session, schema, working, options.progress);
      await withoutTriggers(session, working.firing, () =>
        writePlan(session, schema, working, options.progress, async (tallies) => {
          if (deletesTenant(schema, plan.tables)) return;
          await auditImport(session, schema, working, options, tallies);
        }),
      );
      await moveSequences(session, working.bundle);
      ours.committing();
      return { plan, applied: true };
    });
  } catch (error) {
    await ours.discardAfter(error);
    throw constraintError(error);
  }
}

/**
 * A row that an import has written elsewhere can stand here just so, and must not be deleted.
 *
 * @returns whether the receipt's transaction number is one of this server
 */
async function requireDatabase(
  session: Session,
  { source }: BundleHeader,
  receipt: ReceiptHeader,
  options: UndoOptions,
): Promise<boolean> {
  const cluster = await systemIdentifier(session);
  const known = cluster !== null && receipt.cluster !== null;
  const otherServer = known && cluster !== receipt.cluster;
  if (!options.otherDatabase && (otherServer || source.database !== session.database)) {
    throw new AppError(
      "other-database",
      ExitCode.refused,
      `${options.name} was written for the database "${source.database}"${otherServer ? " of another server" : ""}, this is "${session.database}"`,
      {
        hint: "Check DATABASE_URL. If this database was restored or copied from that one after the import, add --other-database.",
      },
    );
  }
  return known && !otherServer;
}

/** Also when the server does not know any more: then the rows tell. */
async function isCommitted(session: Session, { transaction }: ReceiptHeader): Promise<boolean> {
  const { rows } = await sql<{ state: string | null }>`
    SELECT CASE WHEN ${transaction}::xid8 < pg_snapshot_xmax(pg_current_snapshot())
                THEN pg_xact_status(${transaction}::xid8) END AS state`.execute(session.db);
  const state = rows[0]?.state;
  if (state !== "in progress") return state !== "aborted";
  throw new AppError(
    "still-running",
    ExitCode.locked,
    "the run that wrote this receipt has not ended yet",
    { hint: "Wait until it has finished, then run the command again." },
  );
}

function notAReceipt(name: string): AppError {
  return new AppError("not-a-receipt", ExitCode.usage, `${name} is a bundle, not a receipt`, {
    hint: "Each import names its receipt, and pgtenant history lists them; they lie in BACKUP_DIR/receipts.",
  });
}

function unconfirmed(plan: ImportPlan): AppError {
  return new AppError(
    "confirmation-missing",
    ExitCode.refused,
    `this would set back or delete rows, ${rowsToWrite(plan)} in all; nothing was written`,
    { hint: "Look at the plan, then add --yes.", data: { plan } },
  );
}
