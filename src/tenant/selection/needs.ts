import { type RawBuilder, sql } from "kysely";
import type { ForeignKey, Table } from "../../catalog/catalog.ts";
import { columnList, columnsEqual, conjunction } from "../../postgres/identifiers.ts";
import type { Session } from "../../postgres/session.ts";
import { keyOf } from "../../profile/classify.ts";
import { type Conflict, maxListedRows } from "../conflicts.ts";
import { rowKeyOf, rowKeyText } from "../row-key.ts";
import { parentKeys } from "./belonging.ts";
import { type Chosen, hasKey, isChosen } from "./choose.ts";
import { because, why } from "./key-tables.ts";
import type { Side } from "./sides.ts";

export interface NeedRule {
  /** Where the rows are looked for that are needed. */
  readonly side: Side;
  /** Rows that are there already are not needed of the bundle. */
  readonly present: Side | undefined;
  /** A condition on the chosen row `alias`: it will be written, so that its parents must be there. */
  readonly matters: (table: Table, alias: string) => RawBuilder<boolean>;
}

/**
 * Adds the rows that chosen ones refer to, and those that these refer to. What hangs on such a row
 * does not come along. The tenant's own row is needed whatever else is.
 */
export async function addNeeded(session: Session, chosen: Chosen, rule: NeedRule): Promise<void> {
  const { schema } = chosen;
  // Of everything there is nothing left that could be needed.
  if (chosen.selection.everything) return;
  await addRoot(session, chosen, rule);
  for (let found = 1; found > 0; ) {
    found = 0;
    // Children first, so that a second round only serves rows that refer to later ones.
    for (const table of schema.tables.toReversed()) {
      for (const key of parentKeys(schema, table.name)) {
        if (key.to === schema.root.table) continue;
        found += await addParents(session, chosen, rule, table, key);
      }
    }
  }
}

async function addRoot(session: Session, chosen: Chosen, rule: NeedRule): Promise<void> {
  const { schema, keys } = chosen;
  const table = schema.catalog.tables.get(schema.root.table);
  const rows = rule.side.rows(schema.root.table);
  if (table === undefined || rows === undefined) return;
  await sql`
    INSERT INTO ${keys.of(table.name)} (${columnList(keyOf(table))}, ${sql.id(why)})
    SELECT ${columnList(keyOf(table), "p")}, 'needed' FROM ${rows} AS p
     WHERE ${conjunction([rule.side.owned(table, "p"), isAbsent(rule, table, keyOf(table), "p", keyOf(table))])}
    ON CONFLICT DO NOTHING`.execute(session.db);
}

async function addParents(
  session: Session,
  chosen: Chosen,
  rule: NeedRule,
  table: Table,
  key: ForeignKey,
): Promise<number> {
  const from = pairs(chosen, rule, table, key);
  if (from === undefined) return 0;
  const { parent } = from;
  const own = keyOf(parent);
  const { numAffectedRows } = await sql`
    INSERT INTO ${chosen.keys.of(parent.name)}
           (${columnList(own)}, ${sql.id(why)}, ${sql.id(because)})
    SELECT DISTINCT ON (${columnList(own, "p")}) ${columnList(own, "p")}, 'needed',
           concat(${sql.lit(`${table.name} `)}, ${rowKeyText("c", rowKeyOf(chosen.schema, table))})
      FROM ${from.tables}
     WHERE ${conjunction([
       ...from.conditions,
       sql`NOT ${hasKey(chosen, parent, "p", ["selected", "belongs", "needed", "excluded"])}`,
     ])}
     ORDER BY ${columnList(own, "p")}, ${columnList(keyOf(table), "c")}
    ON CONFLICT DO NOTHING`.execute(session.db);
  return Number(numAffectedRows ?? 0n);
}

/** Chosen rows `c` and the rows `p` that they refer to and that are not there yet. */
function pairs(chosen: Chosen, rule: NeedRule, table: Table, key: ForeignKey) {
  const { side } = rule;
  const parent = chosen.schema.catalog.tables.get(key.to);
  const children = side.rows(table.name);
  const parents = side.rows(key.to);
  if (parent === undefined || children === undefined || parents === undefined) return undefined;
  if (!side.has(table.name, key.columns) || !side.has(key.to, key.toColumns)) return undefined;
  return {
    parent,
    tables: sql`${children} AS c JOIN ${parents} AS p ON ${columnsEqual("p", key.toColumns, "c", key.columns)}`,
    conditions: [
      isChosen(chosen, side, table, "c"),
      side.owned(table, "c"),
      side.owned(parent, "p"),
      rule.matters(table, "c"),
      isAbsent(rule, parent, key.toColumns, "c", key.columns),
    ],
  };
}

function isAbsent(
  { present }: NeedRule,
  table: Table,
  columns: readonly string[],
  alias: string,
  ownColumns: readonly string[],
): RawBuilder<boolean> {
  const rows = present?.rows(table.name);
  if (present === undefined || rows === undefined) return sql`TRUE`;
  return sql`NOT EXISTS (SELECT FROM ${rows} AS there
    WHERE ${conjunction([columnsEqual("there", columns, alias, ownColumns), present.owned(table, "there")])})`;
}

/** The chosen rows that need one which an item excludes. */
export async function findNeededButExcluded(
  session: Session,
  chosen: Chosen,
  rule: NeedRule,
): Promise<readonly Conflict[]> {
  const conflicts: Conflict[] = [];
  for (const table of chosen.schema.tables) {
    for (const key of parentKeys(chosen.schema, table.name)) {
      if (!chosen.excluded.has(key.to) || key.source !== "constraint") continue;
      const from = pairs(chosen, rule, table, key);
      if (from === undefined) continue;
      const { rows } = await sql<{ key: string; parent: string }>`
        SELECT ${rowKeyText("c", rowKeyOf(chosen.schema, table))} AS key, ${rowKeyText("p", rowKeyOf(chosen.schema, from.parent))} AS parent
          FROM ${from.tables}
         WHERE ${conjunction([...from.conditions, hasKey(chosen, from.parent, "p", ["excluded"])])}
         LIMIT ${maxListedRows}`.execute(session.db);
      for (const row of rows) {
        conflicts.push({
          kind: "needed",
          table: table.name,
          row: row.key,
          reason: `needs ${key.to} ${row.parent} (${key.columns.join(", ")}), which --exclude or --since leaves out and which is not in the database`,
        });
      }
    }
  }
  return conflicts;
}
