import { type RawBuilder, sql } from "kysely";
import type { Column, Table } from "../../catalog/catalog.ts";
import { relation } from "../../catalog/ownership.ts";
import { AppError, ExitCode } from "../../errors.ts";
import { qualifiedName } from "../../postgres/identifiers.ts";
import type { Session } from "../../postgres/session.ts";
import type { OpenSchema } from "../open-schema.ts";
import { lastDrawn } from "../sequences.ts";
import type { KeyClass, KeyColumn, Successor } from "./key-classes.ts";
import { createIdFunctions, uuidMap } from "./new-ids.ts";

/** A class of columns with the temporary table that tells old values from new ones. */
export interface MappedClass extends KeyClass {
  readonly successor: Exclude<Successor, { readonly kind: "uuid" }>;
  readonly map: RawBuilder<unknown>;
  readonly rows: number;
}

/** What a class got: for the plan's notes. */
export interface Renewed {
  readonly of: KeyClass;
  readonly rows: number;
}

export interface KeyMaps {
  readonly mapped: readonly MappedClass[];
  readonly renewed: readonly Renewed[];
}

/** Where rows lie whose keys get successors: staged, or left out. */
export type RowSources = (table: Table) => readonly RawBuilder<unknown>[];

/**
 * Gives every key of the staged rows its successor. No sequence is drawn from: until the plan is
 * applied those keys are the ones that the sequences would give now.
 *
 * @throws {AppError} exit 4 when numbers run out, or a sequence is behind its table's rows
 */
export async function createKeyMaps(
  session: Session,
  schema: OpenSchema,
  classes: readonly KeyClass[],
  sources: RowSources,
  slug: string,
): Promise<KeyMaps> {
  await sql`DROP TABLE IF EXISTS ${uuidMap}`.execute(session.db);
  await sql`CREATE TEMPORARY TABLE pgtenant_uuids (old uuid PRIMARY KEY, new uuid NOT NULL)`.execute(
    session.db,
  );
  const mapped: MappedClass[] = [];
  const renewed: Renewed[] = [];
  const drawn = new Map<string, bigint>();
  for (const [index, each] of classes.entries()) {
    const old = oldValues(each.makers, sources);
    if (each.successor.kind === "uuid") {
      const { numAffectedRows } = await sql`
        INSERT INTO ${uuidMap} SELECT old, gen_random_uuid() FROM (${old}) AS o
        ON CONFLICT DO NOTHING`.execute(session.db);
      renewed.push({ of: each, rows: Number(numAffectedRows ?? 0n) });
      continue;
    }
    const { successor } = each;
    const map = await createMap(session, each, old, `pgtenant_k${index}`);
    const made: MappedClass = { ...each, ...map, successor };
    await setNewValues(session, schema, made, slug, drawn);
    await sql`ANALYZE ${made.map}`.execute(session.db);
    mapped.push(made);
    renewed.push({ of: each, rows: made.rows });
  }
  await sql`ANALYZE ${uuidMap}`.execute(session.db);
  await createIdFunctions(session);
  return { mapped, renewed };
}

function oldValues(makers: readonly KeyColumn[], sources: RowSources): RawBuilder<unknown> {
  const each = makers.flatMap(({ table, column }) =>
    sources(table).map(
      (source) =>
        sql`SELECT ${sql.id(column.name)} AS old FROM ${source} WHERE ${sql.id(column.name)} IS NOT NULL`,
    ),
  );
  return sql.join(each, sql` UNION `);
}

async function createMap(
  session: Session,
  { makers }: KeyClass,
  old: RawBuilder<unknown>,
  name: string,
): Promise<Pick<MappedClass, "map" | "rows">> {
  const map = sql`pg_temp.${sql.id(name)}`;
  const type = sql.raw(makers[0]?.column.plainType ?? "text");
  await sql`DROP TABLE IF EXISTS ${map}`.execute(session.db);
  await sql`CREATE TEMPORARY TABLE ${sql.id(name)} (old ${type} PRIMARY KEY, new ${type})`.execute(
    session.db,
  );
  const { numAffectedRows } = await sql`INSERT INTO ${map} (old) ${old}`.execute(session.db);
  return { map, rows: Number(numAffectedRows ?? 0n) };
}

