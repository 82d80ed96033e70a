import { type RawBuilder, sql } from "kysely";
import { relation } from "../catalog/ownership.ts";
import { columnsEqual, conjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { isDataException, SqlState, sqlStateOf } from "../postgres/sqlstates.ts";
import { profileError } from "../profile/classify.ts";
import type { InFlight } from "../profile/profile.ts";
import type { ImportMode, PlanNote } from "./import-types.ts";
import { isLive, recordsDiffer } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import { noteRows } from "./plan-notes.ts";
import { rowKeyText } from "./row-key.ts";
import { literalOf } from "./set-values.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/**
 * Ends the work that was in flight when the bundle was made, so that a restore does not start it
 * again. A row that comes back gets the profile's values. One that is live has gone on since: its
 * own state stands, which also lets a second import find nothing to do.
 *
 * @returns each row that is changed by it
 * @throws {AppError} exit 2 when the profile's value is not one of its column's type
 */
export async function fenceWorkInFlight(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  mode: ImportMode,
): Promise<readonly PlanNote[]> {
  const notes: PlanNote[] = [];
  for (const staged of bundle.tables) {
    const rule = schema.profile.inFlight[staged.table.name];
    if (rule === undefined || !isStaged(staged, rule.column)) continue;
    const left = await leaveToLiveRows(session, staged, rule, rule.states);
    // In mode missing live rows are not touched anyway.
    if (mode !== "missing") notes.push(...left);
    notes.push(...(await endWork(session, schema, staged, rule)));
  }
  return notes;
}

/**
 * The staged rows in these states take over the live row's, and what goes with it.
 *
 * @returns each row in which that made a difference
 */
export function leaveToLiveRows(
  session: Session,
  staged: StagedTable,
  rule: InFlight,
  states: readonly string[],
): Promise<readonly PlanNote[]> {
  const { table, key, stage } = staged;
  const columns = fencedColumns(staged, rule);
  const assignments = columns.map((name) => sql`${sql.id(name)} = ${sql.id("l", name)}`);
  return noteRows<{ key: string; was: string; now: string | null }>(
    session,
    sql`UPDATE ${stage} AS s SET ${sql.join(assignments)}
          FROM ${stage} AS o, ${relation(table)} AS l
         WHERE ${conjunction([
           columnsEqual("o", key, "s"),
           columnsEqual("l", key, "s"),
           inState("s", rule, states),
           recordsDiffer("l", "s", columns),
         ])}
        RETURNING ${rowKeyText("s", staged)} AS key, ${sql.id("o", rule.column)}::text AS was,
                  ${sql.id("l", rule.column)}::text AS now`,
    {
      kind: "fenced",
      table: table.name,
      reason: ({ was, now }) =>
        now !== null && rule.states.includes(now)
          ? `was ${was}, is ${now} by now, and is left to the system that works on it`
          : `was ${was}, is ${now ?? "NULL"} by now, and stays so`,
      others: "were in flight, and stay as they are by now",
    },
  );
}

async function endWork(
  session: Session,
  schema: OpenSchema,
  staged: StagedTable,
  rule: InFlight,
): Promise<readonly PlanNote[]> {
  const { table, key, stage } = staged;
  const set = Object.entries(rule.set).filter(([name]) => isStaged(staged, name));
  const clear = rule.clear.filter((name) => isStaged(staged, name));
  const assignments = [
    ...set.map(([name, value]) => sql`${sql.id(name)} = ${literalOf(table, name, value)}`),
    ...clear.map((name) => sql`${sql.id(name)} = NULL`),
  ];
  if (assignments.length === 0) return [];
  const becomes = rule.set[rule.column];
  const how = becomes === undefined ? `without ${clear.join(", ")}` : becomes;
  try {
    return await noteRows<{ key: string; was: string }>(
      session,
      sql`UPDATE ${stage} AS s SET ${sql.join(assignments)} FROM ${stage} AS o
           WHERE ${conjunction([
             columnsEqual("o", key, "s"),
             inState("s", rule, rule.states),
             sql`NOT ${isLive(staged, "s")}`,
           ])}
          RETURNING ${rowKeyText("s", staged)} AS key, ${sql.id("o", rule.column)}::text AS was`,
      {
        kind: "fenced",
        table: table.name,
        reason: ({ was }) => `was ${was}, comes back ${how}, so that it does not run again`,
        others: `were in flight and come back ${how}`,
      },
    );
  } catch (error) {
    throw valueError(error, schema, `"inFlight" of "${table.name}"`);
  }
}

/** The columns that are fenced, of those that the bundle has values for. */
function fencedColumns(staged: StagedTable, rule: InFlight): readonly string[] {
  const names = new Set([rule.column, ...Object.keys(rule.set), ...rule.clear]);
  return [...names].filter((name) => isStaged(staged, name));
}

function inState(alias: string, rule: InFlight, states: readonly string[]): RawBuilder<boolean> {
  return sql`${sql.id(alias, rule.column)}::text IN (${sql.join(states.map((s) => sql.lit(s)))})`;
}

function isStaged(staged: StagedTable, name: string): boolean {
  return staged.columns.some((column) => column.name === name);
}

/** A value of the profile that its column does not take is the profile's fault. */
export function valueError(error: unknown, schema: OpenSchema, entry: string): unknown {
  const state = sqlStateOf(error);
  if (!isDataException(state) && state !== SqlState.checkViolation) return error;
  return profileError(schema.profile, `${entry} sets a value that its column does not take`);
}
