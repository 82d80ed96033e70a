import { sql } from "kysely";
import type { Session } from "../postgres/session.ts";
import type { CheckConstraint, Trigger } from "./catalog.ts";
import type { TypeRow } from "./value-encoding.ts";

// The queries of `readCatalog`, each beside the shape of its rows.

export interface TableRow {
  oid: number;
  schema: string;
  relation: string;
  /** 'r' ordinary table, 'p' partitioned table, 'f' foreign table */
  kind: string;
  of_extension: boolean;
  row_security: boolean;
  estimated_rows: string;
  /** OIDs as text, since they may be beyond int4. */
  storage: string[] | null;
}

export async function readTables(session: Session): Promise<TableRow[]> {
  const { rows } = await sql<TableRow>`
    SELECT c.oid, n.nspname AS schema, c.relname AS relation, c.relkind AS kind,
           c.relrowsecurity AS row_security,
           EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.deptype = 'e' /*member of an extension*/) AS of_extension,
           storage.rows::bigint AS estimated_rows,
           storage.oids::text[] AS storage
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
     CROSS JOIN LATERAL (
           SELECT sum(greatest(leaf.reltuples, 0)) AS rows, array_agg(leaf.oid) AS oids
             FROM pg_class leaf
            WHERE leaf.oid = c.oid AND c.relkind <> 'p'
               OR c.relkind = 'p' AND leaf.relkind <> 'p'
                  AND leaf.oid IN (SELECT relid FROM pg_partition_tree(c.oid))) storage
     WHERE c.relkind IN ('r', 'p', 'f')
       AND NOT c.relispartition
       AND c.relpersistence <> 't' /*temporary*/
       AND n.nspname NOT IN ('pg_catalog', 'information_schema')
       AND n.nspname NOT LIKE 'pg\\_toast%'
     ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`.execute(session.db);
  return rows;
}

export async function readTypes(session: Session): Promise<Map<number, TypeRow>> {
  const { rows } = await sql<TypeRow>`
    SELECT t.oid, n.nspname AS schema, t.typname AS name, t.typtype AS kind,
           t.typbasetype AS "baseType"
      FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace`.execute(session.db);
  return new Map(rows.map((row) => [row.oid, row]));
}

export async function readEnumLabels(session: Session): Promise<Map<number, readonly string[]>> {
  const { rows } = await sql<{ oid: number; labels: string[] }>`
    SELECT enumtypid AS oid, array_agg(enumlabel::text ORDER BY enumsortorder) AS labels
      FROM pg_enum GROUP BY enumtypid`.execute(session.db);
  return new Map(rows.map((row) => [row.oid, row.labels]));
}

export interface ColumnRow {
  table_oid: number;
  name: string;
  type_oid: number;
  type: string;
  plain_type: string;
  not_null: boolean;
  collatable: boolean;
  /** '' none, 'a' always, 'd' by default */
  identity: string;
  /** '' none, 's' stored, 'v' virtual */
  generated: string;
  default_expression: string | null;
}

export async function readColumns(session: Session, oids: readonly number[]): Promise<ColumnRow[]> {
  const { rows } = await sql<ColumnRow>`
    SELECT a.attrelid AS table_oid, a.attname AS name, a.atttypid AS type_oid,
           format_type(a.atttypid, a.atttypmod) AS type,
           format_type(a.atttypid, -1) AS plain_type,
           a.attnotnull AS not_null, a.attcollation <> 0 AS collatable, a.attidentity AS identity, a.attgenerated AS generated,
           pg_get_expr(d.adbin, d.adrelid) AS default_expression
      FROM pg_attribute a
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid = ANY (${oids}::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attrelid, a.attnum`.execute(session.db);
  return rows;
}

export interface UniqueIndexRow {
  table_oid: number;
  name: string;
  is_primary: boolean;
  is_deferrable: boolean;
  nulls_not_distinct: boolean;
  has_expressions: boolean;
  expressions: string[];
  columns: string[];
  depends_on: string[];
  predicate: string | null;
}

export async function readUniqueIndexes(
  session: Session,
  oids: readonly number[],
): Promise<UniqueIndexRow[]> {
  // pg_index.indnullsnotdistinct came with PostgreSQL 15.
  const nullsNotDistinct =
    session.serverVersionNumber >= 150000 ? sql`i.indnullsnotdistinct` : sql`false`;
  const { rows } = await sql<UniqueIndexRow>`
    SELECT i.indrelid AS table_oid, c.relname AS name, i.indisprimary AS is_primary,
           NOT i.indimmediate AS is_deferrable, ${nullsNotDistinct} AS nulls_not_distinct,
           i.indexprs IS NOT NULL AS has_expressions,
           ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true)
                   FROM generate_series(1, i.indnkeyatts) k ORDER BY k) AS expressions,
           ARRAY(SELECT a.attname::text
                   FROM unnest(i.indkey::int2[]) WITH ORDINALITY u (attnum, k)
                   JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum
                  WHERE u.k <= i.indnkeyatts ORDER BY u.k) AS columns,
           ARRAY(SELECT DISTINCT a.attname::text
                   FROM pg_attribute a
                  WHERE a.attrelid = i.indrelid AND a.attnum > 0
                    AND (a.attnum = ANY (i.indkey::int2[])
                         OR EXISTS (SELECT FROM pg_depend d
                                     WHERE d.classid = 'pg_class'::regclass
                                       AND d.objid = i.indexrelid
                                       AND d.refclassid = 'pg_class'::regclass
                                       AND d.refobjid = i.indrelid
                                       AND d.refobjsubid = a.attnum))) AS depends_on,
           pg_get_expr(i.indpred, i.indrelid) AS predicate
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     WHERE i.indisunique AND i.indislive AND i.indrelid = ANY (${oids}::oid[])
     ORDER BY i.indrelid, NOT i.indisprimary, c.relname COLLATE "C"`.execute(session.db);
  return rows;
}

