import { type RawBuilder, sql } from "kysely";
import { storedColumns } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import { columnList, columnsEqual, conjunction, disjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import type { ImportPlan, TablePlan } from "./import-types.ts";
import { linkedLaterColumns } from "./linked-later.ts";
import { isInserted } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import { parkValues } from "./parking.ts";
import type { WorkingPlan } from "./plan.ts";
import { emptyTally, type Tally, unplannedWrites } from "./proof-of-writes.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/**
 * Writes what the plan says, inside the transaction it was made in.
 *
 * @returns the writes of every statement, by table
 * @throws {AppError} exit 7 when a statement wrote other than planned
 */
export async function applyPlan(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  working: WorkingPlan,
  onStep: (step: string, rows: number) => void,
): Promise<Map<string, Tally>> {
  const { plan } = working;
  const tallies = new Map<string, Tally>(
    bundle.tables.map((staged) => [staged.table.name, emptyTally()]),
  );
  const run = async (
    staged: StagedTable,
    kind: keyof Tally,
    expected: number,
    statement: RawBuilder<unknown>,
  ) => {
    if (expected === 0) return;
    onStep(`${kind} ${staged.table.name}`, 0);
    const { numAffectedRows } = await statement.execute(session.db);
    const written = Number(numAffectedRows ?? 0n);
    if (written !== expected) {
      throw unplannedWrites([`${staged.table.name}: ${written} ${kind}, ${expected} planned`]);
    }
    const tally = tallies.get(staged.table.name);
    if (tally !== undefined) tally[kind] += written;
    onStep(`${kind} ${staged.table.name}`, written);
  };
  const insertAll = async () => {
    for (const staged of bundle.tables) {
      const { insert } = tablePlan(plan, staged);
      await run(staged, "inserted", insert, insertStatement(schema, staged));
    }
    for (const staged of bundle.tables) {
      const links = await countLinks(session, schema, staged, tablePlan(plan, staged));
      await run(staged, "updated", links, linkStatement(schema, staged));
    }
  };
  const updateAll = async () => {
    for (const staged of bundle.tables) {
      const { update, relink } = tablePlan(plan, staged);
      await run(staged, "updated", update + relink, updateStatement(staged));
    }
  };
  const alsoUpdated = (staged: StagedTable, rows: number) => {
    const tally = tallies.get(staged.table.name);
    if (tally !== undefined) tally.updated += rows;
  };
  const deleteAll = async () => {
    for (const staged of bundle.tables) {
      if (tablePlan(plan, staged).delete === 0) continue;
      alsoUpdated(staged, await unlinkExtraRows(session, schema, staged));
    }
    for (const staged of bundle.tables.toReversed()) {
      await run(staged, "deleted", tablePlan(plan, staged).delete, deleteStatement(staged));
    }
  };
  // References between rows of one cycle, and between rows that swap places, hold at the end.
  await session.client.query("SET CONSTRAINTS ALL DEFERRED");
  if (working.deletesFirst) await deleteAll();
  for (const vacating of working.vacating) {
    alsoUpdated(vacating.staged, await parkValues(session, vacating));
  }
  await insertAll();
  await updateAll();
  if (!working.deletesFirst) await deleteAll();
  await session.client.query("SET CONSTRAINTS ALL IMMEDIATE");
  return tallies;
}

function tablePlan(plan: ImportPlan, staged: StagedTable): TablePlan {
  const found = plan.tables.find((entry) => entry.table === staged.table.name);
  if (found === undefined) throw new Error(`the plan lacks table ${staged.table.name}`);
  return found;
}

function insertStatement(schema: OpenSchema, staged: StagedTable): RawBuilder<unknown> {
  const later = linkedLaterColumns(schema, staged);
  const names = staged.columns.map((column) => column.name);
  const values = staged.columns.map((column) =>
    later.has(column.name) ? sql`NULL::${sql.raw(column.type)}` : sql.id("s", column.name),
  );
  // Identity columns keep the values of the bundle.
  const overriding = staged.table.columns.some((column) => column.identity !== undefined)
    ? sql`OVERRIDING SYSTEM VALUE`
    : sql``;
  const { schema: schemaName, relation: name } = staged.table;
  return sql`INSERT INTO ${sql.id(schemaName, name)} (${columnList(names)}) ${overriding}
    SELECT ${sql.join(values)} FROM ${staged.stage} AS s WHERE ${isInserted(staged, "s")}`;
}

function linkCondition(schema: OpenSchema, staged: StagedTable): RawBuilder<boolean> {
  const present = [...linkedLaterColumns(schema, staged)].map(
    (name) => sql`${sql.id("s", name)} IS NOT NULL`,
  );
  return conjunction([sql`(${sql.join(present, sql` OR `)})`, isInserted(staged, "s")]);
}

async function countLinks(
  session: Session,
  schema: OpenSchema,
  staged: StagedTable,
  plan: TablePlan,
): Promise<number> {
  if (plan.insert === 0 || linkedLaterColumns(schema, staged).size === 0) return 0;
  const { rows } = await sql<{ count: string }>`
    SELECT count(*) AS count FROM ${staged.stage} AS s WHERE ${linkCondition(schema, staged)}`.execute(
    session.db,
  );
  return Number(rows[0]?.count ?? 0);
}

function linkStatement(schema: OpenSchema, staged: StagedTable): RawBuilder<unknown> {
  const later = [...linkedLaterColumns(schema, staged)];
  return sql`UPDATE ${relation(staged.table)} AS l SET ${assignments(later)}
    FROM ${staged.stage} AS s
   WHERE ${columnsEqual("l", staged.key, "s")} AND ${linkCondition(schema, staged)}`;
}

function updateStatement(staged: StagedTable): RawBuilder<unknown> {
  // An identity column GENERATED ALWAYS cannot be set; the read-back tells if it would have to be.
  // The key is set too, since equal values need not be the same: 1.0 and 1.00, "a" and "A".
  const names = storedColumns(staged.table)
    .filter((column) => staged.present.has(column.name) && column.identity !== "always")
    .map((column) => column.name);
  return sql`UPDATE ${relation(staged.table)} AS l SET ${assignments(names)}
    FROM ${staged.stage} AS s JOIN ${staged.match} AS m ON ${columnsEqual("m", staged.key, "s")}
   WHERE ${columnsEqual("l", staged.key, "s")}
     AND m."pgtenant$action" IN ('update', 'relink')`;
}

/** Rows of a cycle let go of each other before they are deleted. */
async function unlinkExtraRows(
  session: Session,
  schema: OpenSchema,
  staged: StagedTable,
): Promise<number> {
  const later = [...linkedLaterColumns(schema, staged)];
  if (later.length === 0) return 0;
  const { numAffectedRows } = await sql`
    UPDATE ${relation(staged.table)} AS l
       SET ${sql.join(later.map((name) => sql`${sql.id(name)} = NULL`))}
      FROM ${staged.extra} AS e
     WHERE ${columnsEqual("l", staged.key, "e")}
       AND ${disjunction(later.map((name) => sql`${sql.id("l", name)} IS NOT NULL`))}`.execute(
    session.db,
  );
  return Number(numAffectedRows ?? 0n);
}

function deleteStatement(staged: StagedTable): RawBuilder<unknown> {
  return sql`DELETE FROM ${relation(staged.table)} AS l USING ${staged.extra} AS e
    WHERE ${columnsEqual("l", staged.key, "e")}`;
}

function assignments(names: readonly string[]): RawBuilder<unknown> {
  return sql.join(names.map((name) => sql`${sql.id(name)} = ${sql.id("s", name)}`));
}
