import { sql } from "kysely";
import type { OwnedSequence } from "../catalog/catalog.ts";
import { columnOf } from "../catalog/catalog.ts";
import { qualifiedName } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { SqlState, sqlStateOf } from "../postgres/sqlstates.ts";
import type { SequenceMove } from "./import-types.ts";
import type { StagedBundle } from "./staging.ts";

/** A gap up to this is drawn value by value, which takes no lock. */
const largestDraw = 100_000n;

interface SequenceTarget {
  readonly sequence: OwnedSequence;
  /** The value furthest along among the rows to restore. */
  readonly furthest: bigint;
}

/** The sequences that stand behind the ids of the rows in the bundle. */
export async function planSequences(
  session: Session,
  bundle: StagedBundle,
): Promise<readonly SequenceMove[]> {
  const moves: SequenceMove[] = [];
  for (const { sequence, furthest } of await sequenceTargets(session, bundle)) {
    const last = await lastDrawn(session, sequence);
    if (!isBehind(sequence, last, furthest)) continue;
    moves.push({
      sequence: qualifiedName(sequence.schema, sequence.relation),
      from: String(last),
      to: String(furthest),
    });
  }
  return moves;
}

/**
 * Moves sequences on, never back. Values are drawn, because `setval` races with writers; a
 * large gap is closed by a restart, under a lock that writers feel until the COMMIT that has
 * to follow at once.
 */
export async function moveSequences(session: Session, bundle: StagedBundle): Promise<void> {
  for (const { sequence, furthest } of await sequenceTargets(session, bundle)) {
    for (;;) {
      const last = await lastDrawn(session, sequence);
      if (!isBehind(sequence, last, furthest)) break;
      const steps = (furthest - last) / sequence.increment;
      const gap = last + steps * sequence.increment === furthest ? steps : steps + 1n;
      if (gap > largestDraw && (await restart(session, sequence, furthest))) break;
      await draw(session, sequence, gap > largestDraw ? largestDraw : gap);
    }
  }
}

async function sequenceTargets(
  session: Session,
  bundle: StagedBundle,
): Promise<readonly SequenceTarget[]> {
  const targets: SequenceTarget[] = [];
  for (const staged of bundle.tables) {
    for (const sequence of staged.table.sequences) {
      const column = columnOf(staged.table, sequence.column);
      if (column === undefined || !staged.present.has(column.name)) continue;
      const extreme = sequence.increment > 0n ? sql`max` : sql`min`;
      const { rows } = await sql<{ furthest: string | null }>`
        SELECT ${extreme}(${sql.id(column.name)})::bigint::text AS furthest FROM ${staged.stage}`.execute(
        session.db,
      );
      const furthest = rows[0]?.furthest;
      if (furthest == null) continue;
      targets.push({ sequence, furthest: withinLimit(sequence, BigInt(furthest)) });
    }
  }
  return targets;
}

/** Rows may hold ids that their sequence can never reach. */
function withinLimit(sequence: OwnedSequence, value: bigint): bigint {
  const beyond = sequence.increment > 0n ? value > sequence.limit : value < sequence.limit;
  return beyond ? sequence.limit : value;
}

/** The last value drawn; before the first draw, the value one step ahead of the first. */
async function lastDrawn(session: Session, sequence: OwnedSequence): Promise<bigint> {
  const { rows } = await sql<{ last: string; called: boolean }>`
    SELECT last_value::text AS last, is_called AS called
      FROM ${sql.id(sequence.schema, sequence.relation)}`.execute(session.db);
  const [row] = rows;
  if (row === undefined) throw new Error(`sequence ${sequence.relation} has no state`);
  return row.called ? BigInt(row.last) : BigInt(row.last) - sequence.increment;
}

function isBehind(sequence: OwnedSequence, last: bigint, furthest: bigint): boolean {
  return sequence.increment > 0n ? last < furthest : last > furthest;
}

async function draw(session: Session, sequence: OwnedSequence, count: bigint): Promise<void> {
  const name = sql.lit(
    `"${sequence.schema.replaceAll('"', '""')}"."${sequence.relation.replaceAll('"', '""')}"`,
  );
  await sql`SELECT count(nextval(${name}::regclass)) FROM generate_series(1, ${String(count)}::bigint)`.execute(
    session.db,
  );
}

/**
 * Restarts the sequence at `furthest`, and draws that. A first change that alters nothing takes the lock;
 * under it the position is read again, since writers may have passed the mark meanwhile.
 *
 * @returns false when the role may not alter the sequence
 */
async function restart(
  session: Session,
  sequence: OwnedSequence,
  furthest: bigint,
): Promise<boolean> {
  const name = sql.id(sequence.schema, sequence.relation);
  await session.client.query("SAVEPOINT restart_sequence");
  try {
    await sql`ALTER SEQUENCE ${name} INCREMENT BY ${sql.raw(String(sequence.increment))}`.execute(
      session.db,
    );
    const last = await lastDrawn(session, sequence);
    if (isBehind(sequence, last, furthest)) {
      await sql`ALTER SEQUENCE ${name} RESTART WITH ${sql.raw(String(furthest))}`.execute(
        session.db,
      );
      await draw(session, sequence, 1n);
    }
    await session.client.query("RELEASE SAVEPOINT restart_sequence");
    return true;
  } catch (error) {
    await session.client.query("ROLLBACK TO SAVEPOINT restart_sequence");
    if (sqlStateOf(error) === SqlState.insufficientPrivilege) return false;
    throw error;
  }
}
