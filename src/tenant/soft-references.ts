import { columnOf, type ForeignKey } from "../catalog/catalog.ts";
import type { OpenSchema } from "./open-schema.ts";

/**
 * References that no constraint holds, so that rows may point to what is not there: those that
 * the profile declares, and the links of hash chains.
 */
export function softReferences(schema: OpenSchema): readonly ForeignKey[] {
  const declared = [...schema.references.values()]
    .flat()
    .filter((key) => key.source === "profile" && schema.ownership.has(key.from));
  const links = Object.entries(schema.profile.chain).flatMap(([name, chain]): ForeignKey[] => {
    const table = schema.catalog.tables.get(name);
    if (table === undefined || !schema.ownership.has(name)) return [];
    const { previous, own } = chain;
    if ([previous, own].some((column) => columnOf(table, column) === undefined)) return [];
    return [
      {
        name: `${previous} (chain)`,
        from: name,
        columns: [previous],
        to: name,
        toColumns: [own],
        onDelete: "no action",
        clearedColumns: [],
        deferrable: true,
        source: "profile",
      },
    ];
  });
  return [...declared, ...links];
}
