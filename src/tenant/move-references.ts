import { type RawBuilder, sql } from "kysely";
import type { ForeignKey } from "../catalog/catalog.ts";
import { AppError, ExitCode } from "../errors.ts";
import { columnsEqual, conjunction, disjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { SqlState, sqlStateOf } from "../postgres/sqlstates.ts";
import { referencesOf } from "../profile/classify.ts";
import type { OpenSchema } from "./open-schema.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

export interface MovedReferences {
  /** Tables of which rows have other keys now. */
  readonly rekeyed: ReadonlySet<string>;
}

/**
 * Rows whose columns that others refer to change. The temporary table has them by number, since a
 * column's name cannot get longer: `o1` becomes `n1`; `p1` and so on are the key of the row
 * that they themselves refer to.
 */
interface ChangedRows {
  readonly of: StagedTable;
  readonly pairs: RawBuilder<unknown>;
  readonly columns: readonly string[];
}

/** The columns, in the table that `count` gets, with the key of the row that is referred to. */
export function referredKey(key: readonly string[]): readonly string[] {
  return key.map((_, i) => `p${i + 1}`);
}

/**
 * Makes the staged rows that refer to rows `x` of a table refer to rows `l` instead, by every
 * foreign key and every reference of the profile. Where a column that moves is itself referred
 * to, as in keys that carry their parent's along, those references follow.
 *
 * @param source FROM and WHERE with the aliases `x` and `l`, which both have the table's columns
 * @param count is told of the references to the rows themselves
 * @throws {AppError} exit 4 when rows would get the keys of others
 */
export async function moveReferences(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  of: StagedTable,
  source: RawBuilder<unknown>,
  count: (moved: RawBuilder<unknown>) => Promise<void>,
): Promise<MovedReferences> {
  const rekeyed = new Set<string>();
  let made = 0;
  const newPairs = () => sql`pg_temp.${sql.id(`pgtenant_moved${made++}`)}`;
  const columns = referredColumns(schema, bundle, of);
  const first: ChangedRows = { of, columns, pairs: newPairs() };
  await create(session, first, sql`SELECT ${oldAndNew(columns, "x", "l")} ${source}`);
  const waiting = [first];
  for (let changed = waiting.shift(); changed !== undefined; changed = waiting.shift()) {
    await sql`ANALYZE ${changed.pairs}`.execute(session.db);
    for (const staged of bundle.tables) {
      for (const key of movableKeys(schema, staged, changed)) {
        const next: ChangedRows = {
          of: staged,
          columns: referredColumns(schema, bundle, staged),
          pairs: newPairs(),
        };
        if ((await follow(session, key, changed, next)) === 0) continue;
        if (changed === first) await count(next.pairs);
        if (staged.key.some((name) => key.columns.includes(name))) rekeyed.add(staged.table.name);
        if (next.columns.some((name) => key.columns.includes(name))) waiting.push(next);
      }
    }
  }
  return { rekeyed };
}

/** The key, and whatever else of the table's columns others refer to. */
function referredColumns(
  schema: OpenSchema,
  bundle: StagedBundle,
  { table, key, present }: StagedTable,
): readonly string[] {
  const referred = bundle.tables
    .flatMap((staged) => referencesOf(schema, staged.table.name))
    .filter(({ to }) => to === table.name)
    .flatMap(({ toColumns }) => toColumns);
  return [...new Set([...key, ...referred])].filter((name) => present.has(name));
}

function movableKeys(
  schema: OpenSchema,
  staged: StagedTable,
  { of, columns }: ChangedRows,
): readonly ForeignKey[] {
  return referencesOf(schema, staged.table.name).filter(
    (key) =>
      key.to === of.table.name &&
      key.columns.every((name) => staged.columns.some((column) => column.name === name)) &&
      key.toColumns.every((name) => columns.includes(name)),
  );
}

async function create(session: Session, { pairs }: ChangedRows, rows: RawBuilder<unknown>) {
  await sql`DROP TABLE IF EXISTS ${pairs}`.execute(session.db);
  await sql`CREATE TEMPORARY TABLE ${pairs} AS ${rows}`.execute(session.db);
}

/** @returns the number of rows that refer to the changed rows' new values now */
async function follow(
  session: Session,
  key: ForeignKey,
  changed: ChangedRows,
  next: ChangedRows,
): Promise<number> {
  const { stage, table, key: own } = next.of;
  const at = (name: string) => changed.columns.indexOf(name) + 1;
  const before = key.toColumns.map((name) => sql.id("p", `o${at(name)}`));
  const after = key.toColumns.map((name) => sql.id("p", `n${at(name)}`));
  const referred = referredKey(changed.of.key).map(
    (name, i) => sql`${sql.id("p", `o${at(changed.of.key[i] ?? "")}`)} AS ${sql.id(name)}`,
  );
  await create(
    session,
    next,
    sql`SELECT ${oldAndNew(next.columns, "s", "s")}, ${sql.join(referred)}
          FROM ${stage} AS s, ${changed.pairs} AS p WHERE FALSE`,
  );
  try {
    const { numAffectedRows } = await sql`
      WITH moved AS (
        UPDATE ${stage} AS s
           SET ${sql.join(key.columns.map((name, i) => sql`${sql.id(name)} = ${after[i]}`))}
          FROM ${stage} AS o, ${changed.pairs} AS p
         WHERE ${conjunction([
           columnsEqual("o", own, "s"),
           ...key.columns.map((name, i) => sql`${sql.id("s", name)} = ${before[i]}`),
           disjunction(before.map((value, i) => sql`${value} IS DISTINCT FROM ${after[i]}`)),
         ])}
        RETURNING ${oldAndNew(next.columns, "o", "s")}, ${sql.join(referred)})
      INSERT INTO ${next.pairs} SELECT * FROM moved`.execute(session.db);
    return Number(numAffectedRows ?? 0n);
  } catch (error) {
    if (sqlStateOf(error) !== SqlState.uniqueViolation) throw error;
    throw new AppError(
      "unique-collision",
      ExitCode.refused,
      `rows of "${table.name}" would get the keys of other rows of the bundle, if live rows stood for the rows of "${changed.of.table.name}" that they refer to; nothing was written`,
      { cause: error, hint: "Leave the rows that collide out: --on-collision skip." },
    );
  }
}

function oldAndNew(columns: readonly string[], before: string, after: string): RawBuilder<unknown> {
  return sql.join(
    columns.flatMap((name, i) => [
      sql`${sql.id(before, name)} AS ${sql.id(`o${i + 1}`)}`,
      sql`${sql.id(after, name)} AS ${sql.id(`n${i + 1}`)}`,
    ]),
  );
}
