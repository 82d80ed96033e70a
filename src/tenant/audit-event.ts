import { sql } from "kysely";
import { AppError, ExitCode } from "../errors.ts";
import { columnList } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { type AuditEntry, entryHash } from "./audit-chain.ts";
import { type AuditLog, lockLog, logEnd, timeText } from "./audit-log.ts";
import { moveSequence } from "./sequences.ts";

export interface AuditEvent {
  /** Such as `tenant.imported`. */
  readonly action: string;
  readonly tenantId: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/**
 * Appends one event about the tenant to the log, chained to the one that is last then. From here
 * on the log is locked against other writers, so it comes shortly before COMMIT.
 *
 * @returns the number of rows that it has written
 * @throws {AppError} exit 7 when the database made something else of the row
 */
export async function appendAuditEvent(
  session: Session,
  log: AuditLog,
  { action, tenantId, metadata }: AuditEvent,
): Promise<number> {
  const { table, chain } = log;
  await lockLog(session, log);
  const { order, hash: previousHash } = await logEnd(session, log);
  // The rows before it may hold ids that the sequence has not come to.
  const sequence = table.sequences.find((each) => each.column === chain.order);
  if (sequence !== undefined) await moveSequence(session, sequence, order);
  // The hash is of the values as they will be stored: jsonb has a form of its own.
  const { rows } = await sql<{ metadata: string; moment: string; occurredAt: string }>`
    SELECT ${JSON.stringify(metadata)}::jsonb::text AS metadata, at::text AS moment,
           ${timeText(sql`at`)} AS "occurredAt"
      FROM clock_timestamp() AS at`.execute(session.db);
  const [stored] = rows;
  if (stored === undefined) throw new Error("the server did not tell the time");
  const entry: AuditEntry = {
    tenantId,
    siteId: null,
    actorType: "SYSTEM",
    actorUserId: null,
    actorAgentId: null,
    action,
    resourceType: "tenant",
    resourceId: tenantId,
    requestId: null,
    sourceIp: null,
    metadata: stored.metadata,
    occurredAt: stored.occurredAt,
    previousHash,
    chainValid: true,
  };
  const own = entryHash(entry);
  const columns = [
    ...["tenant_id", "actor_type", "action", "resource_type", "resource_id", "metadata_json"],
    ...["occurred_at", "chain_valid", chain.previous, chain.own],
  ];
  const values = [
    ...[tenantId, entry.actorType, action, entry.resourceType, tenantId, stored.metadata],
    ...[stored.moment, "true", previousHash, own],
  ].map((value) => sql.lit(value));
  const { rows: written } = await sql<{ asMeant: boolean }>`
    INSERT INTO ${sql.id(table.schema, table.relation)} AS l (${columnList(columns)})
    VALUES (${sql.join(values)})
    RETURNING (${sql.id("l", chain.previous)} = ${sql.lit(previousHash)}
           AND ${sql.id("l", chain.own)} = ${sql.lit(own)}
           AND ${sql.id("l", chain.order)} > ${sql.lit(String(order))}::bigint
           AND l.action = ${sql.lit(action)} AND l.resource_id = ${sql.lit(tenantId)}
           AND l.metadata_json::text = ${sql.lit(stored.metadata)}) AS "asMeant"`.execute(
    session.db,
  );
  if (written.length !== 1 || written[0]?.asMeant !== true) {
    throw new AppError(
      "audit-event-differs",
      ExitCode.database,
      `the database made something else of the event in "${table.name}"; everything was rolled back`,
      { hint: "A trigger or rule alters its rows; import without --audit." },
    );
  }
  return written.length;
}
