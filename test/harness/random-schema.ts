import * as fc from "fast-check";
import type { Client } from "pg";
import { handMadeId } from "./hand-made.ts";

/** A table of a schema that nobody has thought of. Its first parent, or its tenant, is mandatory. */
export interface RandomTable {
  readonly key: "uuid" | "serial" | "text";
  /** With the tenant's key in a column of its own; else it is owned through its first parent. */
  readonly tenantColumn: boolean;
  readonly parents: readonly {
    /** Of an earlier table, modulo how many there are; none before the first. */
    readonly table: number;
    readonly nullable: boolean;
    readonly onDelete: "CASCADE" | "NO ACTION" | "SET NULL";
  }[];
  /** Refers to rows of its own table. */
  readonly self: boolean;
  /** A name that is unique within the tenant, or over all of them. */
  readonly unique: "no" | "tenant" | "all";
  readonly rows: number;
}

/** Something that happens to the first tenant's rows; they are picked modulo how many there are. */
export interface Change {
  readonly kind: "delete" | "edit" | "move" | "insert" | "remake" | "rename";
  readonly table: number;
  readonly row: number;
  readonly other: number;
}

export const randomTables: fc.Arbitrary<readonly RandomTable[]> = fc.array(
  fc.record({
    key: fc.constantFrom("uuid" as const, "serial" as const, "text" as const),
    tenantColumn: fc.boolean(),
    parents: fc.array(
      fc.record({
        table: fc.nat({ max: 9 }),
        nullable: fc.boolean(),
        onDelete: fc.constantFrom("CASCADE" as const, "NO ACTION" as const, "SET NULL" as const),
      }),
      { maxLength: 2 },
    ),
    self: fc.boolean(),
    unique: fc.constantFrom("no" as const, "tenant" as const, "all" as const),
    rows: fc.integer({ min: 1, max: 6 }),
  }),
  { minLength: 1, maxLength: 5 },
);

export const changes: fc.Arbitrary<readonly Change[]> = fc.array(
  fc.record({
    kind: fc.constantFrom(
      "delete" as const,
      "delete" as const,
      "edit" as const,
      "move" as const,
      "insert" as const,
      "remake" as const,
      "remake" as const,
      "rename" as const,
    ),
    table: fc.nat({ max: 9 }),
    row: fc.nat({ max: 99 }),
    other: fc.nat({ max: 99 }),
  }),
  { minLength: 1, maxLength: 10 },
);

/** What the profile says of every one of these schemas: three lines. */
export const randomProfile = {
  name: "random",
  root: { table: "random.tenants", lookup: ["slug"], label: "slug" },
};

interface Reference {
  readonly column: string;
  readonly to: string;
  readonly toIndex: number;
  readonly nullable: boolean;
  readonly onDelete: string;
}

/** A table with what follows from its description. */
interface Built {
  readonly name: string;
  readonly table: RandomTable;
  readonly type: string;
  readonly references: readonly Reference[];
}

const types = { uuid: "uuid", serial: "bigint", text: "text" } as const;

function build(tables: readonly RandomTable[]): readonly Built[] {
  return tables.map((table, index) => {
    const parents = index === 0 ? [] : table.parents;
    const references = parents.map((parent, i): Reference => {
      const toIndex = parent.table % index;
      // Without a tenant of its own, the way to it must not be interrupted.
      const nullable = (table.tenantColumn || i > 0) && parent.nullable;
      return {
        column: `parent${i}`,
        to: `random.t${toIndex}`,
        toIndex,
        nullable,
        onDelete: parent.onDelete === "SET NULL" && !nullable ? "CASCADE" : parent.onDelete,
      };
    });
    const self: Reference = {
      column: "self",
      to: `random.t${index}`,
      toIndex: index,
      nullable: true,
      onDelete: "NO ACTION",
    };
    return {
      name: `random.t${index}`,
      table,
      type: types[table.key],
      references: table.self ? [...references, self] : references,
    };
  });
}

const hasTenant = ({ table, references }: Built) =>
  table.tenantColumn || references.every((reference) => reference.column === "self");

function definition(built: Built, all: readonly Built[]): string {
  const { name, table, references } = built;
  const columns = [`id ${table.key === "serial" ? "bigserial" : built.type} PRIMARY KEY`];
  if (hasTenant(built)) {
    columns.push("tenant_id uuid NOT NULL REFERENCES random.tenants ON DELETE CASCADE");
  }
  for (const { column, to, toIndex, nullable, onDelete } of references) {
    columns.push(
      `${column} ${all[toIndex]?.type} ${nullable ? "" : "NOT NULL"} REFERENCES ${to} ON DELETE ${onDelete}`,
    );
  }
  columns.push("name text", "n numeric", "doc jsonb", "at timestamptz");
  if (table.unique === "all") columns.push("UNIQUE (name)");
  if (table.unique === "tenant" && hasTenant(built)) columns.push("UNIQUE (tenant_id, name)");
  return `CREATE TABLE ${name} (${columns.join(", ")})`;
}

const values = ["NULL", "'plain'", "'ünï \" \\ ''q'' \n'", "''"];
const numbers = ["NULL", "1.0", "1.00", "-12345678901234567890.5"];
const documents = ["NULL", "'null'", `'{"a": [1, {"b": null}], "é": "\\\\"}'`, "'[]'"];
const times = ["NULL", "'2024-02-29 12:34:56.789012+02'", "'infinity'", "'2000-01-01'"];

