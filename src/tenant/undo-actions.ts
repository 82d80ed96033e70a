import { sql } from "kysely";
import { ownedBy, relation } from "../catalog/ownership.ts";
import { columnList, columnsEqual } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { type Conflict, maxListedRows } from "./conflicts.ts";
import { recordsDiffer } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import { rowHash } from "./row-hash.ts";
import { rowKeyText } from "./row-key.ts";
import type { StagedReceipt, WrittenRows } from "./written-rows.ts";

/**
 * Decides for each row that an import wrote what is to be done with it, as match and extra tables
 * say it: a row that is still as the import left it is taken back, one that is as it was before
 * needs nothing.
 *
 * @returns each row that is neither, and so was changed since
 */
export async function decideUndo(
  session: Session,
  schema: OpenSchema,
  receipt: StagedReceipt,
): Promise<readonly Conflict[]> {
  const conflicts: Conflict[] = [];
  for (const entry of receipt.written.values()) {
    await decideOldRows(session, schema, entry);
    await findInserted(session, schema, receipt, entry);
    conflicts.push(...(await changedRows(session, entry)));
    conflicts.push(...(await changedInserts(session, entry)));
  }
  return conflicts;
}

async function decideOldRows(
  session: Session,
  schema: OpenSchema,
  { staged, written, allColumns }: WrittenRows,
): Promise<void> {
  const { table, key, match, stage } = staged;
  // A row that is there again may have come back with its work ended.
  const inFlight = schema.profile.inFlight[table.name];
  const adapted = new Set(
    inFlight === undefined
      ? []
      : [inFlight.column, ...Object.keys(inFlight.set), ...inFlight.clear],
  );
  const others = staged.columns.map(({ name }) => name).filter((name) => !adapted.has(name));
  await sql`UPDATE ${match} AS m SET "pgtenant$action" = CASE
      WHEN NOT m."pgtenant$differs" THEN 'same'
      WHEN w."pgtenant$did" = 'deleted' THEN
        CASE WHEN ${recordsDiffer("l", "s", others)} THEN 'changed' ELSE 'keep' END
      WHEN ${rowHash(allColumns.map((name) => sql.id("l", name)))} = w."pgtenant$after" THEN 'update'
      ELSE 'changed' END
    FROM ${written} AS w, ${stage} AS s, ${relation(table)} AS l
   WHERE ${columnsEqual("w", key, "m")} AND ${columnsEqual("s", key, "m")}
     AND ${columnsEqual("l", key, "m")} AND m."pgtenant$action" <> 'foreign'`.execute(session.db);
}

async function findInserted(
  session: Session,
  schema: OpenSchema,
  { bundle }: StagedReceipt,
  { staged, written, insertedColumns }: WrittenRows,
): Promise<void> {
  const { catalog, root, ownership } = schema;
  const { table, key, extra } = staged;
  const unchanged =
    insertedColumns.length === 0
      ? sql`FALSE`
      : sql`${rowHash(insertedColumns.map((name) => sql.id("l", name)))} = w."pgtenant$after"`;
  await sql`CREATE TEMPORARY TABLE ${extra} AS
    SELECT ${columnList(key, "l")}
      FROM ${written} AS w JOIN ${relation(table)} AS l ON ${columnsEqual("l", key, "w")}
     WHERE w."pgtenant$did" = 'inserted' AND ${unchanged}
       AND ${ownedBy(catalog, root, ownership, table, "l", bundle.tenant.id)}`.execute(session.db);
  await sql`ANALYZE ${extra}`.execute(session.db);
}

async function changedRows(
  session: Session,
  { staged, written }: WrittenRows,
): Promise<readonly Conflict[]> {
  const { table, key, match } = staged;
  const { rows } = await sql<{ key: string; did: string; gone: boolean }>`
    SELECT ${rowKeyText("w", staged)} AS key, w."pgtenant$did" AS did,
           m."pgtenant$action" IS NULL AS gone
      FROM ${written} AS w LEFT JOIN ${match} AS m ON ${columnsEqual("m", key, "w")}
     WHERE m."pgtenant$action" = 'changed'
        OR (m."pgtenant$action" IS NULL AND w."pgtenant$did" IN ('updated', 'relinked'))
     LIMIT ${maxListedRows}`.execute(session.db);
  return rows.map((row) => ({
    kind: "changed",
    table: table.name,
    row: row.key,
    reason: row.gone
      ? "was updated and has been deleted since"
      : row.did === "deleted"
        ? "was deleted, and is there again with other values"
        : `was ${row.did} and has been changed since`,
  }));
}

async function changedInserts(
  session: Session,
  { staged, written }: WrittenRows,
): Promise<readonly Conflict[]> {
  const { table, key, extra } = staged;
  const { rows } = await sql<{ key: string }>`
    SELECT ${rowKeyText("w", staged)} AS key
      FROM ${written} AS w JOIN ${relation(table)} AS l ON ${columnsEqual("l", key, "w")}
     WHERE w."pgtenant$did" = 'inserted'
       AND NOT EXISTS (SELECT FROM ${extra} AS e WHERE ${columnsEqual("e", key, "w")})
     LIMIT ${maxListedRows}`.execute(session.db);
  return rows.map((row) => ({
    kind: "changed",
    table: table.name,
    row: row.key,
    reason: "was inserted and has been changed since",
  }));
}
