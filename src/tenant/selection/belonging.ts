import { type ForeignKey, isMandatory } from "../../catalog/catalog.ts";
import { isOwned, referencesOf, type TenantSchema } from "../../profile/classify.ts";

/**
 * The references by which a row of a table hangs on another one: it would be deleted with it, it
 * cannot be without it, or it is the tenant's through it. Everything hangs on the tenant's own
 * row, so that references to that say nothing.
 */
export function belongingKeys(schema: TenantSchema, table: string): readonly ForeignKey[] {
  const own = schema.catalog.tables.get(table);
  if (own === undefined) return [];
  const steps = schema.ownership.get(table) ?? [];
  return parentKeys(schema, table).filter(
    (key) =>
      key.to !== schema.root.table &&
      (key.onDelete === "cascade" || isMandatory(own, key) || steps.includes(key)),
  );
}

/** All references of a table to tables of the tenant. */
export function parentKeys(schema: TenantSchema, table: string): readonly ForeignKey[] {
  return referencesOf(schema, table).filter((key) => isOwned(schema, key.to));
}

/** No reference leads to the table, so that none of its rows matters to another one. */
export function isLeaf(schema: TenantSchema, table: string): boolean {
  return schema.tables.every(({ name }) =>
    parentKeys(schema, name).every((key) => key.to !== table),
  );
}

/** The tables on whose rows a row of this one can hang, over any number of steps; not itself. */
export function belongingAncestors(schema: TenantSchema, table: string): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (name: string) => {
    for (const { to } of belongingKeys(schema, name)) {
      if (found.has(to)) continue;
      found.add(to);
      visit(to);
    }
  };
  visit(table);
  return found;
}