const tenantId = (tenant: number) => handMadeId(900_000 + tenant);

function keyOf(built: Built, tableIndex: number, tenant: number, row: number): string {
  const number = 1 + tenant * 100 + row;
  switch (built.table.key) {
    case "uuid":
      return `'${handMadeId(tableIndex * 1000 + number)}'`;
    case "serial":
      return String(number);
    case "text":
      return `'Key ${number}'`;
  }
}

/** Makes the schema, and two tenants with rows in it. */
export async function makeRandomSchema(
  client: Client,
  tables: readonly RandomTable[],
): Promise<void> {
  const all = build(tables);
  await client.query(`DROP SCHEMA IF EXISTS random CASCADE; CREATE SCHEMA random;
    CREATE TABLE random.tenants (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE, note text);
    ${all.map((built) => definition(built, all)).join(";\n")};
    INSERT INTO random.tenants VALUES ('${tenantId(0)}', 'first', 'x'), ('${tenantId(1)}', 'second', NULL)`);
  for (const tenant of [0, 1]) {
    for (const [index, built] of all.entries()) {
      for (let row = 0; row < built.table.rows; row += 1) {
        await client.query(insertion(all, index, tenant, row, row, nameOf(index, tenant, row)));
      }
    }
  }
}

const nameOf = (table: number, tenant: number, row: number) => `name ${table} ${tenant} ${row}`;

function insertion(
  all: readonly Built[],
  index: number,
  tenant: number,
  row: number,
  variant: number,
  name: string,
): string {
  const built = all[index];
  if (built === undefined) throw new Error(`there is no table ${index}`);
  const fields = new Map<string, string>([["id", keyOf(built, index, tenant, row)]]);
  if (hasTenant(built)) fields.set("tenant_id", `'${tenantId(tenant)}'`);
  for (const { column, toIndex, nullable } of built.references) {
    const parent = all[toIndex];
    if (parent === undefined) throw new Error(`there is no table ${toIndex}`);
    const self = toIndex === index;
    const target = self ? Math.min(row, parent.table.rows) - 1 : variant % parent.table.rows;
    const empty = (nullable && variant % 3 === 2) || target < 0;
    fields.set(column, empty ? "NULL" : keyOf(parent, toIndex, tenant, target));
  }
  const text = values[variant % values.length] ?? "NULL";
  fields.set("name", built.table.unique === "no" ? text : `'${name}'`);
  fields.set("n", numbers[variant % numbers.length] ?? "NULL");
  fields.set("doc", documents[variant % documents.length] ?? "NULL");
  fields.set("at", times[variant % times.length] ?? "NULL");
  return `INSERT INTO ${built.name} (${[...fields.keys()].join(", ")}) VALUES (${[...fields.values()].join(", ")})`;
}

/** Does all of it to the first tenant, as far as the constraints allow. */
export async function applyChanges(
  client: Client,
  tables: readonly RandomTable[],
  list: readonly Change[],
): Promise<void> {
  const all = build(tables);
  await client.query("BEGIN");
  for (const [at, change] of list.entries()) {
    const index = change.table % (all.length + 1);
    await client.query("SAVEPOINT change");
    try {
      await client.query(
        index === all.length ? changeOfRoot(change) : changeOf(all, index, change, at),
      );
    } catch {
      await client.query("ROLLBACK TO change");
    }
  }
  await client.query("COMMIT");
}

function changeOfRoot({ kind }: Change): string {
  const own = `WHERE id = '${tenantId(0)}'`;
  return kind === "delete"
    ? `DELETE FROM random.tenants ${own}`
    : `UPDATE random.tenants SET note = 'changed' ${own}`;
}

function changeOf(all: readonly Built[], index: number, change: Change, at: number): string {
  const built = all[index];
  if (built === undefined) throw new Error(`there is no table ${index}`);
  const row = change.row % built.table.rows;
  const own = `WHERE id = ${keyOf(built, index, 0, row)}`;
  switch (change.kind) {
    case "delete":
      return `DELETE FROM ${built.name} ${own}`;
    case "edit":
      return `UPDATE ${built.name} SET n = ${numbers[change.other % 4] ?? "0"}, doc = ${documents[(change.other + 1) % 4] ?? "NULL"}, at = now() ${own}`;
    case "move": {
      const reference = built.references[change.other % Math.max(1, built.references.length)];
      const parent = reference === undefined ? undefined : all[reference.toIndex];
      if (reference === undefined || parent === undefined)
        return `UPDATE ${built.name} SET n = 7 ${own}`;
      return `UPDATE ${built.name} SET ${reference.column} = ${keyOf(parent, reference.toIndex, 0, change.other % parent.table.rows)} ${own}`;
    }
    case "insert":
      return insertion(all, index, 0, 40 + at, change.other, `new ${at}`);
    case "remake":
      // Lost, and made anew by hand, under another key.
      return `DELETE FROM ${built.name} ${own};
        ${insertion(all, index, 0, 40 + at, change.other, nameOf(index, 0, row))}`;
    case "rename":
      // Sometimes to a name that another row of the bundle has, or had.
      return `UPDATE ${built.name} SET name = 'name ${index} 0 ${change.other % (built.table.rows + 1)}' ${own}`;
  }
}
