import { setTimeout } from "node:timers/promises";
import { type RawBuilder, sql } from "kysely";
import { type Column, columnOf, type OwnedSequence } from "../catalog/catalog.ts";
import { AppError, ExitCode } from "../errors.ts";
import { qualifiedName } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { SqlState, sqlStateOf } from "../postgres/sqlstates.ts";
import type { SequenceMove } from "./import-types.ts";
import { becomesLive } from "./matching.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/** A gap up to this is drawn value by value, which takes no lock. */
const largestDraw = 100_000n;

/** Some ten seconds of drawing, when there is no other way. */
const farthestDraw = 20_000_000n;

/** Who waits for a sequence's lock makes every writer behind him wait too. */
const restartPatience = "500ms";

const restartAttempts = 8;

/** A move that leaves less than this part of a sequence's values is not made for the sake of a row. */
const leastShare = 1000n;

/** Nor one that leaves less than half where there would then be so few. */
const fewValues = 1_000_000n;

interface SequenceTarget {
  readonly table: string;
  readonly sequence: OwnedSequence;
  /** The value furthest along among the rows to restore. */
  readonly furthest: bigint;
}

/**
 * The sequences that stand behind the ids of the rows in the bundle.
 *
 * @throws {AppError} exit 4 when a row's id would use up a sequence, which all tenants share
 */
export async function planSequences(
  session: Session,
  bundle: StagedBundle,
): Promise<readonly SequenceMove[]> {
  const moves: SequenceMove[] = [];
  for (const target of await sequenceTargets(session, bundle)) {
    const { sequence, furthest } = target;
    const last = await lastDrawn(session, sequence);
    if (stepsBetween(sequence, last, furthest) === 0n) continue;
    const [before, after] = [valuesAfter(sequence, last), valuesAfter(sequence, furthest)];
    if (after * leastShare < before || (after < fewValues && after * 2n < before)) {
      throw wouldUseUp(target, last);
    }
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
 * to follow at once. Where the restart is not to be had, values are drawn after all, as long as
 * that can come to an end.
 *
 * @throws {AppError} exit 7 when the role may not restart a sequence that is too far behind, 5
 *   when another session is in the way
 */
export async function moveSequences(session: Session, bundle: StagedBundle): Promise<void> {
  for (const { sequence, furthest } of await sequenceTargets(session, bundle)) {
    await moveSequence(session, sequence, furthest);
  }
}

/** As `moveSequences`, of one sequence: what it gives next is beyond `furthest`, within its limit. */
export async function moveSequence(
  session: Session,
  sequence: OwnedSequence,
  furthest: bigint,
): Promise<void> {
  const to = withinLimit(sequence, furthest);
  for (let attempt = 1; ; attempt += 1) {
    const gap = stepsBetween(sequence, await lastDrawn(session, sequence), to);
    if (gap <= 0n) return;
    if (gap > largestDraw) {
      const obstacle = await restart(session, sequence, to);
      if (obstacle === undefined) return;
      if (gap > farthestDraw) {
        if (!isHeld(obstacle) || attempt === restartAttempts) {
          throw tooFarBehind(sequence, gap, obstacle);
        }
        // Those who queued behind us go first.
        await setTimeout(500);
        continue;
      }
    }
    await draw(session, sequence, gap > largestDraw ? largestDraw : gap);
  }
}

/** How often a value must be drawn until `furthest` is reached or passed, within the limit. */
function stepsBetween(sequence: OwnedSequence, last: bigint, furthest: bigint): bigint {
  if (!isBehind(sequence, last, furthest)) return 0n;
  const { increment, limit } = sequence;
  const wanted = (furthest - last) / increment;
  const steps = last + wanted * increment === furthest ? wanted : wanted + 1n;
  const possible = (limit - last) / increment;
  return steps < possible ? steps : possible;
}

/** How many values the sequence still gives after this one. */
function valuesAfter({ limit, increment }: OwnedSequence, value: bigint): bigint {
  return (limit - value) / increment;
}

function wouldUseUp({ table, sequence, furthest }: SequenceTarget, last: bigint): AppError {
  const name = qualifiedName(sequence.schema, sequence.relation);
  return new AppError(
    "sequence-used-up",
    ExitCode.refused,
    `a row of "${table}" has an id (${sequence.column}) after which sequence "${name}" would have ${valuesAfter(sequence, furthest)} values left, of ${valuesAfter(sequence, last)} now; nothing was written`,
    {
      hint: `All tenants draw from it. If the bundle's ids are right, move the sequence on first, or give it more values (ALTER SEQUENCE); it stands at ${last}, and would be moved to ${furthest}.`,
      data: { table, sequence: name, from: String(last), to: String(furthest) },
    },
  );
}

function tooFarBehind(sequence: OwnedSequence, gap: bigint, obstacle: unknown): AppError {
  const name = qualifiedName(sequence.schema, sequence.relation);
  const held = isHeld(obstacle);
  return new AppError(
    held ? "lock-timeout" : "sequence-behind",
    held ? ExitCode.locked : ExitCode.database,
    `sequence "${name}" is ${gap} values behind the rows and cannot be restarted: ${obstacle instanceof Error ? obstacle.message : ""}; nothing was written`,
    {
      cause: obstacle,
      hint: held
        ? "Another session that drew from it has an open transaction; run the command again."
        : "Connect as the sequence's owner, or let the owner move it on: ALTER SEQUENCE … RESTART.",
    },
  );
}

/** Another session that has drawn from the sequence has not ended its transaction. */
function isHeld(obstacle: unknown): boolean {
  return sqlStateOf(obstacle) === SqlState.lockNotAvailable;
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
      const { rows } = await sql<{ furthest: string | null }>`
        SELECT ${furthestValue(column, sequence)}::text AS furthest FROM ${staged.stage} AS s
         WHERE ${hasItsId(staged, column.name, "s")}`.execute(session.db);
      const furthest = rows[0]?.furthest;
      if (furthest == null) continue;
      targets.push({
        table: staged.table.name,
        sequence,
        furthest: withinLimit(sequence, BigInt(furthest)),
      });
    }
  }
  return targets;
}

