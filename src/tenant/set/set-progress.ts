import type { SetFailure, SetHeading, SetSnapshot, SetTenant, TenantSet } from "./tenant-set.ts";

/** A line of a set's progress. */
export type ProgressRecord =
  | { readonly heading: SetHeading }
  | { readonly snapshot: SetSnapshot }
  /** Tenants that a run has found and none before it. */
  | { readonly found: readonly string[] }
  /** A bundle under this path is about to be written. */
  | { readonly begun: string }
  | { readonly done: SetTenant }
  | { readonly failed: SetFailure };

/** How far a set has come: what its progress says, line by line. */
export class SetProgress {
  readonly heading: SetHeading;
  readonly snapshots: SetSnapshot[] = [];
  readonly found = new Set<string>();
  readonly begun = new Set<string>();
  readonly done = new Map<string, SetTenant>();
  readonly failed = new Map<string, SetFailure>();

  constructor(heading: SetHeading) {
    this.heading = heading;
  }

  apply(record: ProgressRecord): void {
    if ("snapshot" in record) this.snapshots.push(record.snapshot);
    else if ("found" in record) for (const id of record.found) this.found.add(id);
    else if ("begun" in record) this.begun.add(record.begun);
    else if ("done" in record) {
      this.failed.delete(record.done.id);
      this.done.set(record.done.id, record.done);
    } else if ("failed" in record) {
      this.done.delete(record.failed.id);
      this.failed.set(record.failed.id, record.failed);
    }
  }

  /**
   * The manifest of what there is.
   *
   * @param current the tenants that the last run has found, undefined before any has looked
   */
  manifest(current: ReadonlySet<string> | undefined, finishedAt: string | null): TenantSet {
    const wanted = current ?? this.found;
    const failed = [...this.failed.values()].filter(({ id }) => wanted.has(id));
    const missing = [...wanted].filter((id) => !this.done.has(id) && !this.failed.has(id)).length;
    return {
      ...this.heading,
      finishedAt,
      complete: finishedAt !== null && missing === 0 && failed.length === 0,
      snapshots: this.snapshots,
      tenants: [...this.done.values()]
        .sort(bySlug)
        .map((tenant) => (wanted.has(tenant.id) ? tenant : { ...tenant, gone: true as const })),
      failed: failed.sort(bySlug),
      missing,
    };
  }
}

/** In the order in which people look for tenants. */
export function bySlug(
  a: { readonly id: string; readonly slug: string | null },
  b: { readonly id: string; readonly slug: string | null },
): number {
  const [one, two] = [a.slug ?? a.id, b.slug ?? b.id];
  return one < two ? -1 : one > two ? 1 : 0;
}
