import type { Column, ForeignKey, OwnedSequence, Table } from "../../catalog/catalog.ts";
import { isOwned, keyOf, referencesOf, type TenantSchema } from "../../profile/classify.ts";
import type { NumberRange } from "../../profile/profile.ts";
import { isText } from "./text-columns.ts";

export interface KeyColumn {
  readonly table: Table;
  readonly column: Column;
}

/** Where the values come from that take the place of the original's. */
export type Successor =
  | { readonly kind: "uuid" }
  | { readonly kind: "sequence"; readonly sequence: OwnedSequence }
  | { readonly kind: "renumber"; readonly range: NumberRange; readonly of: KeyColumn }
  | { readonly kind: "text" }
  | { readonly kind: "slug" };

/** Columns that references tie together: a value has one successor in all of them. */
export interface KeyClass {
  readonly columns: readonly KeyColumn[];
  /** The columns in which the values arise, and which refer to no other. */
  readonly makers: readonly KeyColumn[];
  readonly successor: Successor;
}

export interface KeyClasses {
  readonly classes: readonly KeyClass[];
  /** What the profile does not say, and has to: a key whose values are unique over all tenants. */
  readonly refused: readonly string[];
}

/**
 * Finds the columns whose values a clone cannot share with the original, and where each gets new
 * ones. References are followed column by column, from the referring to the referred one, so that
 * a part of a composite key is told from the tenant's key that it carries along.
 *
 * @param cloned names of the tables whose rows the clone gets
 * @param leftOut names of tables that stay out; texts may speak of their rows all the same
 */
export function findKeyClasses(
  schema: TenantSchema,
  cloned: ReadonlySet<string>,
  leftOut: ReadonlySet<string>,
): KeyClasses {
  const classes: KeyClass[] = [];
  const refused: string[] = [];
  const renewed = new Set<string>();
  const tied = tiedColumns(schema);
  for (const { columns, makers } of tied) {
    const concerned = makers.filter(({ table }) => cloned.has(table.name));
    const mentioned = makers.filter(({ table }) => leftOut.has(table.name));
    if (concerned.length + mentioned.length === 0) continue;
    const found = successorOf(schema, columns, concerned.length > 0 ? concerned : mentioned);
    if (typeof found === "string") refused.push(found);
    else if (found !== undefined && isWanted(schema, found, concerned)) {
      classes.push({ columns, makers: [...concerned, ...mentioned], successor: found });
      for (const member of columns) renewed.add(nameOf(member));
    }
  }
  const stuck = schema.tables.filter(
    (table) =>
      cloned.has(table.name) &&
      !keyOf(table).some((column) => renewed.has(`${table.name}.${column}`)),
  );
  // With a key that comes of another stuck table goes what is wrong with it.
  const byItself = stuck.filter((table) =>
    keyOf(table).every((column) => {
      const makers = tied.find(({ columns }) =>
        columns.some((c) => c.table.name === table.name && c.column.name === column),
      )?.makers;
      return (
        makers === undefined ||
        makers.some((maker) => maker.table.name === table.name) ||
        !makers.some((maker) => stuck.includes(maker.table))
      );
    }),
  );
  for (const table of byItself) refused.push(`${table.name} (${keyOf(table).join(", ")})`);
  return { classes, refused };
}

/** Only ids that texts may speak of are given anew for rows that stay out. */
function isWanted(
  schema: TenantSchema,
  successor: Successor,
  concerned: readonly KeyColumn[],
): boolean {
  if (concerned.length > 0 || successor.kind === "uuid") return true;
  return successor.kind === "sequence" && Object.keys(schema.profile.clone.ids).length > 0;
}

function successorOf(
  schema: TenantSchema,
  columns: readonly KeyColumn[],
  makers: readonly KeyColumn[],
): Successor | string | undefined {
  const { root, profile } = schema;
  for (const of of columns) {
    const range = profile.clone.renumber[of.table.name]?.[of.column.name];
    if (range !== undefined) return { kind: "renumber", range, of };
  }
  const identifies = columns.length > 1 || makers.some(isUnique);
  if (!identifies) return undefined;
  if (makers.every(({ column }) => isUuid(column))) return { kind: "uuid" };
  const sequences = makers.flatMap(
    ({ table, column }) => table.sequences.find((s) => s.column === column.name) ?? [],
  );
  const [sequence, other] = sequences;
  if (sequence !== undefined) {
    if (other === undefined) return { kind: "sequence", sequence };
    return `${makers.map(nameOf).join(" and ")}, which draw from two sequences`;
  }
  const isSlug = makers.some(
    ({ table, column }) => table.name === root.table && column.name === profile.root.lookup[0],
  );
  if (isSlug && profile.root.lookup[0] === root.key) return { kind: "slug" };
  const dropped = makers.some(
    ({ table, column }) =>
      isKeyPart(table, column) && profile.clone.drop[table.name]?.includes(column.name) === true,
  );
  return dropped && makers.every(({ column }) => isText(column)) ? { kind: "text" } : undefined;
}

export function isUuid(column: Column): boolean {
  return column.encoding.as === "value" && column.encoding.shape === "uuid";
}

function isKeyPart(table: Table, column: Column): boolean {
  return table.key?.includes(column.name) === true;
}

function isUnique({ table, column }: KeyColumn): boolean {
  return (
    isKeyPart(table, column) ||
    table.uniqueIndexes.some((index) => index.columns?.includes(column.name) === true)
  );
}

function nameOf({ table, column }: KeyColumn): string {
  return `${table.name}.${column.name}`;
}

/** The columns of a tenant's tables, by what references tie together; none that reach a global table. */
function tiedColumns(schema: TenantSchema): readonly Omit<KeyClass, "successor">[] {
  const parents = new Map<string, string>();
  const top = (name: string): string => {
    const parent = parents.get(name);
    if (parent === undefined || parent === name) return name;
    const found = top(parent);
    parents.set(name, found);
    return found;
  };
  const referring = new Set<string>();
  const global = new Set<string>();
  const follow = (key: ForeignKey) => {
    for (const [i, column] of key.columns.entries()) {
      const from = `${key.from}.${column}`;
      const to = `${key.to}.${key.toColumns[i] ?? ""}`;
      if (from === to) continue;
      referring.add(from);
      if (!isOwned(schema, key.to)) global.add(to);
      parents.set(top(from), top(to));
    }
  };
  for (const table of schema.tables) referencesOf(schema, table.name).forEach(follow);
  const members = Map.groupBy(
    schema.tables.flatMap((table) => table.columns.map((column) => ({ table, column }))),
    (member) => top(nameOf(member)),
  );
  const notOurs = new Set([...global].map(top));
  return [...members]
    .filter(([name]) => !notOurs.has(name))
    .map(([, columns]) => {
      const origins = columns.filter((member) => !referring.has(nameOf(member)));
      // In a circle of references every column refers to another.
      const makers =
        origins.length > 0
          ? origins
          : columns.filter(({ table, column }) => isKeyPart(table, column));
      return { columns, makers };
    });
}
