import type { LeftOut, TenantIdentity } from "../bundle/format.ts";
import type { ImportOptions } from "./import-types.ts";

export type DiffOptions = Pick<
  ImportOptions,
  "name" | "selection" | "maxRowBytes" | "keys" | "progress"
>;

/** Numbers of rows. */
export interface DiffCounts {
  readonly onlyInBundle: number;
  readonly onlyLive: number;
  readonly different: number;
  /** Rows of the bundle under whose key the target holds a row that is not the tenant's. */
  readonly boundary: number;
  readonly equal: number;
}

export interface TableDiff extends DiffCounts {
  readonly table: string;
}

export interface DiffSummary {
  /** Nothing of the bundle is missing, nothing is different, and nothing more is live. */
  readonly equal: boolean;
  readonly tenant: TenantIdentity;
  /** False when the target has no such tenant: then all of it is only in the bundle. */
  readonly tenantExists: boolean;
  /** The moment whose live rows were looked at. */
  readonly comparedAt: string;
  /** When the bundle was made. */
  readonly bundleCreatedAt: string;
  readonly database: string;
  readonly counts: DiffCounts;
  readonly tables: readonly TableDiff[];
  /** What was not compared, since one side does not have it. */
  readonly leftOut: readonly LeftOut[];
  readonly warnings: readonly string[];
  /** How long it took to stage the bundle and to compare. */
  readonly seconds: number;
}

export type DiffFinding =
  | RowFinding
  | {
      readonly kind: "different";
      readonly table: string;
      readonly row: string;
      readonly label?: string;
      readonly columns: readonly ColumnDifference[];
    }
  | {
      /** The target holds a row with this key that is not the tenant's; its values stay untold. */
      readonly kind: "boundary";
      readonly table: string;
      readonly row: string;
      readonly reason: string;
    }
  | {
      /** Values of the bundle for which the target has no table or no column. */
      readonly kind: "no-place";
      readonly table: string;
      readonly column?: string;
      readonly reason: string;
    };

export interface RowFinding {
  readonly kind: "only-in-bundle" | "only-live";
  readonly table: string;
  /** `(id)=(42)` */
  readonly row: string;
  /** What people call the row, where the profile says which column that is. */
  readonly label?: string;
}

export type DiffKind = DiffFinding["kind"];

/** A column in which a row differs; a secret's values are nowhere. */
export type ColumnDifference =
  | { readonly column: string; readonly secret: true }
  | {
      readonly column: string;
      readonly live: ShownValue;
      readonly bundle: ShownValue;
      /** The lengths of values that are cut, in characters; in bytes where `bytes` is set. */
      readonly liveLength?: number;
      readonly bundleLength?: number;
      /** The values are bytea, written in hexadecimal digits. */
      readonly bytes?: true;
    };

/** PostgreSQL's own text of a value, or null for NULL. */
export type ShownValue = string | null;

/** Longer values are cut. */
export const maxValueCharacters = 10_000;

export interface BundleDiff {
  readonly summary: DiffSummary;
  /**
   * Each finding, table by table; to be read while the comparison's transaction is open, and one
   * reading at a time.
   *
   * @param perTable how many of a table are enough; all by default
   */
  findings(perTable?: number): AsyncGenerator<DiffFinding>;
}