async function setNewValues(
  session: Session,
  schema: OpenSchema,
  { map, makers, successor, rows }: MappedClass,
  slug: string,
  drawn: Map<string, bigint>,
): Promise<void> {
  if (rows === 0) return;
  const type = sql.raw(makers[0]?.column.plainType ?? "text");
  switch (successor.kind) {
    case "slug":
      await sql`UPDATE ${map} SET new = ${sql.lit(slug)}::${type}`.execute(session.db);
      return;
    case "text": {
      const [maker] = makers;
      if (maker === undefined) return;
      await sql`UPDATE ${map} SET new = ${fitsNothing(maker.column)}`.execute(session.db);
      return;
    }
    case "sequence": {
      const { sequence } = successor;
      const name = qualifiedName(sequence.schema, sequence.relation);
      const last = drawn.get(name) ?? (await lastDrawn(session, sequence));
      const furthest = last + sequence.increment * BigInt(rows);
      const beyond =
        sequence.increment > 0n ? furthest > sequence.limit : furthest < sequence.limit;
      if (beyond) throw exhausted(`sequence "${name}" has not ${rows} values left`);
      drawn.set(name, furthest);
      await sql`
        UPDATE ${map} AS k SET new = n.new FROM (
          SELECT old, ${sql.lit(String(last))}::bigint + ${sql.lit(String(sequence.increment))}::bigint
                      * row_number() OVER (ORDER BY old) AS new
            FROM ${map}) AS n
         WHERE n.old = k.old`.execute(session.db);
      await refuseHeld(session, makers, map, name);
      return;
    }
    default:
      await renumber(session, schema, { map, makers, successor, rows });
  }
}

/** A text that no one else has, and that is no hash or token of anything. */
export function fitsNothing({ type }: Column): RawBuilder<unknown> {
  const length = Number(/^character(?: varying)?\((\d+)\)$/.exec(type)?.[1] ?? Infinity);
  // What is too short for the words still holds chance.
  return length > 50
    ? sql`('pgtenant-clone-' || gen_random_uuid())::${sql.raw(type)}`
    : sql`left(replace(gen_random_uuid()::text, '-', ''), ${sql.lit(length)})::${sql.raw(type)}`;
}

/**
 * A sequence that is behind its table gives keys that rows have already.
 *
 * @throws {AppError} exit 4
 */
export async function refuseHeld(
  session: Session,
  makers: readonly KeyColumn[],
  map: RawBuilder<unknown>,
  sequence: string,
): Promise<void> {
  for (const { table, column } of makers) {
    const { rows } = await sql<{ held: boolean }>`
      WITH k AS MATERIALIZED (SELECT min(new) AS least, max(new) AS most FROM ${map})
      SELECT EXISTS (
        SELECT FROM ${relation(table)} AS l
         -- As scalars, or the planner may look at all of k for each row.
         WHERE ${sql.id("l", column.name)} BETWEEN (SELECT least FROM k) AND (SELECT most FROM k)) AS held`.execute(
      session.db,
    );
    if (rows[0]?.held !== true) continue;
    throw new AppError(
      "sequence-behind",
      ExitCode.refused,
      `sequence "${sequence}" is behind the rows of "${table.name}": it would give keys that exist; nothing was written`,
      { hint: "Move it on first: ALTER SEQUENCE … RESTART WITH a number above the highest key." },
    );
  }
}

/** Numbers behind the highest that is in use come first, and then the gaps, the lowest first. */
async function renumber(
  session: Session,
  schema: OpenSchema,
  {
    map,
    makers,
    successor,
    rows,
  }: Pick<MappedClass, "map" | "makers" | "rows"> & {
    readonly successor: Extract<Successor, { readonly kind: "renumber" }>;
  },
): Promise<void> {
  const { range, of } = successor;
  const [min, max] = [sql.lit(String(range.min)), sql.lit(String(range.max))];
  const used = makers.map(
    ({ table, column }) => sql`
      SELECT ${sql.id("l", column.name)}::bigint AS number
        FROM ${relation(schema.catalog.tables.get(table.name) ?? table)} AS l
       WHERE ${sql.id("l", column.name)} BETWEEN ${min} AND ${max}`,
  );
  const { numAffectedRows } = await sql`
    WITH used AS MATERIALIZED (${sql.join(used, sql` UNION `)}),
    top AS (
      SELECT coalesce(max(number), ${min}::bigint - 1) AS highest, count(*) AS count FROM used),
    free AS (
      SELECT number, FALSE AS gap
        FROM top, generate_series(highest + 1, least(highest + ${rows}::bigint, ${max}::bigint)) AS number
       UNION ALL
      (SELECT number, TRUE
         FROM top, generate_series(${min}::bigint, least(highest, ${min}::bigint + count + ${rows}::bigint)) AS number
       EXCEPT SELECT number, TRUE FROM used)),
    fresh AS (SELECT number, row_number() OVER (ORDER BY gap, number) AS n FROM free),
    old AS (SELECT old, row_number() OVER (ORDER BY old) AS n FROM ${map})
    UPDATE ${map} AS k SET new = fresh.number FROM old JOIN fresh USING (n) WHERE old.old = k.old`.execute(
    session.db,
  );
  if (Number(numAffectedRows ?? 0n) === rows) return;
  throw exhausted(
    `"${of.table.name}.${of.column.name}" has not ${rows} numbers left between ${range.min} and ${range.max}`,
  );
}

function exhausted(what: string): AppError {
  return new AppError("numbers-exhausted", ExitCode.refused, `${what}; nothing was written`, {
    hint: 'Widen its range: under "clone" in the profile for numbers that are given anew, by ALTER SEQUENCE for a sequence.',
  });
}
