import { type RawBuilder, sql } from "kysely";
import { columnOf, type Table } from "../../catalog/catalog.ts";
import type { Session } from "../../postgres/session.ts";
import { refuseStandby } from "../../postgres/standby.ts";
import { keyOf, type TenantSchema } from "../../profile/classify.ts";

/**
 * Why a row's key stands in its table of keys: an item excludes or selects it, it hangs on a
 * selected row, or a chosen row needs it.
 */
export type Why = "excluded" | "selected" | "belongs" | "needed";

/** Columns of a table of keys beside the key itself. */
export const why = "pgtenant$why";
/** The number of the selected row or item that it came along with. */
export const origin = "pgtenant$origin";
/** The row that needs it, in words. */
export const because = "pgtenant$because";

/** Temporary tables with the keys of chosen rows, one for each table of the tenant. */
export interface KeyTables {
  readonly of: (table: string) => RawBuilder<unknown>;
}

/**
 * Makes them anew, empty. They belong to the session; `prefix` keeps several sets apart.
 *
 * @param only the tables to make them for; all of the tenant's by default
 * @throws {AppError} exit 7 on a standby, which has no temporary tables
 */
export async function createKeyTables(
  session: Session,
  schema: TenantSchema,
  prefix: string,
  only?: ReadonlySet<string>,
): Promise<KeyTables> {
  await refuseStandby(
    session,
    "Connect to the primary; or export the whole tenant here, and choose the part when it is imported.",
  );
  const indexes = new Map(schema.tables.map(({ name }, index) => [name, index]));
  const of = (table: string) =>
    sql`pg_temp.${sql.id(`pgtenant_${prefix}${indexes.get(table) ?? "none"}`)}`;
  for (const table of schema.tables) {
    if (only !== undefined && !only.has(table.name)) continue;
    await sql`DROP TABLE IF EXISTS ${of(table.name)}`.execute(session.db);
    await sql`CREATE TEMPORARY TABLE ${of(table.name)} (
      ${sql.join(keyColumns(table))},
      ${sql.id(why)} text NOT NULL, ${sql.id(origin)} integer, ${sql.id(because)} text,
      PRIMARY KEY (${sql.join(keyOf(table).map((name) => sql.id(name)))}))`.execute(session.db);
  }
  return { of };
}

/** Empties them; also where the transaction is READ ONLY. */
export async function clearKeyTables(
  session: Session,
  schema: TenantSchema,
  keys: KeyTables,
): Promise<void> {
  for (const { name } of schema.tables) {
    await sql`DELETE FROM ${keys.of(name)}`.execute(session.db);
  }
}

function keyColumns(table: Table): readonly RawBuilder<unknown>[] {
  return keyOf(table).map(
    (name) => sql`${sql.id(name)} ${sql.raw(columnOf(table, name)?.type ?? "text")}`,
  );
}
