export type FindingKind =
  | "invalid-row"
  | "invalid-json"
  | "duplicate-key"
  | "dangling-reference"
  | "broken-chain";

/** Something that does not hold in a bundle. Values of rows are never part of it. */
export interface Finding {
  readonly kind: FindingKind;
  readonly table: string;
  /** Number of the row in its table, from 1. */
  readonly row: number;
  readonly columns: readonly string[];
  readonly message: string;
}

/** Findings of one kind at one place that are counted, since enough of them are listed. */
export interface FurtherFindings {
  readonly kind: FindingKind;
  readonly table: string;
  readonly columns: readonly string[];
  readonly count: number;
}

const listedEach = 20;

/** Keeps the first findings of each kind and place, and counts the others. */
export class FindingList {
  readonly #listed: Finding[] = [];
  readonly #counts = new Map<string, { readonly first: Finding; count: number }>();

  add(finding: Finding): void {
    const place = JSON.stringify([finding.kind, finding.table, finding.columns]);
    const entry = this.#counts.get(place) ?? { first: finding, count: 0 };
    entry.count += 1;
    this.#counts.set(place, entry);
    if (entry.count <= listedEach) this.#listed.push(Object.freeze(finding));
  }

  get total(): number {
    return this.#counts.values().reduce((sum, { count }) => sum + count, 0);
  }

  get listed(): readonly Finding[] {
    return this.#listed;
  }

  get further(): readonly FurtherFindings[] {
    return [...this.#counts.values()]
      .filter(({ count }) => count > listedEach)
      .map(({ first: { kind, table, columns }, count }) =>
        Object.freeze({ kind, table, columns, count: count - listedEach }),
      );
  }
}

/** `1 thing in it does not hold` */
export function findingsText(found: number): string {
  return found === 1 ? "1 thing in it does not hold" : `${found} things in it do not hold`;
}
