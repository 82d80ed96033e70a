import { createHash } from "node:crypto";
import { sql } from "kysely";
import { qualifiedName } from "../postgres/identifiers.ts";
import { type Session, withTransaction } from "../postgres/session.ts";

export interface TableDigest {
  readonly table: string;
  readonly rows: number;
  /** Of the rows' texts, whatever their order. */
  readonly md5: string;
}

export interface SequenceState {
  readonly sequence: string;
  readonly lastValue: string;
  readonly isCalled: boolean;
}

export interface DatabaseDigest {
  readonly tables: readonly TableDigest[];
  readonly sequences: readonly SequenceState[];
  /** One hash over all of the above: equal digests mean equal rows and sequences. */
  readonly digest: string;
}

/** Digests every row of every table and the state of every sequence, in one snapshot. */
export async function digestDatabase(session: Session): Promise<DatabaseDigest> {
  return await withTransaction(session, "REPEATABLE READ READ ONLY", async () => {
    await session.client.query("SET LOCAL search_path = pg_catalog");
    const tables: TableDigest[] = [];
    const sequences: SequenceState[] = [];
    for (const { schema, relation, kind } of await listRelations(session)) {
      const name = qualifiedName(schema, relation);
      if (kind === "S") {
        sequences.push({ sequence: name, ...(await readSequence(session, schema, relation)) });
      } else tables.push({ table: name, ...(await digestTable(session, schema, relation)) });
    }
    const digest = createHash("sha256").update(JSON.stringify({ tables, sequences })).digest("hex");
    return Object.freeze({ tables, sequences, digest });
  });
}

/** The names of the tables and sequences in which two databases differ. */
export function differences(a: DatabaseDigest, b: DatabaseDigest): readonly string[] {
  const states = (digest: DatabaseDigest) =>
    new Map<string, string>([
      ...digest.tables.map((t) => [t.table, `${t.rows} ${t.md5}`] as const),
      ...digest.sequences.map((s) => [s.sequence, `${s.lastValue} ${s.isCalled}`] as const),
    ]);
  const left = states(a);
  const right = states(b);
  return [...new Set([...left.keys(), ...right.keys()])].filter(
    (name) => left.get(name) !== right.get(name),
  );
}

interface RelationRow {
  schema: string;
  relation: string;
  /** 'r' ordinary table, 'S' sequence */
  kind: string;
}

async function listRelations(session: Session): Promise<readonly RelationRow[]> {
  const { rows } = await sql<RelationRow>`
    SELECT n.nspname AS schema, c.relname AS relation, c.relkind AS kind
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'S')
       AND c.relpersistence <> 't' /*temporary*/
       AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
     ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`.execute(session.db);
  return rows;
}

async function digestTable(session: Session, schema: string, relation: string) {
  const { rows } = await sql<{ rows: string; md5: string }>`
    SELECT count(*) AS rows, md5(coalesce(string_agg(h, '' ORDER BY h COLLATE "C"), '')) AS md5
      FROM (SELECT md5(t::text) AS h FROM ONLY ${sql.id(schema, relation)} AS t) AS hashes`.execute(
    session.db,
  );
  const [row] = rows;
  return { rows: Number(row?.rows ?? 0), md5: row?.md5 ?? "" };
}

async function readSequence(session: Session, schema: string, relation: string) {
  const { rows } = await sql<{ last: string; called: boolean }>`
    SELECT last_value::text AS last, is_called AS called FROM ${sql.id(schema, relation)}`.execute(
    session.db,
  );
  const [row] = rows;
  return { lastValue: row?.last ?? "", isCalled: row?.called ?? false };
}
