/**
 * What `pg_catalog` says about the tables of one database, in the words of the rest of the
 * program. Table names are those of `qualifiedName`.
 */
export interface Catalog {
  readonly tables: ReadonlyMap<string, Table>;
}

export interface Table {
  readonly name: string;
  readonly schema: string;
  readonly relation: string;
  readonly oid: number;
  readonly kind: "table" | "partitioned" | "foreign";
  /** Belongs to an extension, and so to no tenant. */
  readonly ofExtension: boolean;
  readonly columns: readonly Column[];
  /** The primary key, or else a unique index over NOT NULL columns; undefined without either. */
  readonly key: readonly string[] | undefined;
  readonly uniqueIndexes: readonly UniqueIndex[];
  readonly foreignKeys: readonly ForeignKey[];
  readonly checks: readonly CheckConstraint[];
  readonly triggers: readonly Trigger[];
  readonly sequences: readonly OwnedSequence[];
  /** The relations that hold the rows: the leaves of a partitioned table, else itself. */
  readonly storage: readonly number[];
  readonly rowSecurity: boolean;
  /** The planner's guess, for progress only. */
  readonly estimatedRows: number;
}

export interface Column {
  readonly name: string;
  /** As `format_type` prints it, with length or precision: `character(2)`. */
  readonly type: string;
  /** The same without length or precision: `bpchar`. */
  readonly plainType: string;
  readonly notNull: boolean;
  /** Its values sort by a collation, which differs between databases. */
  readonly collatable: boolean;
  readonly hasDefault: boolean;
  readonly identity: "always" | "by default" | undefined;
  /** The expression of a generated column. */
  readonly generatedAs: string | undefined;
  readonly encoding: Encoding;
  /** The labels of an enum, in its order. */
  readonly enumLabels: readonly string[] | undefined;
}

/**
 * How a value travels. `value`: as the JSON that `row_to_json` makes of it, of the given
 * shape. `text`: as a string holding the output function's text, because `row_to_json` would
 * change the value on its way (arrays lose their bounds, json its form) or is not known not to.
 */
export type Encoding =
  | { readonly as: "value"; readonly shape: ValueShape }
  | { readonly as: "text"; readonly json: boolean };

export type ValueShape =
  | "boolean"
  | "int16"
  | "int32"
  | "int64"
  | "number"
  | "uuid"
  | "date"
  | "timestamp"
  | "timestamptz"
  | "enum"
  | "string";

export interface UniqueIndex {
  readonly name: string;
  readonly primary: boolean;
  /** SQL of each key column or expression, over the table's own column names. */
  readonly expressions: readonly string[];
  /** The column names, if the index has no expressions; in the order of `expressions`. */
  readonly columns: readonly string[] | undefined;
  /** Every column that the index's columns, expressions and condition read. */
  readonly dependsOn: readonly string[];
  /** SQL of a partial index's condition. */
  readonly predicate: string | undefined;
  readonly nullsNotDistinct: boolean;
  /** Checked at the end of the statement or transaction, not row by row. */
  readonly deferrable: boolean;
}

export type ForeignKeyAction = "no action" | "restrict" | "cascade" | "set null" | "set default";

export interface ForeignKey {
  readonly name: string;
  readonly from: string;
  readonly columns: readonly string[];
  readonly to: string;
  readonly toColumns: readonly string[];
  readonly onDelete: ForeignKeyAction;
  /** The columns that `ON DELETE SET NULL` clears: all, unless the constraint names some. */
  readonly clearedColumns: readonly string[];
  readonly deferrable: boolean;
  /** `profile` for a reference that the schema only means and the profile declares. */
  readonly source: "constraint" | "profile";
}

export interface CheckConstraint {
  readonly name: string;
  /** The columns that the expression reads. */
  readonly columns: readonly string[];
  readonly expression: string;
}

/** A user trigger that fires in an ordinary session. */
export interface Trigger {
  readonly name: string;
  /** Enabled with ENABLE ALWAYS. */
  readonly always: boolean;
  readonly onInsert: boolean;
  readonly onUpdate: boolean;
  readonly onDelete: boolean;
}

/** A sequence that a column draws its values from. */
export interface OwnedSequence {
  readonly schema: string;
  readonly relation: string;
  readonly column: string;
  readonly increment: bigint;
  /** The last value it can give, in its direction. */
  readonly limit: bigint;
}

export function columnOf(table: Table, name: string): Column | undefined {
  return table.columns.find((column) => column.name === name);
}

/** The columns whose values a bundle holds: all but the generated ones, which recompute. */
export function storedColumns(table: Table): readonly Column[] {
  return table.columns.filter((column) => column.generatedAs === undefined);
}

/** True when the reference must be there: no column of it can be NULL. */
export function isMandatory(table: Table, key: ForeignKey): boolean {
  return key.columns.every((name) => columnOf(table, name)?.notNull === true);
}
