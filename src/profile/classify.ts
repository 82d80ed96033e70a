import {
  type Catalog,
  columnOf,
  type ForeignKey,
  storedColumns,
  type Table,
} from "../catalog/catalog.ts";
import { orderTables } from "../catalog/order.ts";
import { findOwnership, type Ownership, type Root } from "../catalog/ownership.ts";
import { AppError, ExitCode } from "../errors.ts";
import { nKudo } from "./n-kudo.ts";
import { missingColumn } from "./named-columns.ts";
import type { Profile, ProfileReference } from "./profile.ts";

/** A catalog read with a profile: which tables are a tenant's own, and in which order. */
export interface TenantSchema {
  readonly profile: Profile;
  readonly catalog: Catalog;
  readonly root: Root;
  readonly ownership: Ownership;
  /** The tables of a tenant, parents first. */
  readonly tables: readonly Table[];
  /** By table: its foreign keys and the profile's references. */
  readonly references: ReadonlyMap<string, readonly ForeignKey[]>;
  /** References that are linked after both sides are inserted. */
  readonly linkedLater: readonly ForeignKey[];
  /** Tables that nothing classifies; empty unless they were accepted. */
  readonly unclassified: readonly string[];
  readonly warnings: readonly string[];
}

export interface ClassifyOptions {
  /** Go on when tables are unclassified, and name them instead. */
  readonly acceptUnclassified?: boolean;
  /** Columns by table that the shipped schemas know; others are worth a warning. */
  readonly knownColumns?: ReadonlyMap<string, ReadonlySet<string>>;
}

/**
 * Brings catalog and profile together and checks that every table is accounted for: owned
 * through a path to the root, declared global, or part of an extension.
 *
 * @throws {AppError} exit 2, with each unclassified table and what to write into the profile.
 */
export function classify(
  catalog: Catalog,
  profile: Profile,
  options: ClassifyOptions = {},
): TenantSchema {
  const rootTable = requireRoot(catalog, profile);
  requireColumns(catalog, profile);
  const root: Root = { table: rootTable.name, key: profile.root.key };
  const references = collectReferences(catalog, profile);
  const global = new Set([
    ...Object.keys(profile.global),
    ...[...catalog.tables.values()].filter((t) => t.ofExtension).map((t) => t.name),
  ]);
  const preferred = preferredKeys(profile, references);
  const ownership = findOwnership(catalog, root, references, preferred, global);
  const unclassified = [...catalog.tables.keys()].filter(
    (name) => !ownership.has(name) && !global.has(name),
  );
  if (unclassified.length > 0 && options.acceptUnclassified !== true) {
    throw unclassifiedError(unclassified, catalog, root);
  }
  const owned = [...catalog.tables.values()].filter((table) => ownership.has(table.name));
  refuseUnsupported(owned);
  const order = orderTables(owned, references);
  const tables = order.names.flatMap((name) => catalog.tables.get(name) ?? []);
  return {
    profile,
    catalog,
    root,
    ownership,
    tables,
    references,
    linkedLater: order.linkedLater,
    unclassified,
    warnings: unknownColumnWarnings(tables, options.knownColumns),
  };
}

export function isOwned(schema: TenantSchema, table: string): boolean {
  return schema.ownership.has(table);
}

/** All references of a table, constraints first. */
export function referencesOf(schema: TenantSchema, table: string): readonly ForeignKey[] {
  return schema.references.get(table) ?? [];
}

/** Columns that are set once and mean "no longer valid": also those by which a table's credentials expire. */
export function oneWayColumns({ profile }: TenantSchema, table: string): readonly string[] {
  return [...new Set([...(profile.oneWay[table] ?? []), ...(profile.expire[table]?.now ?? [])])];
}

/** Columns that say the same as the one-way ones. */
export function oneWayCompanions({ profile }: TenantSchema, table: string): readonly string[] {
  const also = Object.keys(profile.expire[table]?.set ?? {});
  return [...new Set([...(profile.oneWayWith[table] ?? []), ...also])];
}

/** The key of a table of a tenant; `classify` has refused tables without one. */
export function keyOf(table: Table): readonly string[] {
  if (table.key === undefined) throw new Error(`table ${table.name} has no key`);
  return table.key;
}

function requireRoot(catalog: Catalog, profile: Profile): Table {
  const { table: name, key, lookup } = profile.root;
  const table = catalog.tables.get(name);
  if (table === undefined) {
    throw new AppError(
      "no-root-table",
      ExitCode.usage,
      `the database has no table "${name}", the root of profile "${profile.name}"`,
      {
        hint: "Check that DATABASE_URL names the right database; for a schema that is not N-Kudo's, give its profile with --profile FILE.",
      },
    );
  }
  for (const column of [key, ...lookup]) {
    if (columnOf(table, column) === undefined) {
      throw profileError(profile, `root column "${column}" does not exist in "${name}"`);
    }
  }
  return table;
}

/** The built-in profile fits databases that lack columns of later migrations. */
function requireColumns(catalog: Catalog, profile: Profile): void {
  const missing = profile === nKudo ? undefined : missingColumn(catalog, profile);
  if (missing === undefined) return;
  const { entry, table, column } = missing;
  throw profileError(profile, `"${table}" has no column "${column}", which "${entry}" names`);
}