export interface ForeignKeyRow {
  table_oid: number;
  name: string;
  columns: string[];
  to_oid: number;
  to_columns: string[];
  /** 'a' no action, 'r' restrict, 'c' cascade, 'n' set null, 'd' set default */
  on_delete: string;
  cleared_columns: string[] | null;
  is_deferrable: boolean;
}

export async function readForeignKeys(
  session: Session,
  oids: readonly number[],
): Promise<ForeignKeyRow[]> {
  // pg_constraint.confdelsetcols came with PostgreSQL 15.
  const clearedColumns =
    session.serverVersionNumber >= 150000 ? sql`c.confdelsetcols` : sql`NULL::int2[]`;
  const names = (relation: string, keys: ReturnType<typeof sql>) => sql`
    ARRAY(SELECT a.attname::text FROM unnest(${keys}) WITH ORDINALITY u (attnum, k)
            JOIN pg_attribute a ON a.attrelid = ${sql.ref(relation)} AND a.attnum = u.attnum
           ORDER BY u.k)`;
  const { rows } = await sql<ForeignKeyRow>`
    SELECT c.conrelid AS table_oid, c.conname AS name,
           ${names("c.conrelid", sql`c.conkey`)} AS columns,
           -- A key that points to one partition points to a row of the whole table.
           coalesce(pg_partition_root(c.confrelid)::oid, c.confrelid) AS to_oid,
           ${names("c.confrelid", sql`c.confkey`)} AS to_columns,
           c.confdeltype AS on_delete,
           CASE WHEN ${clearedColumns} IS NOT NULL
                THEN ${names("c.conrelid", clearedColumns)} END AS cleared_columns,
           c.condeferrable AS is_deferrable
      FROM pg_constraint c
     WHERE c.contype = 'f' AND c.conparentid = 0 AND c.conrelid = ANY (${oids}::oid[])
     ORDER BY c.conrelid, c.conname COLLATE "C"`.execute(session.db);
  return rows;
}

export async function readChecks(
  session: Session,
  oids: readonly number[],
): Promise<({ table_oid: number } & CheckConstraint)[]> {
  const { rows } = await sql<{ table_oid: number } & CheckConstraint>`
    SELECT conrelid AS table_oid, conname AS name, pg_get_expr(conbin, conrelid) AS expression,
           ARRAY(SELECT a.attname::text FROM pg_attribute a
                  WHERE a.attrelid = conrelid AND a.attnum = ANY (conkey)) AS columns
      FROM pg_constraint
     WHERE contype = 'c' AND convalidated AND conrelid = ANY (${oids}::oid[])
     ORDER BY conrelid, conname COLLATE "C"`.execute(session.db);
  return rows;
}

export async function readTriggers(
  session: Session,
  oids: readonly number[],
): Promise<({ table_oid: number } & Trigger)[]> {
  // tgtype is a bit set: 4 insert, 8 delete, 16 update, 32 truncate.
  const { rows } = await sql<{ table_oid: number } & Trigger>`
    SELECT tgrelid AS table_oid, tgname AS name, tgenabled = 'A' AS always,
           tgtype & 4 <> 0 AS "onInsert",
           tgtype & 16 <> 0 AS "onUpdate", tgtype & 8 <> 0 AS "onDelete"
      FROM pg_trigger
     WHERE NOT tgisinternal AND tgenabled IN ('O' /*origin*/, 'A' /*always*/)
       AND tgrelid = ANY (${oids}::oid[])
     ORDER BY tgrelid, tgname COLLATE "C"`.execute(session.db);
  return rows;
}

export interface SequenceRow {
  table_oid: number;
  column: string;
  schema: string;
  relation: string;
  increment: string;
  limit: string;
}

export async function readSequences(
  session: Session,
  oids: readonly number[],
): Promise<SequenceRow[]> {
  // A column draws from a sequence through its default, or as an identity column.
  const { rows } = await sql<SequenceRow>`
    SELECT DISTINCT a.attrelid AS table_oid, a.attnum, a.attname AS column, n.nspname AS schema,
           s.relname AS relation, q.seqincrement AS increment,
           CASE WHEN q.seqincrement > 0 THEN q.seqmax ELSE q.seqmin END AS limit
      FROM pg_attribute a
      LEFT JOIN pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
      JOIN pg_depend d
        ON d.classid = 'pg_attrdef'::regclass AND d.objid = ad.oid
           AND d.refclassid = 'pg_class'::regclass
        OR d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
           AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype = 'i'
      JOIN pg_class s
        ON s.relkind = 'S'
       AND s.oid = CASE WHEN d.classid = 'pg_attrdef'::regclass THEN d.refobjid ELSE d.objid END
      JOIN pg_namespace n ON n.oid = s.relnamespace
      JOIN pg_sequence q ON q.seqrelid = s.oid
     WHERE a.attrelid = ANY (${oids}::oid[]) AND a.attnum > 0
     ORDER BY a.attrelid, a.attnum`.execute(session.db);
  return rows;
}
