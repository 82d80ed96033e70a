import type { StateRows } from "./state-rows.ts";
import type { StateReference } from "./state-tables.ts";

/** A reference by which rows refer to rows that the document lacks. */
export interface AbsentReference {
  readonly table: string;
  readonly column: string;
  readonly to: string;
  readonly rows: number;
  readonly nullable: boolean;
  /** Set to NULL. */
  readonly dropped: boolean;
}

/** True when the value, JSON text, is the id of a row that is not in the bundle. */
export function isAbsent(
  withRows: ReadonlyMap<string, StateRows>,
  reference: StateReference,
  value: string | undefined,
): boolean {
  if (value === undefined || value === "") return false;
  const target = withRows.get(reference.table);
  return target === undefined || !target.spool.has(value.slice(1, -1));
}

/** Every reference that leads out of the document, with the number of its rows. */
export async function absentReferences(
  withRows: ReadonlyMap<string, StateRows>,
  drop: boolean,
): Promise<readonly AbsentReference[]> {
  const found: AbsentReference[] = [];
  for (const rows of withRows.values()) {
    const { name, references, columns } = rows.table;
    const places = references.map((reference) => rows.at(reference.by));
    const counts = references.map(() => 0);
    if (references.length === 0) continue;
    for await (const values of rows.read(false)) {
      for (const [i, reference] of references.entries()) {
        const value = values[places[i] ?? -1];
        if (isAbsent(withRows, reference, value)) counts[i] = (counts[i] ?? 0) + 1;
      }
    }
    for (const [i, reference] of references.entries()) {
      const count = counts[i] ?? 0;
      if (count === 0) continue;
      const nullable = columns[places[i] ?? -1]?.nullable === true;
      found.push({
        table: name,
        column: reference.by,
        to: reference.table,
        rows: count,
        nullable,
        dropped: drop && nullable,
      });
    }
  }
  return found;
}
