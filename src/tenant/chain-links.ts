import { sql } from "kysely";
import { columnOf, type Table } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import type { Session } from "../postgres/session.ts";
import type { ChainColumns } from "../profile/profile.ts";

/** How the rows of a hash-chained table link, each to the one before it. */
export interface ChainLinks {
  readonly held: number;
  readonly broken: number;
  /** Links that do not hold beside a gap in the numbers, where rows were deleted. */
  readonly seams: number;
  /** The numbers of the first rows that do not link to the one before them. */
  readonly firstBroken: readonly string[];
}

/**
 * Between two neighbours by number nothing can be missing; elsewhere rows were deleted, and the
 * link shows where. Rows from before the chain was introduced have no hash, and are passed over.
 *
 * @returns undefined for a table without the columns of a chain
 */
export async function chainLinks(
  session: Session,
  table: Table,
  chain: ChainColumns,
): Promise<ChainLinks | undefined> {
  const order = columnOf(table, chain.order);
  if (order === undefined || columnOf(table, chain.own) === undefined) return undefined;
  const integers = ["smallint", "integer", "bigint"].includes(order.plainType);
  const adjacent = integers ? sql`number = last_number + 1` : sql`FALSE`;
  const { rows } = await sql<{ links: string; broken: string; seams: string; first: string[] }>`
    SELECT count(*) FILTER (WHERE holds) AS links,
           count(*) FILTER (WHERE NOT holds AND ${adjacent}) AS broken,
           count(*) FILTER (WHERE NOT holds AND NOT ${adjacent}) AS seams,
           coalesce((array_agg(number::text ORDER BY number)
                       FILTER (WHERE NOT holds AND ${adjacent}))[1:20], '{}') AS first
      FROM (SELECT ${sql.id("l", chain.order)} AS number,
                   lag(${sql.id("l", chain.order)}) OVER w AS last_number,
                   ${sql.id("l", chain.previous)}::text = lag(${sql.id("l", chain.own)}::text) OVER w AS holds,
                   lag(${sql.id("l", chain.own)}::text) OVER w AS last_own,
                   ${sql.id("l", chain.own)}::text AS own
              FROM ${relation(table)} AS l
            WINDOW w AS (ORDER BY ${sql.id("l", chain.order)})) AS linked
     WHERE own <> '' AND last_own <> ''`.execute(session.db);
  const [row] = rows;
  return {
    held: Number(row?.links ?? 0),
    broken: Number(row?.broken ?? 0),
    seams: Number(row?.seams ?? 0),
    firstBroken: row?.first ?? [],
  };
}

export function chainText({ name }: Table, { held, broken, seams }: ChainLinks): string {
  const atGaps = seams === 0 ? "" : `; ${seams} stand beside a gap, where rows were deleted`;
  const told = `${held} link(s) of the chain in ${name} hold`;
  return broken === 0
    ? `${told}${atGaps}`
    : `${broken} row(s) of ${name} do not link to the row before them; ${told}${atGaps}`;
}
