import { sql } from "kysely";
import type { ForeignKey } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import { allPresent, columnsEqual, conjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { referencesOf } from "../profile/classify.ts";
import { becomesLive } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import { rowKeyText } from "./row-key.ts";
import { adopted, forgetMatches, holderOf, live, reason, references } from "./rows-out.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/** Takes out what refers to a row that is neither in the bundle any more nor live. */
export async function takeOutHanging(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
): Promise<void> {
  const byName = new Map(bundle.tables.map((staged) => [staged.table.name, staged]));
  for (let taken = true; taken; ) {
    taken = false;
    for (const staged of bundle.tables) {
      for (const key of referencesOf(schema, staged.table.name)) {
        const target = byName.get(key.to);
        if (target === undefined) continue;
        if (!key.columns.every((column) => staged.present.has(column))) continue;
        if (!key.toColumns.every((column) => target.present.has(column))) continue;
        const rows = await hanging(session, staged, target, key);
        if (rows === 0) continue;
        await forgetMatches(session, staged);
        taken = true;
      }
    }
  }
}

async function hanging(
  session: Session,
  { key, stage, match, out }: StagedTable,
  target: StagedTable,
  { columns, toColumns }: ForeignKey,
): Promise<number> {
  const lost = sql`FROM ${target.out} AS x
    WHERE NOT x.${adopted} AND ${columnsEqual("x", toColumns, "s", columns)}`;
  const action = sql`(SELECT m."pgtenant$action" FROM ${match} AS m WHERE ${columnsEqual("m", key, "s")})`;
  const why = sql`concat(${sql.lit(`refers to ${target.table.name} `)},
    (SELECT ${rowKeyText("x", target)} ${lost} LIMIT 1), ', which stays out')`;
  const { numAffectedRows } = await sql`
    WITH gone AS (
      DELETE FROM ${stage} AS s
       WHERE ${conjunction([
         allPresent("s", columns),
         sql`EXISTS (SELECT ${lost})`,
         sql`NOT EXISTS (SELECT FROM ${target.stage} AS q
               WHERE ${columnsEqual("q", toColumns, "s", columns)} AND ${becomesLive(target, "q")})`,
         sql`NOT EXISTS (SELECT FROM ${relation(target.table)} AS l
               WHERE ${columnsEqual("l", toColumns, "s", columns)})`,
         // Only what the profile calls a reference may point to nothing, and does so already.
         sql`${action} IS DISTINCT FROM 'same'`,
       ])}
      RETURNING s.*, CASE WHEN ${action} = 'keep' THEN NULL ELSE ${why} END AS ${reason},
                ${action} IS NOT NULL AS ${live}, FALSE AS ${adopted}, 0::bigint AS ${references},
                ${holderOf(key, "s")})
    INSERT INTO ${out} SELECT * FROM gone`.execute(session.db);
  return Number(numAffectedRows ?? 0n);
}
