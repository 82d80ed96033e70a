import { type RawBuilder, sql } from "kysely";
import { hasOwner, ownedBy, relation } from "../catalog/ownership.ts";
import { columnList, columnsEqual, conjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import type { TableDiff } from "./diff-types.ts";
import { onlyCleared, recordsDiffer } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import type { SelectedPart } from "./selection/import-part.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/**
 * What a staged row is when it is not equal to its live one. `foreign` and `orphan`: the target
 * has a row with its key that is another tenant's, or nobody's.
 */
export type Deviation = "bundle" | "different" | "foreign" | "orphan";

/** In the table `match`: which deviation a row is. */
export const deviationColumn = "pgtenant$deviation";

/**
 * Fills the table `match` with the keys of the staged rows that are not equal to a live one. Equal
 * ones are told by their number alone, so that an equal tenant costs one join and no row.
 */
export async function findDeviations(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  staged: StagedTable,
): Promise<void> {
  const { catalog, root, ownership } = schema;
  const { table, key, stage, match } = staged;
  const [first = ""] = key;
  const names = staged.columns.map((column) => column.name);
  const owned = ownedBy(catalog, root, ownership, table, "l", bundle.tenant.id);
  const is = (deviation: Deviation) => sql.lit(deviation);
  // As an import sees it: a row of nobody's whose owner was deleted can be linked again.
  const deviation = sql`CASE
      WHEN ${sql.id("l", first)} IS NULL THEN ${is("bundle")}
      WHEN NOT ${owned} AND ${hasOwner(ownership, table, "l")} THEN ${is("foreign")}
      WHEN NOT ${recordsDiffer("l", "s", names)} THEN NULL
      WHEN NOT ${owned} AND NOT ${onlyCleared(schema, staged)} THEN ${is("orphan")}
      ELSE ${is("different")} END`;
  await sql`CREATE TEMPORARY TABLE ${match} AS
    SELECT * FROM (
      SELECT ${columnList(key, "s")}, ${deviation} AS ${sql.id(deviationColumn)}
        FROM ${stage} AS s LEFT JOIN ${relation(table)} AS l ON ${columnsEqual("l", key, "s")}
      ) AS d WHERE ${sql.id("d", deviationColumn)} IS NOT NULL`.execute(session.db);
  await sql`ANALYZE ${match}`.execute(session.db);
}

/**
 * Fills the table `extra` with the keys of the tenant's live rows that the bundle lacks, of those
 * `within` the part that is compared.
 */
export async function findLiveRows(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  staged: StagedTable,
  within: SelectedPart["within"],
): Promise<void> {
  const { catalog, root, ownership } = schema;
  const { table, key, stage, extra } = staged;
  const condition = conjunction([
    ownedBy(catalog, root, ownership, table, "l", bundle.tenant.id),
    sql`NOT EXISTS (SELECT FROM ${stage} AS s WHERE ${columnsEqual("s", key, "l")})`,
    ...(within === undefined ? [] : [within(table, "l")]),
  ]);
  await sql`CREATE TEMPORARY TABLE ${extra} AS
    SELECT ${columnList(key, "l")} FROM ${relation(table)} AS l WHERE ${condition}`.execute(
    session.db,
  );
  await sql`ANALYZE ${extra}`.execute(session.db);
}

export async function countDeviations(session: Session, staged: StagedTable): Promise<TableDiff> {
  const { rows } = await sql<{ deviation: Deviation | "live"; count: string }>`
    SELECT ${sql.id(deviationColumn)} AS deviation, count(*) AS count FROM ${staged.match} GROUP BY 1
     UNION ALL SELECT 'live', count(*) FROM ${staged.extra}`.execute(session.db);
  const of = (...deviations: (typeof rows)[number]["deviation"][]) =>
    rows
      .filter((row) => deviations.includes(row.deviation))
      .reduce((sum, row) => sum + Number(row.count), 0);
  return {
    table: staged.table.name,
    onlyInBundle: of("bundle"),
    onlyLive: of("live"),
    different: of("different"),
    boundary: of("foreign", "orphan"),
    equal: staged.rows - of("bundle", "different", "foreign", "orphan"),
  };
}

/** The tenant's rows in a table that the bundle does not have. */
export async function countLiveRows(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  table: StagedTable["table"],
): Promise<number> {
  const { catalog, root, ownership } = schema;
  const owned: RawBuilder<boolean> = ownedBy(
    catalog,
    root,
    ownership,
    table,
    "l",
    bundle.tenant.id,
  );
  const { rows } = await sql<{ count: string }>`
    SELECT count(*) AS count FROM ${relation(table)} AS l WHERE ${owned}`.execute(session.db);
  return Number(rows[0]?.count ?? 0);
}
