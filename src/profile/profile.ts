/**
 * What a catalog cannot say about a schema. The built-in profile `n-kudo` is one of these; others
 * come from a JSON file that `schemas/profile.schema.json` describes. Tables are named as in
 * bundles: `public.sites`.
 */
export interface Profile {
  readonly name: string;
  readonly version: number;
  readonly root: {
    readonly table: string;
    /** The column by which other tables know a tenant. */
    readonly key: string;
    /** Further unique columns a tenant may be named by on the command line. */
    readonly lookup: readonly string[];
    /** The column shown as the tenant's name. */
    readonly label?: string;
  };
  /** Where the names of applied migrations stand. */
  readonly migrations?: { readonly table: string; readonly column: string };
  /** Tables that belong to no tenant, each with the reason. */
  readonly global: Readonly<Record<string, string>>;
  /** Foreign keys that the schema only means. */
  readonly references: readonly ProfileReference[];
  /** By table: the columns of the foreign key to take where several lead to the root. */
  readonly ownership: Readonly<Record<string, readonly string[]>>;
  /** By table: columns that are set once and mean "no longer valid". */
  readonly oneWay: Readonly<Record<string, readonly string[]>>;
  /** By table: columns that say the same as the one-way ones, and stay as they are with them. */
  readonly oneWayWith: Readonly<Record<string, readonly string[]>>;
  /** Tables whose rows are never altered or deleted. */
  readonly appendOnly: readonly string[];
  /** Tables in which each row names the hash of the row before it. */
  readonly chain: Readonly<Record<string, ChainColumns>>;
  /** By table: columns whose values are never shown. */
  readonly secrets: Readonly<Record<string, readonly string[]>>;
}

export interface ProfileReference {
  readonly table: string;
  readonly columns: readonly string[];
  readonly references: string;
  readonly to: readonly string[];
}

export interface ChainColumns {
  readonly order: string;
  readonly previous: string;
  readonly own: string;
}
