import { sql } from "kysely";
import { qualifiedName } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import type { TableRows } from "./manifest.ts";

/** So many tables are counted by one statement. */
const batch = 50;

interface TableRow {
  schema: string;
  name: string;
  /** Its rows are in nobody's reach, and pg_dump leaves them out. */
  empty: boolean;
}

/**
 * Counts the rows of every table that pg_dump writes, exactly, in the session's transaction. Tables
 * of extensions are theirs to fill. Unlogged ones are empty on a standby.
 */
export async function countTableRows(session: Session): Promise<readonly TableRows[]> {
  const { rows: tables } = await sql<TableRow>`
    SELECT n.nspname::text AS schema, c.relname::text AS name,
           c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery() AS empty
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' /*ordinary table, partitions included*/
       AND c.relpersistence <> 't' /*temporary*/
       AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
       AND NOT EXISTS (
         SELECT FROM pg_catalog.pg_depend e
          WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = c.oid
            AND e.deptype = 'e' /*member of an extension*/)
     ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`.execute(session.db);
  const counted: TableRows[] = [];
  for (let first = 0; first < tables.length; first += batch) {
    const some = tables.slice(first, first + batch);
    const counts = some.map(({ schema, name, empty }) =>
      empty ? sql`0` : sql`(SELECT count(*) FROM ONLY ${sql.id(schema, name)})`,
    );
    const { rows } = await sql<{ counts: readonly string[] }>`
      SELECT ARRAY[${sql.join(counts)}]::text[] AS counts`.execute(session.db);
    for (const [i, { schema, name }] of some.entries()) {
      counted.push({ table: qualifiedName(schema, name), rows: Number(rows[0]?.counts[i]) });
    }
  }
  return counted;
}

export interface RowDifference {
  readonly table: string;
  /** Null where the table is not there. */
  readonly expected: number | null;
  readonly found: number | null;
}

/** Where two counts differ, tables that only one of them has included. */
export function rowDifferences(
  expected: readonly TableRows[],
  found: readonly TableRows[],
): readonly RowDifference[] {
  const before = new Map(expected.map((one) => [one.table, one.rows]));
  const after = new Map(found.map((one) => [one.table, one.rows]));
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((table) => {
    const [was = null, is = null] = [before.get(table), after.get(table)];
    return was === is ? [] : [{ table, expected: was, found: is }];
  });
}
