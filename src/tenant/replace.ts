import { type RawBuilder, sql } from "kysely";
import type { ForeignKey, Table } from "../catalog/catalog.ts";
import { ownedBy, relation } from "../catalog/ownership.ts";
import { columnList, columnsEqual, conjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import type { PlanNote } from "./import-types.ts";
import type { OpenSchema } from "./open-schema.ts";
import { noteRows } from "./plan-notes.ts";
import { rowKeyText } from "./row-key.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

export interface ReplacePlan {
  readonly notes: readonly PlanNote[];
  /**
   * Deletions come before insertions, so that unique values become free; unless a row that
   * stays must first be updated to let go of one that goes.
   */
  readonly deletesFirst: boolean;
}

/** A condition on the live row `alias` of a table: the bundle speaks of it, though no staged row has its key. */
export type Spared = (staged: StagedTable, alias: string) => RawBuilder<boolean>;

/**
 * Finds the tenant's live rows that the bundle lacks, for tables that the bundle has. Rows of
 * append-only tables stay, and so does every row that a row which stays refers to, and what is
 * spared.
 */
export async function findExtraRows(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  wanted: boolean,
  spared: Spared = () => sql`FALSE`,
): Promise<ReplacePlan> {
  for (const staged of bundle.tables) {
    await createExtra(session, schema, bundle, staged, wanted, spared(staged, "l"));
  }
  if (!wanted) return { notes: [], deletesFirst: true };
  const notes: PlanNote[] = [];
  for (const staged of bundle.tables) {
    if (schema.profile.appendOnly.includes(staged.table.name)) {
      notes.push(...(await keepAppendOnly(session, staged)));
    }
  }
  const byName = new Map(bundle.tables.map((staged) => [staged.table.name, staged]));
  const keys = [...schema.references.values()].flat().filter((key) => byName.has(key.to));
  for (let kept = 1; kept > 0; ) {
    kept = 0;
    for (const key of keys) {
      const found = await keepReferenced(session, schema, key, byName);
      notes.push(...found);
      kept += found.length;
    }
  }
  return { notes, deletesFirst: await mayDeleteFirst(session, schema, bundle) };
}

/** False when a row that stays must first be updated to let go of one that goes. */
export async function mayDeleteFirst(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
): Promise<boolean> {
  const byName = new Map(bundle.tables.map((staged) => [staged.table.name, staged]));
  for (const key of [...schema.references.values()].flat()) {
    if (key.source !== "constraint") continue;
    if (await survivorLetsGo(session, schema, key, byName)) return false;
  }
  return true;
}

async function createExtra(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  staged: StagedTable,
  wanted: boolean,
  spared: RawBuilder<boolean>,
): Promise<void> {
  const { catalog, root, ownership } = schema;
  const { table, key, stage, extra } = staged;
  const condition = wanted
    ? conjunction([
        ownedBy(catalog, root, ownership, table, "l", bundle.tenant.id),
        sql`NOT EXISTS (SELECT FROM ${stage} AS s WHERE ${columnsEqual("s", key, "l")})`,
        sql`NOT ${spared}`,
      ])
    : sql`FALSE`;
  await sql`DROP TABLE IF EXISTS ${extra}`.execute(session.db);
  await sql`CREATE TEMPORARY TABLE ${extra} AS
    SELECT ${columnList(key, "l")} FROM ${relation(table)} AS l WHERE ${condition}`.execute(
    session.db,
  );
  if (wanted) await sql`ANALYZE ${extra}`.execute(session.db);
}

async function keepAppendOnly(session: Session, staged: StagedTable): Promise<readonly PlanNote[]> {
  return await noteRows(
    session,
    sql`DELETE FROM ${staged.extra} AS e RETURNING ${rowKeyText("e", staged)} AS key`,
    {
      kind: "append-only",
      table: staged.table.name,
      reason: () => "is not in the bundle; rows of this table are never deleted",
      others: "are not in the bundle, and stay; rows of this table are never deleted",
    },
  );
}

/** Takes rows off the list that a row which stays refers to, now or after its update. */
async function keepReferenced(
  session: Session,
  schema: OpenSchema,
  key: ForeignKey,
  byName: ReadonlyMap<string, StagedTable>,
): Promise<readonly PlanNote[]> {
  const target = byName.get(key.to);
  const source = schema.catalog.tables.get(key.from);
  if (target === undefined || source === undefined) return [];
  const staged = byName.get(key.from);
  const now = sql`EXISTS (SELECT FROM ${relation(source)} AS r
    WHERE ${conjunction([columnsEqual("r", key.columns, "l", key.toColumns), stays(source, staged, "r")])})`;
  const then =
    staged === undefined || !key.columns.every((column) => staged.present.has(column))
      ? sql`FALSE`
      : sql`EXISTS (SELECT FROM ${staged.stage} AS s WHERE ${columnsEqual("s", key.columns, "l", key.toColumns)})`;
  return await noteRows(
    session,
    sql`DELETE FROM ${target.extra} AS e USING ${relation(target.table)} AS l
         WHERE ${columnsEqual("l", target.key, "e")} AND (${now} OR ${then})
        RETURNING ${rowKeyText("e", target)} AS key`,
    {
      kind: "still-referenced",
      table: target.table.name,
      reason: () => `is not in the bundle, but rows of ${key.from} that stay refer to it`,
      others: `are not in the bundle, but rows of ${key.from} that stay refer to them`,
    },
  );
}

/** The live row `alias` is neither deleted nor updated by this import. */
function stays(table: Table, staged: StagedTable | undefined, alias: string): RawBuilder<boolean> {
  if (staged === undefined || table.name !== staged.table.name) return sql`TRUE`;
  return conjunction([
    sql`NOT EXISTS (SELECT FROM ${staged.extra} AS g WHERE ${columnsEqual("g", staged.key, alias)})`,
    sql`NOT EXISTS (SELECT FROM ${staged.match} AS u WHERE ${columnsEqual("u", staged.key, alias)}
          AND u."pgtenant$action" IN ('update', 'relink'))`,
  ]);
}

async function survivorLetsGo(
  session: Session,
  schema: OpenSchema,
  key: ForeignKey,
  byName: ReadonlyMap<string, StagedTable>,
): Promise<boolean> {
  const target = byName.get(key.to);
  const staged = byName.get(key.from);
  const source = schema.catalog.tables.get(key.from);
  if (target === undefined || staged === undefined || source === undefined) return false;
  const { rows } = await sql<{ found: boolean }>`
    SELECT EXISTS (
      SELECT FROM ${target.extra} AS e
        JOIN ${relation(target.table)} AS l ON ${columnsEqual("l", target.key, "e")}
        JOIN ${relation(source)} AS r ON ${columnsEqual("r", key.columns, "l", key.toColumns)}
       WHERE NOT EXISTS (SELECT FROM ${staged.extra} AS g WHERE ${columnsEqual("g", staged.key, "r")})
    ) AS found`.execute(session.db);
  return rows[0]?.found === true;
}
