import { sql } from "kysely";
import type { ForeignKey } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import { columnsEqual, conjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { type Conflict, maxListedRows } from "./conflicts.ts";
import type { OpenSchema } from "./open-schema.ts";
import { rowKeyOf, rowKeyText } from "./row-key.ts";
import { softReferences } from "./soft-references.ts";
import type { StagedReceipt } from "./written-rows.ts";

/**
 * Finds live rows that refer to rows which an undo would delete, and that neither go themselves
 * nor let go: they were created since. Rows that had pointed there before are in the receipt.
 */
export async function findReferrers(
  session: Session,
  schema: OpenSchema,
  receipt: StagedReceipt,
): Promise<readonly Conflict[]> {
  const constraints = [...schema.references.values()]
    .flat()
    .filter((key) => key.source === "constraint");
  const conflicts: Conflict[] = [];
  for (const key of [...constraints, ...softReferences(schema)]) {
    conflicts.push(...(await referrersBy(session, schema, receipt, key)));
  }
  return conflicts;
}

async function referrersBy(
  session: Session,
  schema: OpenSchema,
  { written }: StagedReceipt,
  key: ForeignKey,
): Promise<readonly Conflict[]> {
  const to = written.get(key.to);
  const from = schema.catalog.tables.get(key.from);
  if (to === undefined || to.rows === 0 || from === undefined) return [];
  const conditions = [sql`TRUE`];
  const own = written.get(key.from);
  if (own !== undefined) {
    const { staged, referring } = own;
    const same = (alias: string) => columnsEqual(alias, staged.key, "r");
    conditions.push(
      sql`NOT EXISTS (SELECT FROM ${staged.extra} AS g WHERE ${same("g")})`,
      sql`NOT EXISTS (SELECT FROM ${staged.match} AS u WHERE ${same("u")}
            AND u."pgtenant$action" = 'update')`,
      sql`NOT EXISTS (SELECT FROM ${referring} AS d WHERE ${same("d")})`,
    );
  }
  const { staged } = to;
  const { rows } = await sql<{ key: string; target: string }>`
    SELECT ${rowKeyText("r", rowKeyOf(schema, from, from.key ?? key.columns))} AS key,
           ${rowKeyText("l", staged)} AS target
      FROM ${staged.extra} AS e
      JOIN ${relation(staged.table)} AS l ON ${columnsEqual("l", staged.key, "e")}
      JOIN ${relation(from)} AS r ON ${columnsEqual("r", key.columns, "l", key.toColumns)}
     WHERE ${conjunction(conditions)} LIMIT ${maxListedRows}`.execute(session.db);
  return rows.map((row) => ({
    kind: "changed",
    table: from.name,
    row: row.key,
    reason: `refers to ${staged.table.name} ${row.target}, which the import inserted`,
  }));
}
