import { type RawBuilder, sql } from "kysely";
import type { Table } from "../../catalog/catalog.ts";
import { ownedBy, relation } from "../../catalog/ownership.ts";
import type { TenantSchema } from "../../profile/classify.ts";
import type { StagedTable } from "../staging.ts";

/** Where rows of one tenant are looked for: among the live ones, or among the staged ones. */
export interface Side {
  readonly kind: "live" | "staged";
  /** The side's rows of a table, as an item of FROM without alias; undefined if it has none. */
  readonly rows: (table: string) => RawBuilder<unknown> | undefined;
  /** A condition on the row `alias`: it is the tenant's. */
  readonly owned: (table: Table, alias: string) => RawBuilder<boolean>;
  readonly has: (table: string, columns: readonly string[]) => boolean;
}

/** The tenant's rows in the database. */
export function liveSide(schema: TenantSchema, tenantKey: string): Side {
  const { catalog, root, ownership } = schema;
  const names = new Set(schema.tables.map(({ name }) => name));
  const find = (name: string) => (names.has(name) ? catalog.tables.get(name) : undefined);
  return {
    kind: "live",
    rows: (name) => {
      const table = find(name);
      return table === undefined ? undefined : relation(table);
    },
    owned: (table, alias) => ownedBy(catalog, root, ownership, table, alias, tenantKey),
    has: (name) => find(name) !== undefined,
  };
}

/** The rows of a bundle, or of its part that is staged already; all of them are one tenant's. */
export function stagedSide(
  tables: Iterable<Pick<StagedTable, "table" | "stage" | "present">>,
): Side {
  const byName = new Map([...tables].map((staged) => [staged.table.name, staged]));
  return {
    kind: "staged",
    rows: (name) => byName.get(name)?.stage,
    owned: () => sql`TRUE`,
    has: (name, columns) => {
      const present = byName.get(name)?.present;
      return present !== undefined && columns.every((column) => present.has(column));
    },
  };
}
