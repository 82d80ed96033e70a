import { sql } from "kysely";
import { relation } from "../../src/catalog/ownership.ts";
import { rowKeyOf, rowKeyText } from "../../src/tenant/row-key.ts";
import type { TestDatabase } from "./database.ts";
import { withTenantSchema } from "./tenant-bundle.ts";

/** The text of every row of a tenant's tables, by `public.plans (id)=(…)`. */
export type RowTexts = ReadonlyMap<string, string>;

export function rowTextsOf(database: TestDatabase): Promise<RowTexts> {
  return withTenantSchema(database.url, async (session, schema) => {
    const texts = new Map<string, string>();
    for (const table of schema.tables) {
      const { rows } = await sql<{ key: string; row: string }>`
        SELECT ${rowKeyText("l", rowKeyOf(schema, table))} AS key, (l.*)::text AS row
          FROM ${relation(table)} AS l`.execute(session.db);
      for (const { key, row } of rows) texts.set(`${table.name} ${key}`, row);
    }
    return texts;
  });
}

/** The rows that only one side has, or that differ; sorted. */
export function differingRows(left: RowTexts, right: RowTexts): readonly string[] {
  const keys = new Set([...left.keys(), ...right.keys()]);
  return [...keys].filter((key) => left.get(key) !== right.get(key)).sort();
}
