import { type RawBuilder, sql } from "kysely";
import { columnOf } from "../../catalog/catalog.ts";
import { columnList, qualifiedName } from "../../postgres/identifiers.ts";
import type { Session } from "../../postgres/session.ts";
import { regclass } from "../sequences.ts";
import type { StagedTable } from "../staging.ts";
import { type MappedClass, refuseHeld } from "./key-maps.ts";
import { allMapped, formerIdColumn, isAmong } from "./rewrite.ts";

/** Keys that other sessions have drawn meanwhile: what was planned, and what was drawn instead. */
interface Moved {
  readonly of: MappedClass;
  readonly moves: RawBuilder<unknown>;
}

/**
 * Draws the keys of the staged rows from their sequences. They are the planned ones, unless
 * another session has drawn since; then the rows get those that were drawn.
 *
 * @param ids by table: columns whose whole value is a key
 * @throws {AppError} exit 4 when a sequence gives keys that exist
 */
export async function drawKeys(
  session: Session,
  tables: readonly StagedTable[],
  mapped: readonly MappedClass[],
  ids: ReadonlyMap<string, readonly string[]>,
): Promise<void> {
  const moved: Moved[] = [];
  for (const [index, of] of mapped.entries()) {
    if (of.successor.kind !== "sequence" || of.rows === 0) continue;
    const moves = await draw(session, of, `pgtenant_d${index}`);
    if (moves !== undefined) moved.push({ of, moves });
  }
  if (moved.length === 0) return;
  for (const staged of tables) {
    await moveKeys(session, staged, moved, mapped, ids.get(staged.table.name) ?? []);
  }
}

/** @returns the table of planned and drawn keys, if they are not the same */
async function draw(
  session: Session,
  { map, makers, successor, rows }: MappedClass,
  name: string,
): Promise<RawBuilder<unknown> | undefined> {
  if (successor.kind !== "sequence") return undefined;
  const { sequence } = successor;
  const moves = sql`pg_temp.${sql.id(name)}`;
  const up = sequence.increment > 0n;
  const by = (column: string) => sql`${sql.id(column)} ${sql.raw(up ? "ASC" : "DESC")}`;
  await sql`DROP TABLE IF EXISTS ${moves}`.execute(session.db);
  await sql`CREATE TEMPORARY TABLE ${sql.id(name)} AS
    WITH drawn AS MATERIALIZED (
      SELECT nextval(${regclass(sequence)}) AS value FROM generate_series(1, ${sql.lit(rows)}))
    SELECT old.new AS old, fresh.value AS new
      FROM (SELECT new, row_number() OVER (ORDER BY ${by("new")}) AS n FROM ${map}) AS old
      JOIN (SELECT value, row_number() OVER (ORDER BY ${by("value")}) AS n FROM drawn) AS fresh USING (n)`.execute(
    session.db,
  );
  await sql`ANALYZE ${moves}`.execute(session.db);
  const { rows: others } = await sql<{ found: boolean }>`
    SELECT EXISTS (SELECT FROM ${moves} WHERE old <> new) AS found`.execute(session.db);
  if (others[0]?.found !== true) return undefined;
  await refuseHeld(session, makers, moves, qualifiedName(sequence.schema, sequence.relation));
  await sql`UPDATE ${map} AS k SET new = m.new FROM ${moves} AS m WHERE m.old = k.new`.execute(
    session.db,
  );
  await sql`ALTER TABLE ${moves} ADD PRIMARY KEY (old)`.execute(session.db);
  return moves;
}

async function moveKeys(
  session: Session,
  staged: StagedTable,
  moved: readonly Moved[],
  mapped: readonly MappedClass[],
  ids: readonly string[],
): Promise<void> {
  const assignments = staged.columns.flatMap(({ name, type }) => {
    const found = moved.find(({ of }) => isAmong(of.columns, staged, { name }));
    if (found === undefined) return [];
    const own = sql.id("s", name);
    return sql`${sql.id(name)} = coalesce(
      (SELECT m.new::${sql.raw(type)} FROM ${found.moves} AS m WHERE m.old = ${own}), ${own})`;
  });
  for (const [i, name] of ids.entries()) {
    const type = columnOf(staged.table, name)?.type ?? "text";
    assignments.push(sql`${sql.id(name)} = coalesce(
      (SELECT m.new::${sql.raw(type)} FROM ${allMapped(mapped)} AS m WHERE m.old = ${sql.id("s", formerIdColumn(i))}),
      ${sql.id("s", name)})`);
  }
  if (assignments.length === 0) return;
  // Keys change places with each other, which an index does not allow half-way.
  const { rows } = await sql<{ name: string }>`
    SELECT conname AS name FROM pg_constraint
     WHERE contype = 'p' AND conrelid = ${stageName(session, staged)}::regclass`.execute(
    session.db,
  );
  for (const { name } of rows) {
    await sql`ALTER TABLE ${staged.stage} DROP CONSTRAINT ${sql.id(name)}`.execute(session.db);
  }
  await sql`UPDATE ${staged.stage} AS s SET ${sql.join(assignments)}`.execute(session.db);
  await sql`ALTER TABLE ${staged.stage} ADD PRIMARY KEY (${columnList(staged.key)})`.execute(
    session.db,
  );
  await sql`ANALYZE ${staged.stage}`.execute(session.db);
}

function stageName(session: Session, staged: StagedTable): string {
  return staged.stage.compile(session.db).sql;
}