/** After the import a live row has the id of the staged row `alias`. */
function hasItsId(staged: StagedTable, column: string, alias: string): RawBuilder<boolean> {
  return staged.key.includes(column) ? sql`TRUE` : becomesLive(staged, alias);
}

function furthestValue({ name, encoding }: Column, { increment }: OwnedSequence) {
  const value = sql.id("s", name);
  const extreme = increment > 0n ? sql`max` : sql`min`;
  if (encoding.as === "value" && encoding.shape !== "number") return sql`${extreme}(${value})`;
  // No sequence gives what is no whole number.
  const whole = increment > 0n ? sql`floor` : sql`ceil`;
  return sql`${whole}(${extreme}(${value}) FILTER (
    WHERE ${value}::numeric NOT IN ('NaN', 'Infinity', '-Infinity')))`;
}

/** Rows may hold ids that their sequence can never reach. */
function withinLimit(sequence: OwnedSequence, value: bigint): bigint {
  const beyond = sequence.increment > 0n ? value > sequence.limit : value < sequence.limit;
  return beyond ? sequence.limit : value;
}

/**
 * The last value drawn; before the first draw, the value one step ahead of the first. A role
 * with USAGE alone cannot read where a sequence that was never drawn from stands; then its
 * start is taken, and what the first draw gives tells the rest.
 */
export async function lastDrawn(session: Session, sequence: OwnedSequence): Promise<bigint> {
  const { rows } = await sql<{ last: string | null; start: string; readable: boolean }>`
    SELECT pg_sequence_last_value(seqrelid)::text AS last, seqstart::text AS start,
           has_sequence_privilege(seqrelid, 'SELECT') AS readable
      FROM pg_sequence WHERE seqrelid = ${regclass(sequence)}`.execute(session.db);
  const [row] = rows;
  if (row === undefined) throw new Error(`sequence ${sequence.relation} has no state`);
  if (row.last !== null) return BigInt(row.last);
  return (
    (row.readable ? await firstValue(session, sequence) : BigInt(row.start)) - sequence.increment
  );
}

async function firstValue(session: Session, sequence: OwnedSequence): Promise<bigint> {
  const { rows } = await sql<{ first: string }>`
    SELECT last_value::text AS first FROM ${sql.id(sequence.schema, sequence.relation)}`.execute(
    session.db,
  );
  return BigInt(rows[0]?.first ?? 0);
}

export function regclass(sequence: OwnedSequence): RawBuilder<unknown> {
  const quoted = [sequence.schema, sequence.relation].map((n) => `"${n.replaceAll('"', '""')}"`);
  return sql`${sql.lit(quoted.join("."))}::regclass`;
}

function isBehind(sequence: OwnedSequence, last: bigint, furthest: bigint): boolean {
  return sequence.increment > 0n ? last < furthest : last > furthest;
}

export async function draw(
  session: Session,
  sequence: OwnedSequence,
  count: bigint,
): Promise<void> {
  await sql`SELECT count(nextval(${regclass(sequence)})) FROM generate_series(1, ${String(count)}::bigint)`.execute(
    session.db,
  );
}

/**
 * Restarts the sequence at `furthest`, and draws that. A first change that alters nothing takes
 * the lock; under it the position is read again, since writers may have passed the mark
 * meanwhile.
 *
 * @returns the server's error when the role may not alter the sequence, or another session that
 *   has drawn from it does not end its transaction
 */
async function restart(
  session: Session,
  sequence: OwnedSequence,
  furthest: bigint,
): Promise<unknown> {
  const name = sql.id(sequence.schema, sequence.relation);
  await session.client.query("SAVEPOINT restart_sequence");
  try {
    await session.client.query(`SET LOCAL lock_timeout = '${restartPatience}'`);
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
    return undefined;
  } catch (error) {
    await session.client.query("ROLLBACK TO SAVEPOINT restart_sequence");
    const state = sqlStateOf(error);
    if (state === SqlState.insufficientPrivilege || state === SqlState.lockNotAvailable) {
      return error;
    }
    throw error;
  }
}
