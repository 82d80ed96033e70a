import type { FindingList } from "./findings.ts";
import type { BundleHeader, BundleReference, BundleTable } from "./format.ts";
import { Fingerprint, KeySet, WaitingKeys } from "./key-set.ts";
import type { Row } from "./row-validator.ts";
import type { RowValues } from "./row-values.ts";

/** Whether something refers to these columns of a table, and which rows there are. */
interface ReferencedKey {
  readonly table: string;
  readonly columns: readonly string[];
  readonly keys: KeySet;
}

interface CheckedReference {
  readonly from: string;
  readonly reference: BundleReference;
  readonly target: ReferencedKey;
  /** Rows whose target has not come yet. */
  readonly waiting: WaitingKeys;
}

/**
 * Checks that keys are unique and that every reference inside the bundle leads to a row of it.
 * Holds a fingerprint for each key that something refers to, and for the keys of one table.
 */
export class ReferenceCheck {
  readonly #findings: FindingList;
  readonly #fingerprint = new Fingerprint();
  readonly #targets = new Map<string, ReferencedKey>();
  readonly #references: readonly CheckedReference[];
  readonly #complete = new Set<string>();
  #primary = new KeySet();

  constructor(header: BundleHeader, findings: FindingList) {
    this.#findings = findings;
    // What was selected may refer to what was not.
    this.#references = header.selection === null ? header.tables.flatMap((t) => this.#of(t)) : [];
  }

  row(table: BundleTable, row: Row, number: number, values: RowValues): void {
    const key = values.tuple(row, number, table.primaryKey);
    if (key !== undefined) {
      const { high, low } = this.#fingerprint.of(key);
      if (!this.#primary.add(high, low)) this.#duplicate(table, number);
    }
    for (const target of this.#targets.values()) {
      if (target.table !== table.name) continue;
      const tuple = values.tuple(row, number, target.columns);
      if (tuple === undefined) continue;
      const { high, low } = this.#fingerprint.of(tuple);
      target.keys.add(high, low);
    }
    for (const checked of this.#references) {
      if (checked.from !== table.name) continue;
      const tuple = values.tuple(row, number, checked.reference.columns);
      if (tuple === undefined) continue;
      const { high, low } = this.#fingerprint.of(tuple);
      if (checked.target.keys.has(high, low)) continue;
      if (this.#complete.has(checked.target.table)) this.#dangling(checked, number);
      else checked.waiting.add(high, low, number);
    }
  }

  endOfTable(table: string): void {
    this.#primary = new KeySet();
    this.#complete.add(table);
  }

  /** References to rows that stand further down, or to tables that the bundle does not have. */
  endOfBundle(): void {
    for (const checked of this.#references) {
      for (const [high, low, row] of checked.waiting) {
        if (!checked.target.keys.has(high, low)) this.#dangling(checked, row);
      }
    }
  }

  #of(table: BundleTable): readonly CheckedReference[] {
    return table.references.map((reference) => {
      const name = JSON.stringify([reference.table, reference.to]);
      const target = this.#targets.get(name) ?? {
        table: reference.table,
        columns: reference.to,
        keys: new KeySet(),
      };
      this.#targets.set(name, target);
      return { from: table.name, reference, target, waiting: new WaitingKeys() };
    });
  }

  #duplicate(table: BundleTable, row: number): void {
    this.#findings.add({
      kind: "duplicate-key",
      table: table.name,
      row,
      columns: table.primaryKey,
      message: `row ${row} of table "${table.name}" has the key (${table.primaryKey.join(", ")}) of a row before it`,
    });
  }

  #dangling(checked: CheckedReference, row: number): void {
    const { columns, table, to } = checked.reference;
    this.#findings.add({
      kind: "dangling-reference",
      table: checked.from,
      row,
      columns,
      message: `row ${row} of table "${checked.from}" refers by (${columns.join(", ")}) to a row of "${table}" (${to.join(", ")}) that is not in the bundle`,
    });
  }
}