function collectReferences(
  catalog: Catalog,
  profile: Profile,
): ReadonlyMap<string, readonly ForeignKey[]> {
  const declared = Map.groupBy(
    profile.references.filter((reference) => catalog.tables.has(reference.table)),
    (reference) => reference.table,
  );
  return new Map(
    [...catalog.tables.values()].map((table) => [
      table.name,
      [
        ...table.foreignKeys,
        ...(declared.get(table.name) ?? []).map((r) => toForeignKey(catalog, profile, table, r)),
      ],
    ]),
  );
}

function toForeignKey(
  catalog: Catalog,
  profile: Profile,
  table: Table,
  reference: ProfileReference,
): ForeignKey {
  const target = catalog.tables.get(reference.references);
  const missing =
    target === undefined
      ? `table "${reference.references}"`
      : (reference.columns.find((c) => columnOf(table, c) === undefined) ??
        reference.to.find((c) => columnOf(target, c) === undefined));
  if (missing !== undefined || reference.columns.length !== reference.to.length) {
    throw profileError(
      profile,
      `the reference from "${reference.table}" (${reference.columns.join(", ")}) to "${reference.references}" (${reference.to.join(", ")}) does not fit the database${missing === undefined ? "" : `: ${missing} does not exist`}`,
    );
  }
  return {
    name: `${reference.columns.join("_")} (profile)`,
    from: table.name,
    columns: reference.columns,
    to: reference.references,
    toColumns: reference.to,
    onDelete: "no action",
    clearedColumns: [],
    deferrable: true,
    source: "profile",
  };
}

function preferredKeys(
  profile: Profile,
  references: ReadonlyMap<string, readonly ForeignKey[]>,
): ReadonlyMap<string, ForeignKey> {
  const preferred = new Map<string, ForeignKey>();
  for (const [table, columns] of Object.entries(profile.ownership)) {
    if (!references.has(table)) continue;
    const key = references.get(table)?.find((k) => k.columns.join("\0") === columns.join("\0"));
    if (key === undefined) {
      throw profileError(
        profile,
        `"${table}" has no foreign key over (${columns.join(", ")}), which "ownership" names`,
      );
    }
    preferred.set(table, key);
  }
  return preferred;
}

function refuseUnsupported(owned: readonly Table[]): void {
  const keyless = owned.filter((table) => table.key === undefined).map((table) => table.name);
  if (keyless.length > 0) {
    throw new AppError(
      "table-without-key",
      ExitCode.usage,
      `no primary key, and no unique index over NOT NULL columns: ${quoted(keyless)}`,
      {
        hint: 'Rows of such a table cannot be told apart. Give it a primary key, or declare it under "global" in the profile if it holds nothing of a tenant\'s.',
        details: keyless,
      },
    );
  }
  const foreign = owned.filter((table) => table.kind === "foreign").map((table) => table.name);
  if (foreign.length > 0) {
    throw new AppError(
      "foreign-table",
      ExitCode.usage,
      `foreign tables cannot be restored in one transaction: ${quoted(foreign)}`,
      { hint: 'Declare them under "global" in the profile, with the reason.' },
    );
  }
}

function unclassifiedError(names: readonly string[], catalog: Catalog, root: Root): AppError {
  const [first = ""] = names;
  const details = names.map((name) => {
    const table = catalog.tables.get(name);
    const columns = table?.columns.map((column) => column.name).join(", ") ?? "";
    return `${name} (${columns})`;
  });
  return new AppError(
    "unclassified-table",
    ExitCode.usage,
    names.length === 1
      ? `table "${first}" has no foreign key that leads to "${root.table}", and the profile does not classify it`
      : `${names.length} tables have no foreign key that leads to "${root.table}", and the profile does not classify them`,
    {
      hint:
        `Say in the profile what they are: "global": {"${first}": "why it belongs to no tenant"}, or "references": ` +
        `[{"table": "${first}", "columns": ["…_id"], "references": "${root.table}", "to": ["${root.key}"]}]. ` +
        "To go on without them this time, use --accept-unclassified: they are then named under leftOut.",
      details,
      data: { tables: names },
    },
  );
}

function unknownColumnWarnings(
  tables: readonly Table[],
  known: ReadonlyMap<string, ReadonlySet<string>> | undefined,
): readonly string[] {
  if (known === undefined) return [];
  return tables.flatMap((table) => {
    const columns = known.get(table.name);
    if (columns === undefined) {
      return [
        `table "${table.name}" is not known to the profile; it is included, because its foreign keys lead to the tenant`,
      ];
    }
    return storedColumns(table)
      .filter((column) => !columns.has(column.name))
      .map(
        (column) =>
          `column "${table.name}.${column.name}" is not known to the profile; it is included, with the type that the catalog gives it`,
      );
  });
}

export function profileError(profile: { readonly name: string }, message: string): AppError {
  return new AppError("invalid-profile", ExitCode.usage, `profile "${profile.name}": ${message}`, {
    hint: "schemas/profile.schema.json describes what a profile may say; docs/profile.md explains it.",
  });
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ");
}
