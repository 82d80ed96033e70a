/** Bundle format 1, as `docs/format.md` describes it. */
export const formatVersion = 1;

/** A row's line, its line end included, is at most this long unless the operator says otherwise. */
export const defaultMaxRowBytes = 64 * 1024 * 1024;

/** The header names every table and column; this is far more than any schema needs. */
export const maxMarkerBytes = 16 * 1024 * 1024;

export const markerKeys = ["$bundle", "$table", "$end", "$trailer"] as const;

export interface BundleHeader {
  readonly format: number;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly tool: string;
  readonly tenant: TenantIdentity;
  readonly source: {
    readonly server: string;
    readonly database: string;
    readonly snapshotLsn: string;
    readonly migrations: readonly string[];
  };
  readonly profile: { readonly name: string; readonly version: number };
  /** What was chosen of the tenant; null for all of it. */
  readonly selection: Readonly<Record<string, unknown>> | null;
  /** Present when values were replaced, so that the bundle cannot bring its tenant back. */
  readonly redacted?: RedactedValues;
  /** Parents first; the bundle's sections stand in this order. */
  readonly tables: readonly BundleTable[];
  readonly leftOut: readonly LeftOut[];
  /** Says that this is the receipt of an import: what stood there before. */
  readonly receipt?: ReceiptHeader;
}

/** What a receipt was written for. */
export interface ReceiptHeader {
  readonly of: "import" | "undo";
  /** The bundle or receipt that was taken, as messages called it. */
  readonly source: string;
  readonly mode: string;
  /** The number of the transaction that wrote the rows; it tells whether it was committed. */
  readonly transaction: string;
  /** The server's system identifier; null where the role may not see it. */
  readonly cluster: string | null;
  /** By table: the columns that the hash of a row that was inserted is made of. */
  readonly inserted: readonly { readonly table: string; readonly columns: readonly string[] }[];
}

export interface RedactedValues {
  readonly secrets: true;
  /** What names people and places was replaced too. */
  readonly personal: boolean;
  /** As `schema.table.column`. */
  readonly columns?: readonly string[];
}

export interface TenantIdentity {
  readonly id: string;
  readonly slug: string | null;
  readonly name: string | null;
}

export interface BundleTable {
  readonly name: string;
  readonly columns: readonly BundleColumn[];
  readonly primaryKey: readonly string[];
  /** The way to the tenant, a step an entry: `agent_id -> public.agents (id)`. */
  readonly ownedThrough: readonly string[];
  /** Foreign keys to other tables of the bundle, so that they can be checked offline. */
  readonly references: readonly BundleReference[];
  /** For a hash-chained table: its order, and where the previous and the own hash stand. */
  readonly chain?: { readonly order: string; readonly previous: string; readonly own: string };
  /** JSON Schema of a row. */
  readonly schema: JsonSchema;
}

export interface BundleColumn {
  readonly name: string;
  readonly type: string;
  readonly nullable: boolean;
  /** `text` when the value travels as the text of the type's output function. */
  readonly encoding: "value" | "text";
}

export interface BundleReference {
  readonly columns: readonly string[];
  readonly table: string;
  readonly to: readonly string[];
}

export type LeftOut =
  | { readonly table: string; readonly reason: string }
  | { readonly column: string; readonly reason: string };

export type JsonSchema = Readonly<Record<string, unknown>>;

export interface TableEnd {
  readonly table: string;
  readonly rows: number;
  /** Of the raw row lines with their line ends, lower-case hex. */
  readonly sha256: string;
}

export interface Trailer {
  readonly tables: number;
  readonly rows: number;
  /** Of all lines before the trailer that are not rows, with their line ends. */
  readonly sha256: string;
}

export const headerLine = (header: BundleHeader): string => markerLine({ $bundle: header });
export const tableLine = (name: string): string => markerLine({ $table: name });
export const endLine = (end: TableEnd): string =>
  markerLine({ $end: { table: end.table, rows: end.rows, sha256: end.sha256 } });
export const trailerLine = (trailer: Trailer): string =>
  markerLine({
    $trailer: { tables: trailer.tables, rows: trailer.rows, sha256: trailer.sha256 },
  });

function markerLine(marker: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify(marker)}\n`;
}
