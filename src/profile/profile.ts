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
  /** By table: columns that name people and places, and what stands for their values. */
  readonly personal: Readonly<Record<string, Readonly<Record<string, PersonalValue>>>>;
  /** By table: the states in which work runs on, and what a restore makes of them. */
  readonly inFlight: Readonly<Record<string, InFlight>>;
  /** By table: how a credential is revoked. */
  readonly expire: Readonly<Record<string, Expiry>>;
  /** By table of a log: the column with the time of a row. */
  readonly logs: Readonly<Record<string, string>>;
  /** Names for parts of a tenant. */
  readonly groups: Readonly<Record<string, Group>>;
  readonly clone: ClonePolicy;
}

/** What a personal value is replaced by: one of the same kind, the same for equal values. */
export type PersonalValue = "email" | "name" | "address" | "text" | "json";

export interface InFlight {
  /** The column with the state. */
  readonly column: string;
  /** States of work that would be taken up again. */
  readonly states: readonly string[];
  /** By column: what such a row gets instead. */
  readonly set: Readonly<Record<string, string>>;
  /** Columns that become NULL, such as leases. */
  readonly clear: readonly string[];
}

export interface Expiry {
  /** Columns that get the time of the import. */
  readonly now: readonly string[];
  /** By column: what it gets with them, such as a status. */
  readonly set: Readonly<Record<string, string>>;
}

/** Tables, and whatever hangs on their rows. */
export interface Group {
  readonly tables: readonly string[];
  /** What one row of the first table is called: `site`, as in `site=berlin`. */
  readonly row?: string;
  /** Columns such a row may be named by, besides its key. */
  readonly by: readonly string[];
}

/** What becomes of a tenant's rows when they are imported as another tenant. */
export interface ClonePolicy {
  /** Tables that are left out, each with the reason. */
  readonly leaveOut: Readonly<Record<string, string>>;
  /** By table: columns that lose their value; where there must be one, it is one that fits nothing. */
  readonly drop: Readonly<Record<string, readonly string[]>>;
  /** By table and column: numbers that are unique over all tenants, and are given anew in this range. */
  readonly renumber: Readonly<Record<string, Readonly<Record<string, NumberRange>>>>;
  /** By table: columns whose whole value is a key that is not a uuid. */
  readonly ids: Readonly<Record<string, readonly string[]>>;
}

export interface NumberRange {
  readonly min: number;
  readonly max: number;
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
