import type { DecryptionKeys } from "../bundle/encryption.ts";
import type { LeftOut, TenantIdentity } from "../bundle/format.ts";
import type { ProgressListener } from "../progress.ts";
import type { ReceiptOptions } from "./receipt-file.ts";

/**
 * `missing` inserts what is absent and touches nothing else; `overwrite` also sets rows that
 * differ to the bundle's; `replace` also deletes the tenant's rows that the bundle lacks.
 */
export type ImportMode = "missing" | "overwrite" | "replace";

/**
 * What happens to a row of the bundle whose unique value a live row of another key holds: the
 * import is refused; the row stays out, with what hangs on it; or the live row stands for it.
 */
export type CollisionPolicy = "fail" | "skip" | "adopt";

/** Parts of a tenant as the operator names them; an empty `select` means all of it. */
export interface Selection {
  /** Groups, tables, and rows: `sites`, `public.plans`, `site=berlin`, `microvms.name=vm-7`. */
  readonly select: readonly string[];
  readonly exclude: readonly string[];
  /** Rows of logs from before this time stay out. */
  readonly since?: string | undefined;
}

export interface CloneOptions {
  readonly slug: string;
  /** The original's by default. */
  readonly name?: string | undefined;
  /** Appends the original's audit events to the log, chained anew. */
  readonly withAudit: boolean;
}

export interface ImportOptions {
  /** How messages call the bundle: its path in quotes, or `the standard input`. */
  readonly name: string;
  readonly mode: ImportMode;
  /** Plan, and apply nothing. */
  readonly dryRun: boolean;
  /** Overwriting and deleting need the operator's word. */
  readonly confirmed: boolean;
  /** By `table.column`: the value for a NOT NULL column that has none in the bundle. */
  readonly set: ReadonlyMap<string, string>;
  /** Tables, or `table.column`s, of the bundle that the target lacks and that may be dropped. */
  readonly leaveOut: readonly string[];
  readonly disableTriggers: boolean;
  /** Restores work that was in flight as it was, instead of ending it. */
  readonly keepInFlight: boolean;
  /** Credentials come back revoked. */
  readonly expireCredentials: boolean;
  readonly onCollision: CollisionPolicy;
  /** What is taken of the bundle; all of it by default. */
  readonly selection?: Selection | undefined;
  /** The hash of the plan that the operator has seen: any other plan is refused. */
  readonly planHash?: string | undefined;
  /** Imports the bundle as a new tenant. */
  readonly clone?: CloneOptions | undefined;
  /** Appends an event about the import to the audit log. */
  readonly audit?: boolean;
  /** Takes a bundle whose secrets or names were replaced. */
  readonly acceptRedacted: boolean;
  readonly maxRowBytes: number;
  /** What may open a bundle that is encrypted. */
  readonly keys?: DecryptionKeys;
  /** Where the receipt goes; without it none is written, and the import cannot be undone. */
  readonly receipt?: ReceiptOptions | undefined;
  readonly progress: ProgressListener;
  /** Called when the bundle is staged and the plan is known, before it is applied. */
  readonly onPlan?: (plan: ImportPlan) => void;
}

/** What an import will do; the same object is previewed and applied. */
export interface ImportPlan {
  readonly tenant: TenantIdentity;
  /** The bundle's own tenant, where it is imported as another. */
  readonly clonedFrom?: TenantIdentity;
  readonly mode: ImportMode | "undo";
  /** Stands for what the plan was made of; see `hashPlan`. */
  readonly hash: string;
  readonly tables: readonly TablePlan[];
  readonly sequences: readonly SequenceMove[];
  /** Adapted, kept or noteworthy rows and columns, each with its reason. */
  readonly notes: readonly PlanNote[];
  readonly leftOut: readonly LeftOut[];
  readonly warnings: readonly string[];
}

/** Numbers of rows. */
export interface TablePlan {
  readonly table: string;
  readonly inBundle: number;
  /** With a selection: those that are chosen or needed, which the other numbers speak of. */
  readonly chosen?: number;
  readonly insert: number;
  readonly update: number;
  /** Rows that only get back a reference which the deletion of its target had cleared. */
  readonly relink: number;
  readonly delete: number;
  readonly unchanged: number;
  /** Rows that differ from the bundle's and stay as they are. */
  readonly keep: number;
}

export interface SequenceMove {
  readonly sequence: string;
  /** The value last drawn; before the first draw, one step ahead of the first. */
  readonly from: string;
  readonly to: string;
}

export interface PlanNote {
  readonly kind:
    | "stays-revoked"
    | "append-only"
    | "still-referenced"
    | "credentials"
    | "set"
    | "kept"
    /** Came along with a selected row. */
    | "along"
    /** Work that was in flight, and is ended. */
    | "fenced"
    /** A credential that comes back revoked. */
    | "expired"
    /** Stays out, because of a collision. */
    | "skipped"
    /** A live row stands for it. */
    | "adopted"
    /** Got another value because it is imported as another tenant. */
    | "cloned"
    /** Is appended to the audit log. */
    | "audit";
  readonly table: string;
  /** `(id)=(42)`; absent for a note about the whole table. */
  readonly row?: string;
  readonly reason: string;
}

export interface ImportResult {
  readonly plan: ImportPlan;
  /** False for a dry run, and when there was nothing to do. */
  readonly applied: boolean;
  readonly rowsInBundle: number;
  /** The file that takes it back with `undo`; null when no row was written. */
  readonly receipt: string | null;
  readonly seconds: number;
}
