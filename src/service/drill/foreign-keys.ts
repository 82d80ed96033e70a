import { sql } from "kysely";
import { qualifiedName } from "../../postgres/identifiers.ts";
import type { Session } from "../../postgres/session.ts";
import { type Finding, notWhole } from "./drill-checks.ts";

interface ForeignKeyRow {
  schema: string;
  relation: string;
  name: string;
  to_schema: string;
  to_relation: string;
  columns: readonly string[];
  to_columns: readonly string[];
  /** The operators that compare the referenced columns with ours, each as schema and name. */
  operator_schemas: readonly string[];
  operators: readonly string[];
  /** NOT VALID: nobody has promised that old rows hold. */
  validated: boolean;
  /** Of PostgreSQL 18: the last column is a period that must be covered. */
  temporal: boolean;
}

/**
 * Looks every foreign key of a database up, row by row, as it is to hold: a restored database has
 * been told by pg_restore that they do, and here it is seen.
 *
 * @throws {AppError} exit 3, naming each that rows break
 */
export async function checkForeignKeys(session: Session): Promise<Finding> {
  const { rows: keys } = await sql<ForeignKeyRow>`
    SELECT n.nspname::text AS schema, c.relname::text AS relation, k.conname::text AS name,
           tn.nspname::text AS to_schema, t.relname::text AS to_relation,
           ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (number, at)
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number
                  ORDER BY u.at) AS columns,
           ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (number, at)
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number
                  ORDER BY u.at) AS to_columns,
           ARRAY(SELECT s.nspname::text FROM unnest(k.conpfeqop) WITH ORDINALITY AS u (oid, at)
                   JOIN pg_catalog.pg_operator o ON o.oid = u.oid
                   JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace
                  ORDER BY u.at) AS operator_schemas,
           ARRAY(SELECT o.oprname::text FROM unnest(k.conpfeqop) WITH ORDINALITY AS u (oid, at)
                   JOIN pg_catalog.pg_operator o ON o.oid = u.oid ORDER BY u.at) AS operators,
           k.convalidated AS validated,
           coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false) AS temporal
      FROM pg_catalog.pg_constraint k
      JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_class t ON t.oid = k.confrelid
      JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
     WHERE k.contype = 'f' /*foreign key*/ AND k.conparentid = 0 /*not a partition's copy*/
     ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", k.conname COLLATE "C"`.execute(
    session.db,
  );
  const broken: string[] = [];
  const notes: string[] = [];
  let checked = 0;
  for (const key of keys) {
    const name = `${qualifiedName(key.schema, key.relation)} (${key.columns.join(", ")})`;
    if (key.temporal) {
      notes.push(`${name}: a key over a period, which only the server itself has checked`);
      continue;
    }
    checked += 1;
    const count = await hangingRows(session, key);
    if (count === 0) continue;
    const to = `${qualifiedName(key.to_schema, key.to_relation)} (${key.to_columns.join(", ")})`;
    const told = `${name}: ${count} row(s) refer to nothing in ${to} (${key.name})`;
    if (key.validated) broken.push(told);
    else notes.push(`${told}; the key is NOT VALID, so that old rows may`);
  }
  if (broken.length > 0) {
    const { length } = broken;
    throw notWhole(
      "broken-references",
      `${length} foreign key${length === 1 ? " does" : "s do"} not hold: ${broken[0]}`,
      {
        hint: "Look whether the live database has such rows too; if not, take an older backup.",
        details: [...broken, ...notes],
      },
    );
  }
  const one = checked === 1;
  return {
    message: one ? "1 foreign key holds" : `${checked} foreign keys hold`,
    details: notes,
  };
}

async function hangingRows(session: Session, key: ForeignKeyRow): Promise<number> {
  const child = sql.id(key.schema, key.relation);
  const parent = sql.id(key.to_schema, key.to_relation);
  const present = key.columns.map((column) => sql`c.${sql.id(column)} IS NOT NULL`);
  const equal = key.columns.map((column, i) => {
    const operator = sql`OPERATOR(${sql.id(key.operator_schemas[i] ?? "pg_catalog")}.${sql.raw(operatorName(key.operators[i]))})`;
    return sql`p.${sql.id(key.to_columns[i] ?? "")} ${operator} c.${sql.id(column)}`;
  });
  const and = sql` AND `;
  const { rows } = await sql<{ count: string }>`
    SELECT count(*) AS count FROM ${child} AS c
     WHERE ${sql.join(present, and)}
       AND NOT EXISTS (SELECT FROM ${parent} AS p WHERE ${sql.join(equal, and)})`.execute(
    session.db,
  );
  return Number(rows[0]?.count ?? 0);
}

/** No identifier, and so not to be quoted; PostgreSQL makes operators of these characters only. */
function operatorName(name: string | undefined): string {
  if (name === undefined || !/^[-+*/<>=~!@#%^&|`?]+$/.test(name)) {
    throw new Error(`"${name}" is no operator`);
  }
  return name;
}
