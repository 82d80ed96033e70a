import { AppError, ExitCode } from "../errors.ts";
import { columnOf, type ForeignKey, type Table } from "./catalog.ts";

export interface TableOrder {
  /** Table names, parents before their children. */
  readonly names: readonly string[];
  /**
   * Keys that point forward in that order, because they close a cycle: rows are inserted
   * without them and linked afterwards.
   */
  readonly linkedLater: readonly ForeignKey[];
}

/**
 * Orders tables by their references, names deciding between equals, so that the order is the
 * same on every run.
 *
 * @throws {AppError} exit 2 if a cycle of references has no key that could be filled in later.
 */
export function orderTables(
  tables: readonly Table[],
  references: ReadonlyMap<string, readonly ForeignKey[]>,
): TableOrder {
  const waiting = new Map(tables.map((table) => [table.name, table]));
  const names: string[] = [];
  const linkedLater: ForeignKey[] = [];
  const openKeys = (table: Table) =>
    (references.get(table.name) ?? []).filter(
      (key) => key.to !== table.name && waiting.has(key.to),
    );
  while (waiting.size > 0) {
    const sorted = [...waiting.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    const next =
      sorted.find((table) => openKeys(table).length === 0) ??
      sorted.find((table) => openKeys(table).every((key) => canLinkLater(table, key)));
    if (next === undefined) throw unbreakable(sorted.map((table) => table.name));
    linkedLater.push(...openKeys(next));
    waiting.delete(next.name);
    names.push(next.name);
  }
  return { names, linkedLater };
}

/** The columns of a key that can be NULL until the row it points to exists. */
export function clearableColumns(table: Table, key: ForeignKey): readonly string[] {
  return key.columns.filter((name) => columnOf(table, name)?.notNull === false);
}

function canLinkLater(table: Table, key: ForeignKey): boolean {
  return key.deferrable || key.source === "profile" || clearableColumns(table, key).length > 0;
}

function unbreakable(names: readonly string[]): AppError {
  return new AppError(
    "reference-cycle",
    ExitCode.usage,
    `the foreign keys of ${names.map((name) => `"${name}"`).join(", ")} form a cycle that no row can enter`,
    {
      hint: "Make one of these keys nullable, or DEFERRABLE, so that rows can be inserted and then linked.",
    },
  );
}
