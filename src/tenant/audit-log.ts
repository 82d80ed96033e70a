import { type RawBuilder, sql } from "kysely";
import { columnOf, type Table } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Session } from "../postgres/session.ts";
import type { ChainColumns } from "../profile/profile.ts";
import { type AuditEntry, noPreviousHash } from "./audit-chain.ts";
import type { OpenSchema } from "./open-schema.ts";

/** A log of all tenants in which each event is chained to the one before it, as N-Kudo does it. */
export interface AuditLog {
  readonly table: Table;
  readonly chain: ChainColumns;
}

/** What the hash is made of, by column. */
const hashed: Readonly<Record<string, keyof AuditEntry>> = {
  tenant_id: "tenantId",
  site_id: "siteId",
  actor_type: "actorType",
  actor_user_id: "actorUserId",
  actor_agent_id: "actorAgentId",
  action: "action",
  resource_type: "resourceType",
  resource_id: "resourceId",
  request_id: "requestId",
  source_ip: "sourceIp",
  metadata_json: "metadata",
  occurred_at: "occurredAt",
  chain_valid: "chainValid",
};

/**
 * The log whose hashes can be computed: a chained table with the columns of N-Kudo's.
 *
 * @param wanted the option that needs it
 * @throws {AppError} exit 2 when the schema has none
 */
export function auditLogOf(schema: OpenSchema, wanted: string): AuditLog {
  const chained = Object.entries(schema.profile.chain);
  for (const [name, chain] of chained) {
    const table = schema.tables.find((each) => each.name === name);
    if (table !== undefined && isAuditLog(table, chain)) return { table, chain };
  }
  const names = chained.map(([name]) => `"${name}"`);
  throw new AppError(
    "no-audit-log",
    ExitCode.usage,
    names.length === 0
      ? `${wanted}: the profile "${schema.profile.name}" names no chained table`
      : `${wanted}: how ${names.join(", ")} hashes its rows is not known`,
    { hint: `Only N-Kudo's formula is known; leave out ${wanted}.` },
  );
}

function isAuditLog(table: Table, { order, previous, own }: ChainColumns): boolean {
  const ordered = table.key?.length === 1 && table.key[0] === order;
  const sequence = table.sequences.find((each) => each.column === order);
  return (
    ordered &&
    sequence !== undefined &&
    sequence.increment > 0n &&
    [...Object.keys(hashed), previous, own].every((name) => columnOf(table, name) !== undefined) &&
    columnOf(table, "metadata_json")?.plainType === "jsonb"
  );
}

/**
 * Keeps all others from adding to the log until the transaction ends. Readers are not held up.
 *
 * @throws {AppError} exit 5 when somebody else holds it for too long
 */
export async function lockLog(session: Session, { table }: AuditLog): Promise<void> {
  const { schema, relation: name } = table;
  await sql`LOCK TABLE ${sql.id(schema, name)} IN SHARE ROW EXCLUSIVE MODE`.execute(session.db);
}

export interface LogEnd {
  readonly order: bigint;
  readonly hash: string;
}

/**
 * The log's last event, while it is locked: our own, or one that was committed before the lock. The
 * latter this transaction, whose snapshot is older, cannot see; another connection can.
 */
export async function logEnd(session: Session, log: AuditLog): Promise<LogEnd> {
  const own = await lastEvent(session, log);
  const others = await session.beside((other) => lastEvent(other, log));
  return own.order > others.order ? own : others;
}

async function lastEvent(session: Session, { table, chain }: AuditLog): Promise<LogEnd> {
  const { rows } = await sql<{ order: string; hash: string }>`
    SELECT ${sql.id("l", chain.order)}::text AS order, ${sql.id("l", chain.own)} AS hash
      FROM ${relation(table)} AS l ORDER BY ${sql.id("l", chain.order)} DESC LIMIT 1`.execute(
    session.db,
  );
  const [last] = rows;
  // Events from before the chain was introduced have no hash.
  return last === undefined
    ? { order: -(2n ** 63n), hash: noPreviousHash }
    : { order: BigInt(last.order), hash: last.hash === "" ? noPreviousHash : last.hash };
}

/** What `entryHash` needs of the row `alias`, but for the link. */
export function entryColumns(alias: string): RawBuilder<unknown> {
  return sql.join(
    Object.entries(hashed).map(([column, name]) => {
      const value = sql.id(alias, column);
      // As its output function prints it; the cast to text would add /32.
      if (name === "sourceIp") return sql`nullif(format('%s', ${value}), '') AS ${sql.id(name)}`;
      if (name === "chainValid") return sql`${value} AS ${sql.id(name)}`;
      return name === "occurredAt"
        ? sql`${timeText(value)} AS ${sql.id(name)}`
        : sql`${value}::text AS ${sql.id(name)}`;
    }),
  );
}

/** Infinity has no such form, and stays what it is called. */
export function timeText(value: RawBuilder<unknown>): RawBuilder<string> {
  return sql`CASE WHEN isfinite(${value})
    THEN to_char(${value} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') ELSE ${value}::text END`;
}
