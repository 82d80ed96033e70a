import type { BundleHeader } from "../../bundle/format.ts";
import type { Table } from "../../catalog/catalog.ts";
import { AppError, ExitCode } from "../../errors.ts";
import { keyOf, type TenantSchema } from "../../profile/classify.ts";
import type { Selection } from "../import-types.ts";
import { didYouMean, nearest } from "./nearest.ts";

/** One item of a selection, found in the schema. */
export type SelectionItem =
  /** Every row of these tables; with `spreads`, also what hangs on them. */
  | {
      readonly kind: "tables";
      readonly text: string;
      readonly tables: readonly Table[];
      readonly spreads: boolean;
    }
  /** The rows with this value, as text, in the key or in one of the columns; and what hangs on them. */
  | {
      readonly kind: "rows";
      readonly text: string;
      readonly table: Table;
      readonly byKey: boolean;
      readonly columns: readonly string[];
      readonly value: string;
    };

export interface ParsedSelection {
  readonly select: readonly SelectionItem[];
  readonly exclude: readonly SelectionItem[];
  readonly since: string | undefined;
  /** Nothing is selected in particular, or the tenant's own row with what hangs on it. */
  readonly everything: boolean;
  readonly given: Selection;
}

/** What parsing needs to know of a schema. */
export type NamedSchema = Pick<TenantSchema, "profile" | "tables" | "root">;

/**
 * Finds what each item of a selection names: a group, a table, rows of a group (`site=berlin`), or
 * rows by a column (`microvms.name=vm-7`). Values may hold `=` and dots.
 *
 * @throws {AppError} exit 2 for an item that names nothing, with the nearest names
 */
export function parseSelection(schema: NamedSchema, given: Selection): ParsedSelection {
  const select = given.select.map((text) => parseItem(schema, text, "--select"));
  const exclude = given.exclude.map((text) => parseItem(schema, text, "--exclude"));
  const everything = select.length === 0 || select.some((item) => spreadsFromRoot(schema, item));
  const nothing = exclude.find((item) => spreadsFromRoot(schema, item));
  if (nothing !== undefined) {
    throw new AppError(
      "nothing-selected",
      ExitCode.usage,
      `--exclude "${nothing.text}" leaves out the tenant itself, and so everything`,
      { hint: groupsHint(schema) },
    );
  }
  return { select, exclude, since: given.since, everything, given };
}

/**
 * The selection that a bundle was made with; undefined for a whole tenant.
 *
 * @throws {AppError} exit 3 when it is none
 */
export function selectionOfHeader(header: Pick<BundleHeader, "selection">): Selection | undefined {
  if (header.selection === null) return undefined;
  const { select, exclude, since } = header.selection;
  const items = (value: unknown) => (value === undefined ? [] : value);
  const chosen = items(select);
  const left = items(exclude);
  if (!isTexts(chosen) || !isTexts(left) || !(since == null || isTime(since))) {
    throw new AppError(
      "corrupt-bundle",
      ExitCode.invalidInput,
      "the selection in the bundle's header cannot be read",
      {
        hint: "The header was altered, or a newer tool wrote it. Take another copy of the bundle.",
      },
    );
  }
  return { select: chosen, exclude: left, ...(since == null ? {} : { since }) };
}

/** How a selection stands in a bundle's header. */
export function headerSelection({ select, exclude, since }: Selection): BundleHeader["selection"] {
  return { select, exclude, since: since ?? null };
}

/** A selection in words: `site=berlin, users; without audit; logs since 2026-01-31T00:00Z`. */
export function describeSelection({ select, exclude, since }: Selection): string {
  return [
    select.length === 0 ? "everything" : select.join(", "),
    ...(exclude.length === 0 ? [] : [`without ${exclude.join(", ")}`]),
    ...(since === undefined ? [] : [`logs since ${since}`]),
  ].join("; ");
}

function isTexts(value: unknown): value is readonly string[] {
  return (
    Array.isArray(value) && value.length <= 10_000 && value.every((v) => typeof v === "string")
  );
}

function isTime(value: unknown): value is string {
  return typeof value === "string" && value.length < 100 && !Number.isNaN(Date.parse(value));
}

type Flag = "--select" | "--exclude";

function parseItem(schema: NamedSchema, text: string, flag: Flag): SelectionItem {
  if (text.trim() === "") throw unknown(`an item of ${flag} is empty`, groupsHint(schema));
  const { groups } = schema.profile;
  if (Object.hasOwn(groups, text)) return groupItem(schema, text);
  const table = tableNamed(schema, text, flag);
  if (table !== undefined) return { kind: "tables", text, tables: [table], spreads: false };
  return rowsOfGroup(schema, text) ?? rowsByColumn(schema, text, flag) ?? fail(schema, text, flag);
}

function groupItem(schema: NamedSchema, name: string): SelectionItem {
  const names = new Set(schema.profile.groups[name]?.tables);
  const tables = schema.tables.filter((table) => names.has(table.name));
  if (tables.length === 0) throw withoutTables(name, [...names]);
  return { kind: "tables", text: name, tables, spreads: true };
}

function withoutTables(group: string, tables: readonly string[]): AppError {
  return unknown(
    `the database has no table of group "${group}": ${tables.map((t) => `"${t}"`).join(", ")}`,
    "Older schemas lack some tables; leave the item out.",
  );
}

