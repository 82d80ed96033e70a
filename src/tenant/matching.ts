import { type RawBuilder, sql } from "kysely";
import type { ForeignKey } from "../catalog/catalog.ts";
import { hasOwner, ownedBy, relation } from "../catalog/ownership.ts";
import {
  allPresent,
  columnList,
  columnsEqual,
  conjunction,
  disjunction,
} from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { oneWayColumns, oneWayCompanions, referencesOf } from "../profile/classify.ts";
import type { ImportMode, PlanNote } from "./import-types.ts";
import type { OpenSchema } from "./open-schema.ts";
import { noteRows } from "./plan-notes.ts";
import { rowKeyText } from "./row-key.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/** What happens to a live row that the bundle holds as well. */
export type MatchAction = "same" | "keep" | "update" | "relink" | "foreign";

/**
 * Sets each staged one-way column to the live row's value where that is set already, and with it
 * the columns that say the same: a row that was revoked since the bundle was made stays revoked.
 */
export async function keepOneWayColumns(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
): Promise<readonly PlanNote[]> {
  const notes: PlanNote[] = [];
  for (const staged of bundle.tables) {
    const columns = oneWayColumns(schema, staged.table.name).filter((c) => staged.present.has(c));
    if (columns.length === 0) continue;
    const differs = columns.map(
      (c) =>
        sql`(${sql.id("l", c)} IS NOT NULL AND ${sql.id("s", c)} IS DISTINCT FROM ${sql.id("l", c)})`,
    );
    const newlySet = columns.map(
      (c) => sql`(${sql.id("l", c)} IS NOT NULL AND ${sql.id("s", c)} IS NULL)`,
    );
    const companions = oneWayCompanions(schema, staged.table.name).filter((c) =>
      staged.present.has(c),
    );
    const assignments = [
      ...columns.map((c) => sql`${sql.id(c)} = coalesce(${sql.id("l", c)}, ${sql.id("s", c)})`),
      ...companions.map(
        (c) =>
          sql`${sql.id(c)} = CASE WHEN ${disjunction(newlySet)} THEN ${sql.id("l", c)} ELSE ${sql.id("s", c)} END`,
      ),
    ];
    const statement = sql`
      UPDATE ${staged.stage} AS s SET ${sql.join(assignments)}
        FROM ${relation(staged.table)} AS l
       WHERE ${columnsEqual("l", staged.key, "s")} AND ${disjunction(differs)}
      RETURNING ${rowKeyText("s", staged)} AS key`;
    notes.push(
      ...(await noteRows(session, statement, {
        kind: "stays-revoked",
        table: staged.table.name,
        reason: () => `${columns.join(", ")} is set in the live row and is never cleared`,
        others: `stay as they are: ${columns.join(", ")} is set in the live row`,
      })),
    );
  }
  return notes;
}

/**
 * Finds the live row of every staged one, by key, and decides what happens to it. Rows without
 * a live counterpart will be inserted and are in no match table.
 */
export async function matchLiveRows(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  mode: ImportMode,
): Promise<void> {
  for (const staged of bundle.tables) await createMatch(session, schema, bundle, staged);
  const byName = new Map(bundle.tables.map((staged) => [staged.table.name, staged]));
  for (const staged of bundle.tables) await decide(session, schema, staged, byName, mode);
}

async function createMatch(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  staged: StagedTable,
): Promise<void> {
  const { catalog, root, ownership } = schema;
  const { table, key, stage, match } = staged;
  const names = staged.columns.map((column) => column.name);
  await sql`DROP TABLE IF EXISTS ${match}`.execute(session.db);
  await sql`CREATE TEMPORARY TABLE ${match} AS
    SELECT ${columnList(key, "s")},
           ${ownedBy(catalog, root, ownership, table, "l", bundle.tenant.id)} AS "pgtenant$owned",
           ${hasOwner(ownership, table, "l")} AS "pgtenant$has_owner",
           ${recordsDiffer("l", "s", names)} AS "pgtenant$differs",
           ${onlyCleared(schema, staged)} AS "pgtenant$cleared",
           'same'::text AS "pgtenant$action"
      FROM ${stage} AS s JOIN ${relation(table)} AS l ON ${columnsEqual("l", key, "s")}`.execute(
    session.db,
  );
  await sql`ANALYZE ${match}`.execute(session.db);
}

/** Bit by bit, so that 1.0 and 1.00, or two texts that a collation calls equal, differ. */
export function recordsDiffer(
  left: string,
  right: string,
  names: readonly string[],
): RawBuilder<boolean> {
  return sql`(ROW(${columnList(names, left)})::record *<> ROW(${columnList(names, right)})::record)`;
}

