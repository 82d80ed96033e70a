import type { Session } from "../postgres/session.ts";
import { appendAuditEvent } from "./audit-event.ts";
import { type AuditLog, auditLogOf } from "./audit-log.ts";
import type { ImportOptions, PlanNote } from "./import-types.ts";
import type { OpenSchema } from "./open-schema.ts";
import type { WorkingPlan } from "./plan.ts";
import { emptyTally, type Tally } from "./proof-of-writes.ts";

type AuditOptions = Pick<ImportOptions, "audit" | "clone">;

/** What the event of an undo is called. */
const undone = "tenant.import_undone";

/**
 * The log that the options want something of.
 *
 * @throws {AppError} exit 2 when the schema has no log whose formula is known
 */
export function requireAuditLog(schema: OpenSchema, options: AuditOptions): AuditLog | undefined {
  if (options.clone?.withAudit === true) auditLogOf(schema, "--with-audit");
  return options.audit === true ? auditLogOf(schema, "--audit") : undefined;
}

/** The note about the event of an import, which stands in the way of an undo that deletes its tenant. */
export function auditNotes(
  schema: OpenSchema,
  options: AuditOptions,
  makesTenant: boolean,
): readonly PlanNote[] {
  const lasting =
    "; the import makes the tenant, and cannot be undone with it, because the event hangs on it";
  return eventNotes(schema, options, actionOf(options), makesTenant ? lasting : "");
}

function eventNotes(
  schema: OpenSchema,
  options: AuditOptions,
  action: string,
  also = "",
): readonly PlanNote[] {
  const log = requireAuditLog(schema, options);
  if (log === undefined) return [];
  return [
    {
      kind: "audit",
      table: log.table.name,
      reason: `an event "${action}" is appended to the log; other writers of the log wait from then on until all is committed${also}`,
    },
  ];
}

/**
 * Appends the event of an import, or an undo, that has written its rows.
 *
 * @param tallies what has been written, by table, to which the event is added
 */
export async function auditImport(
  session: Session,
  schema: OpenSchema,
  { plan, bundle }: WorkingPlan,
  options: AuditOptions & Pick<ImportOptions, "name">,
  tallies: Map<string, Tally>,
): Promise<void> {
  const log = requireAuditLog(schema, options);
  if (log === undefined) return;
  const sum = (kind: "insert" | "update" | "relink" | "delete") =>
    plan.tables.reduce((rows, table) => rows + table[kind], 0);
  const inserted = await appendAuditEvent(session, log, {
    action: plan.mode === "undo" ? undone : actionOf(options),
    tenantId: plan.tenant.id,
    metadata: {
      tool: "pgtenant",
      mode: plan.mode,
      ...(plan.clonedFrom === undefined ? {} : { clonedFrom: plan.clonedFrom.slug }),
      rows: {
        inserted: sum("insert"),
        updated: sum("update") + sum("relink"),
        deleted: sum("delete"),
      },
      bundle: {
        name: fileName(options.name),
        sha256: bundle.sha256,
        createdAt: bundle.header.createdAt,
      },
    },
  });
  const tally = tallies.get(log.table.name) ?? emptyTally();
  tally.inserted += inserted;
  tallies.set(log.table.name, tally);
}

/** The note about the event of an undo; without the tenant there is no place for one. */
export function undoAuditNotes(
  schema: OpenSchema,
  options: AuditOptions,
  tenantGoes: boolean,
): readonly PlanNote[] {
  const log = requireAuditLog(schema, options);
  if (log === undefined || !tenantGoes) return eventNotes(schema, options, undone);
  const reason = "no event is appended: it would belong to the tenant, which goes";
  return [{ kind: "audit", table: log.table.name, reason }];
}

function actionOf({ clone }: AuditOptions): string {
  return clone === undefined ? "tenant.imported" : "tenant.cloned";
}

/** Where the operator keeps his files is nothing for a tenant's log. */
function fileName(name: string): string {
  return /([^/\\]+?)"?$/.exec(name)?.[1] ?? name;
}