/** By its full name, or by its own if only one table of the tenant has that. */
function tableNamed(schema: NamedSchema, name: string, flag: Flag): Table | undefined {
  const full = schema.tables.find((table) => table.name === name);
  if (full !== undefined) return full;
  const bare = schema.tables.filter((table) => bareNames(table).includes(name));
  if (bare.length > 1) throw ambiguous(name, flag, bare);
  return bare[0];
}

function ambiguous(name: string, flag: Flag, tables: readonly Table[]): AppError {
  return unknown(
    `${flag} "${name}" may mean ${tables.map((table) => `"${table.name}"`).join(" or ")}`,
    "Name the table with its schema.",
  );
}

function bareNames(table: Table): readonly string[] {
  // As it is called, and as it stands quoted in its full name.
  return [table.relation, table.name.slice(table.name.lastIndexOf(quotedOr(table)))];
}

function quotedOr(table: Table): string {
  const quoted = `"${table.relation.replaceAll('"', '""')}"`;
  return table.name.endsWith(quoted) ? quoted : table.relation;
}

function rowsOfGroup(schema: NamedSchema, text: string): SelectionItem | undefined {
  for (const [name, group] of Object.entries(schema.profile.groups)) {
    if (group.row === undefined || !text.startsWith(`${group.row}=`)) continue;
    const [first = ""] = group.tables;
    const table = schema.tables.find((candidate) => candidate.name === first);
    if (table === undefined) throw withoutTables(name, [first]);
    const columns = group.by.filter((by) => table.columns.some((column) => column.name === by));
    const value = text.slice(group.row.length + 1);
    return { kind: "rows", text, table, byKey: true, columns, value };
  }
  return undefined;
}

function rowsByColumn(schema: NamedSchema, text: string, flag: Flag): SelectionItem | undefined {
  const matches = (names: (table: Table) => readonly string[]) =>
    schema.tables.flatMap((table): SelectionItem[] => {
      const prefix = names(table).find((name) => text.startsWith(`${name}.`));
      if (prefix === undefined) return [];
      const rest = text.slice(prefix.length + 1);
      const column = table.columns
        .map(({ name }) => name)
        .filter((name) => rest.startsWith(`${name}=`))
        // A column's own name may hold an equals sign.
        .sort((a, b) => b.length - a.length)[0];
      if (column === undefined) return [];
      const value = rest.slice(column.length + 1);
      return [{ kind: "rows", text, table, byKey: false, columns: [column], value }];
    });
  const full = matches((table) => [table.name]);
  const found = full.length > 0 ? full : matches(bareNames);
  if (found.length > 1) {
    const tables = found.flatMap((item) => (item.kind === "rows" ? [item.table] : item.tables));
    throw ambiguous(text.slice(0, text.indexOf("=")), flag, tables);
  }
  return found[0];
}

/** Says what is wrong with an item that names nothing. */
function fail(schema: NamedSchema, text: string, flag: Flag): never {
  const equals = text.indexOf("=");
  const word = equals < 0 ? text : text.slice(0, equals);
  const dot = word.lastIndexOf(".");
  const table = dot < 0 ? undefined : tableNamed(schema, word.slice(0, dot), flag);
  if (table !== undefined) {
    const column = word.slice(dot + 1);
    const columns = table.columns.map(({ name }) => name);
    if (equals < 0 && columns.includes(column)) {
      throw unknown(
        `${flag} "${text}" names a column and no value`,
        `Rows are named by a value: ${text}=VALUE.`,
      );
    }
    throw unknown(
      `table "${table.name}" has no column "${column}"`,
      `${didYouMean(nearest(column, columns))}It has: ${columns.join(", ")}.`,
    );
  }
  const tables = schema.tables.flatMap(({ name, relation }) => [name, relation]);
  if (equals >= 0 && dot >= 0) {
    const name = word.slice(0, dot);
    throw unknown(
      `${flag} "${text}": the tenant has no table "${name}"`,
      `${didYouMean(nearest(name, tables))}Rows are named as table.column=value.`,
    );
  }
  const groups = Object.entries(schema.profile.groups);
  if (equals >= 0) {
    const rows = groups.flatMap(([, { row }]) => (row === undefined ? [] : [row]));
    throw unknown(
      `${flag} "${text}": there is no "${word}" to choose rows by`,
      `${didYouMean(nearest(word, rows))}Rows are named as table.column=value${rows.length === 0 ? "" : `, or by ${rows.map((row) => `${row}=`).join(", ")}`}.`,
    );
  }
  const near = nearest(word, [...groups.map(([name]) => name), ...tables]);
  throw unknown(
    `${flag} "${text}": there is no such group or table`,
    `${didYouMean(near)}${groupsHint(schema)}`,
  );
}

function groupsHint(schema: NamedSchema): string {
  const groups = Object.keys(schema.profile.groups);
  return groups.length === 0
    ? `The profile has no groups; name tables (${schema.tables.map(({ name }) => name).join(", ")}) or rows (table.column=value).`
    : `Groups: ${groups.join(", ")}. Tables are named as in public.sites, rows as in table.column=value.`;
}

function unknown(message: string, hint: string): AppError {
  return new AppError("unknown-selection", ExitCode.usage, message, { hint });
}

function spreadsFromRoot(schema: NamedSchema, item: SelectionItem): boolean {
  return item.kind === "rows"
    ? item.table.name === schema.root.table
    : item.spreads && item.tables.some((table) => table.name === schema.root.table);
}

/** How messages name the key that `byKey` compares. */
export function columnsOfItem(item: SelectionItem & { readonly kind: "rows" }): string {
  const key = item.byKey ? [keyOf(item.table).join(", ")] : [];
  return [...key, ...item.columns].join(" or ");
}