/** The keys that a deletion of their target sets to NULL. */
export function clearingKeys(schema: OpenSchema, staged: StagedTable): readonly ForeignKey[] {
  return referencesOf(schema, staged.table.name).filter(
    (key) =>
      key.onDelete === "set null" &&
      key.to !== staged.table.name &&
      key.columns.every((column) => staged.present.has(column)),
  );
}

/** The rows `l` and `s` differ only in references of `l` that were set to NULL. */
export function onlyCleared(schema: OpenSchema, staged: StagedTable): RawBuilder<boolean> {
  const keys = clearingKeys(schema, staged);
  if (keys.length === 0) return sql`FALSE`;
  const cleared = new Set(keys.flatMap((key) => key.clearedColumns));
  const others = staged.columns.map((c) => c.name).filter((name) => !cleared.has(name));
  const each = [...cleared].map(
    (name) => sql`(${sql.id("l", name)} IS NULL OR NOT ${recordsDiffer("l", "s", [name])})`,
  );
  return conjunction([sql`NOT ${recordsDiffer("l", "s", others)}`, ...each]);
}

async function decide(
  session: Session,
  schema: OpenSchema,
  staged: StagedTable,
  byName: ReadonlyMap<string, StagedTable>,
  mode: ImportMode,
): Promise<void> {
  const { match, table } = staged;
  const appendOnly = schema.profile.appendOnly.includes(table.name);
  const differing = mode === "missing" || appendOnly ? "keep" : "update";
  // An append-only row of which only a reference was cleared may be linked again.
  const cleared = mode === "missing" ? "keep" : appendOnly ? "relink" : "update";
  await sql`UPDATE ${match} AS m SET "pgtenant$action" = CASE
      WHEN NOT "pgtenant$owned" AND ("pgtenant$has_owner" OR NOT "pgtenant$cleared") THEN 'foreign'
      WHEN NOT "pgtenant$differs" THEN 'same'
      WHEN "pgtenant$cleared" AND ${parentReturns(schema, staged, byName)} THEN 'relink'
      WHEN "pgtenant$cleared" THEN ${sql.lit(cleared)}
      ELSE ${sql.lit(differing)} END
    WHERE NOT "pgtenant$owned" OR "pgtenant$differs"`.execute(session.db);
}

/** A row that the cleared reference pointed to is among those that this import inserts. */
function parentReturns(
  schema: OpenSchema,
  staged: StagedTable,
  byName: ReadonlyMap<string, StagedTable>,
): RawBuilder<boolean> {
  return disjunction(
    clearingKeys(schema, staged).flatMap((key) => {
      const parent = byName.get(key.to);
      if (parent === undefined) return [];
      return sql`EXISTS (
        SELECT FROM ${staged.stage} AS s JOIN ${parent.stage} AS p
               ON ${columnsEqual("p", key.toColumns, "s", key.columns)}
         WHERE ${conjunction([
           columnsEqual("s", staged.key, "m"),
           allPresent("s", key.columns),
           sql`NOT EXISTS (SELECT FROM ${parent.match} AS pm WHERE ${columnsEqual("pm", parent.key, "p")})`,
         ])})`;
    }),
  );
}

/** A condition on the staged row `alias`, before rows are matched: it has a live counterpart. */
export function isLive({ table, key }: StagedTable, alias: string): RawBuilder<boolean> {
  return sql`EXISTS (SELECT FROM ${relation(table)} AS hl WHERE ${columnsEqual("hl", key, alias)})`;
}

/** A condition on the staged row `alias`: it has no live counterpart. */
export function isInserted(staged: StagedTable, alias: string): RawBuilder<boolean> {
  return sql`NOT EXISTS (SELECT FROM ${staged.match} AS im WHERE ${columnsEqual("im", staged.key, alias)})`;
}

/** A condition on the staged row `alias`: this import writes it. */
export function isWritten(staged: StagedTable, alias: string): RawBuilder<boolean> {
  return sql`NOT EXISTS (SELECT FROM ${staged.match} AS wm
    WHERE ${columnsEqual("wm", staged.key, alias)} AND wm."pgtenant$action" IN ('same', 'keep'))`;
}

/** A condition on the staged row `alias`: after the import the live row is like it. */
export function becomesLive(staged: StagedTable, alias: string): RawBuilder<boolean> {
  return sql`NOT EXISTS (SELECT FROM ${staged.match} AS bm
    WHERE ${columnsEqual("bm", staged.key, alias)} AND bm."pgtenant$action" = 'keep')`;
}
