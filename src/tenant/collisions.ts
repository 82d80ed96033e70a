import { type RawBuilder, sql } from "kysely";
import { ownedBy, relation } from "../catalog/ownership.ts";
import { columnList, columnsEqual, disjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { adaptRekeyed } from "./adapt.ts";
import { type Comparison, compareWithLive } from "./comparison.ts";
import { type Conflict, maxListedRows, refuseConflicts } from "./conflicts.ts";
import { takeOutHanging } from "./hanging-rows.ts";
import type { PlanNote } from "./import-types.ts";
import { moveReferences, referredKey } from "./move-references.ts";
import type { OpenSchema } from "./open-schema.ts";
import type { PlanOptions } from "./plan.ts";
import type { Spared } from "./replace.ts";
import { rowKeyText } from "./row-key.ts";
import {
  adopted,
  createOut,
  forgetMatches,
  holderNames,
  holderOf,
  isSpared,
  live,
  noteOut,
  reason,
  references,
} from "./rows-out.ts";
import type { SelectedPart } from "./selection/import-part.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";
import { collidesIn, collidingRows, heldIndexes } from "./unique-proof.ts";

export interface SettledComparison extends Comparison {
  /** True when rows stay out: `out` of every staged table has those of it. */
  readonly settled: boolean;
}

/** A chain of rows that each need the next one's value takes a round a row; more is no accident. */
const maxRounds = 100;

/**
 * Compares the bundle with the live rows, and takes out of it, as `--on-collision` says, the rows
 * whose unique values a live row of another key holds. A row that goes may keep others from going
 * in, or a live row from letting go of its value: so it is all compared again, until nothing
 * collides.
 *
 * @param within the part of the tenant that is imported; live rows outside of it stay
 * @throws {AppError} exit 4 for a collision that the policy has no answer to
 */
export async function compareAndSettle(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  options: PlanOptions,
  within?: SelectedPart["within"],
): Promise<SettledComparison> {
  const { mode, onCollision } = options;
  const outside: Spared = ({ table }, alias) =>
    within === undefined ? sql`FALSE` : sql`NOT ${within(table, alias)}`;
  let found: Comparison = await compareWithLive(session, schema, bundle, mode, outside);
  const collide = () => found.conflicts.some((conflict) => conflict.kind === "collision");
  if (onCollision === "fail" || !collide()) return { ...found, settled: false };
  const notes: PlanNote[] = [];
  for (const staged of bundle.tables) await createOut(session, staged);
  for (let round = 1; collide(); round += 1) {
    if (round > maxRounds) break;
    const settling = { session, schema, bundle, options, notes, deletesFirst: found.deletesFirst };
    for (const staged of bundle.tables) if (await settleTable(settling, staged)) break;
    found = await compareWithLive(session, schema, bundle, mode, (staged, alias) =>
      disjunction([outside(staged, alias), isSpared(staged, alias)]),
    );
  }
  notes.push(...found.notes);
  for (const staged of bundle.tables) notes.push(...(await noteOut(session, staged)));
  return { ...found, notes, settled: true };
}

/** What was noted of rows before some of them were taken out. */
export function ofRowsThatAreIn(
  notes: readonly PlanNote[],
  settled: SettledComparison,
): readonly PlanNote[] {
  const out = new Set(
    settled.notes
      .filter(({ kind }) => kind === "skipped" || kind === "adopted")
      .map(({ table, row }) => `${table} ${row}`),
  );
  return notes.filter(({ table, row }) => !out.has(`${table} ${row}`));
}

interface Settling {
  readonly session: Session;
  readonly schema: OpenSchema;
  readonly bundle: StagedBundle;
  readonly options: PlanOptions;
  readonly notes: PlanNote[];
  readonly deletesFirst: boolean;
}

/**
 * Takes the rows of one table that collide out of the bundle, with what hangs on them.
 *
 * @returns true when rows have other keys now, so that they must be matched again
 */
async function settleTable(settling: Settling, staged: StagedTable): Promise<boolean> {
  const { session, schema, bundle, options } = settling;
  const indexes = heldIndexes(staged, settling.deletesFirst);
  if (indexes.length === 0) return false;
  const { key, stage, out, match } = staged;
  const pairs = sql`pg_temp.pgtenant_colliding`;
  await sql`DROP TABLE IF EXISTS ${pairs}`.execute(session.db);
  const each = indexes.map(
    (candidate) => sql`
      SELECT ${columnList(key, "s")},
             ${holderOf(key, "l")},
             concat(${sql.lit(collidesIn(candidate.index))}, ${rowKeyText("l", staged)}, ' holds') AS ${reason}
        FROM ${collidingRows(schema, bundle, candidate)}`,
  );
  await sql`CREATE TEMPORARY TABLE ${pairs} AS
    SELECT c.*, EXISTS (SELECT FROM ${match} AS m WHERE ${columnsEqual("m", key, "c")}) AS ${live}
      FROM (${sql.join(each, sql` UNION ALL `)}) AS c`.execute(session.db);
  const adopt = options.onCollision === "adopt";
  if (adopt) refuseConflicts(await notAdoptable(settling, staged, pairs));
  const first = sql`SELECT DISTINCT ON (${columnList(key)}) * FROM ${pairs}
    ORDER BY ${columnList(key)}, ${reason}`;
  const { numAffectedRows } = await sql`
    WITH gone AS (
      DELETE FROM ${stage} AS s USING (${first}) AS c WHERE ${columnsEqual("s", key, "c")}
      RETURNING s.*, c.${reason}, c.${live}, ${adopt ? sql`NOT c.${live}` : sql`FALSE`} AS ${adopted},
                0::bigint AS ${references}, ${columnList(holderNames(key), "c")})
    INSERT INTO ${out} SELECT * FROM gone`.execute(session.db);
  if (Number(numAffectedRows ?? 0n) === 0) return false;
  await forgetMatches(session, staged);
  const rekeyed = adopt && (await followAdopted(settling, staged));
  await takeOutHanging(session, schema, bundle);
  refuseConflicts(await rootOut(settling));
  return rekeyed;
}

/** Only one live row, of the tenant itself, can stand for a row of the bundle, and for no other. */
async function notAdoptable(
  { session, schema, bundle }: Settling,
  staged: StagedTable,
  pairs: RawBuilder<unknown>,
): Promise<readonly Conflict[]> {
  const { table, key, stage, out } = staged;
  const holder = holderNames(key);
  const owned = ownedBy(
    schema.catalog,
    schema.root,
    schema.ownership,
    table,
    "r",
    bundle.tenant.id,
  );
  const other = (same: readonly string[], different: readonly string[]) => sql`EXISTS (
    SELECT FROM ${pairs} AS d
     WHERE ${columnsEqual("d", same, "c")} AND NOT ${columnsEqual("d", different, "c")} AND NOT d.${live})`;
  const { rows } = await sql<{ key: string; reason: string; why: string }>`
    SELECT DISTINCT * FROM (
      SELECT ${rowKeyText("c", staged)} AS key, c.${reason} AS reason, CASE
          WHEN NOT EXISTS (SELECT FROM ${relation(table)} AS r
                            WHERE ${columnsEqual("r", key, "c", holder)} AND ${owned})
            THEN ', which is not this tenant''s own'
          WHEN c.${live} THEN NULL
          WHEN EXISTS (SELECT FROM ${stage} AS s WHERE ${columnsEqual("s", key, "c", holder)})
            OR EXISTS (SELECT FROM ${out} AS x WHERE ${columnsEqual("x", key, "c", holder)})
            THEN ', which is another row of the bundle'
          WHEN ${other(key, holder)} THEN ', and another live row holds another value of it'
          WHEN ${other(holder, key)}
            OR EXISTS (SELECT FROM ${out} AS x WHERE x.${adopted} AND ${columnsEqual("x", holder, "c")})
            THEN ', which stands for another row of the bundle'
        END AS why
        FROM ${pairs} AS c) AS found
     WHERE why IS NOT NULL ORDER BY key, why LIMIT ${maxListedRows}`.execute(session.db);
  return rows.map((row) => ({
    kind: "collision",
    table: table.name,
    row: row.key,
    reason: `${row.reason}${row.why}`,
  }));
}

/** Without the tenant's own row there is nothing that its other rows could belong to. */
async function rootOut({ session, schema, bundle }: Settling): Promise<readonly Conflict[]> {
  const root = bundle.tables.find(({ table }) => table.name === schema.root.table);
  if (root === undefined) return [];
  const { rows } = await sql<{ key: string; reason: string }>`
    SELECT ${rowKeyText("x", root)} AS key, x.${reason} AS reason
      FROM ${root.out} AS x WHERE NOT x.${live}`.execute(session.db);
  return rows.map((row) => ({
    kind: "collision",
    table: root.table.name,
    row: row.key,
    reason: row.reason,
  }));
}

/** @returns true when rows have other keys now */
async function followAdopted(settling: Settling, staged: StagedTable): Promise<boolean> {
  const { session, schema, bundle, options, notes } = settling;
  const { table, key, out } = staged;
  const source = sql`FROM ${out} AS x JOIN ${relation(table)} AS l
      ON ${columnsEqual("l", key, "x", holderNames(key))} WHERE x.${adopted}`;
  const { rekeyed } = await moveReferences(session, schema, bundle, staged, source, (moved) =>
    countReferences(session, staged, moved),
  );
  notes.push(...(await adaptRekeyed(session, schema, bundle, rekeyed, options)));
  return rekeyed.size > 0;
}

async function countReferences(
  session: Session,
  { key, out }: StagedTable,
  moved: RawBuilder<unknown>,
): Promise<void> {
  const names = referredKey(key);
  await sql`
    UPDATE ${out} AS x SET ${references} = x.${references} + c.moved
      FROM (SELECT ${columnList(names)}, count(*) AS moved FROM ${moved} GROUP BY ${columnList(names)}) AS c
     WHERE ${columnsEqual("x", key, "c", names)}`.execute(session.db);
}
