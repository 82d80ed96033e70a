import type { BundleHeader, BundleTable, JsonSchema, LeftOut } from "../bundle/format.ts";
import { closedRowSchema, columnSchema } from "../bundle/row-schema.ts";
import { type Column, columnOf, storedColumns, type Table } from "../catalog/catalog.ts";
import { AppError, ExitCode } from "../errors.ts";
import { isOwned, keyOf } from "../profile/classify.ts";
import type { ImportOptions } from "./import-types.ts";
import type { OpenSchema } from "./open-schema.ts";

/** How a table of a bundle fits into the target, which may be older or newer. */
export interface TargetMatch {
  readonly source: BundleTable;
  /** Undefined when the target lacks the table. */
  readonly target: Table | undefined;
  /** The columns to restore, in the target's order. */
  readonly columns: readonly MatchedColumn[];
  /** Columns of the bundle that the target lacks. */
  readonly dropped: readonly string[];
  /** Columns that the target demands for a new row, and that neither bundle nor options give. */
  readonly unfilled: readonly string[];
  /** Made of the target's catalog; the bundle's own schema is not trusted. */
  readonly rowSchema: JsonSchema;
  readonly leftOut: readonly LeftOut[];
}

export interface MatchedColumn {
  readonly column: Column;
  readonly inBundle: boolean;
  /** The bundle's rows may have NULL there although the target forbids it. */
  readonly mayBeNull: boolean;
  /** The bundle's type, where it is another than the target's whatever its length. */
  readonly changedFrom: string | undefined;
  /** What `--set` gives for rows without a value. */
  readonly setTo: string | undefined;
}

type MatchOptions = Pick<ImportOptions, "set" | "leaveOut">;

/**
 * Brings the bundle's columns and the target's together.
 *
 * @throws {AppError} exit 4 when a key column of the target would get no value, 2 when an
 *   option names what does not exist
 */
export function matchColumns(
  schema: OpenSchema,
  header: BundleHeader,
  options: MatchOptions,
): ReadonlyMap<string, TargetMatch> {
  refuseUnknownNames(schema, header, options);
  const matches = new Map<string, TargetMatch>();
  for (const source of header.tables) {
    const owned = isOwned(schema, source.name) ? schema.catalog.tables.get(source.name) : undefined;
    const match = matchTable(source, owned, options);
    matches.set(source.name, match);
  }
  // Without its key a row cannot be found again, whatever its default.
  const keyless = [...matches.values()].flatMap(({ source, target, columns }) =>
    target === undefined
      ? []
      : keyOf(target)
          .filter((name) => !columns.some(({ column }) => column.name === name))
          .map((name) => `${source.name}.${name}`),
  );
  if (keyless.length > 0) throw noValue(keyless);
  return matches;
}

/** @param columns `table.column` of each column that would be left without a value */
export function noValue(columns: readonly string[]): AppError {
  return new AppError(
    "no-value-for-column",
    ExitCode.refused,
    `the target demands a value that the bundle does not have: ${columns.map((c) => `"${c}"`).join(", ")}; nothing was written`,
    {
      hint: `Say what new rows get there: ${columns.map((c) => `--set '${c}=VALUE'`).join(" ")}`,
      data: { columns },
    },
  );
}

function matchTable(
  source: BundleTable,
  target: Table | undefined,
  options: MatchOptions,
): TargetMatch {
  const inBundle = new Map(source.columns.map((column) => [column.name, column]));
  const stored = target === undefined ? [] : storedColumns(target);
  const storedNames = new Set(stored.map((column) => column.name));
  const columns = stored
    .map((column) => ({
      column,
      inBundle: inBundle.has(column.name),
      mayBeNull: column.notNull && inBundle.get(column.name)?.nullable !== false,
      changedFrom: changedType(inBundle.get(column.name)?.type, column.type),
      setTo: options.set.get(`${source.name}.${column.name}`),
    }))
    .filter(({ inBundle, setTo }) => inBundle || setTo !== undefined);
  const dropped = source.columns.map((c) => c.name).filter((name) => !storedNames.has(name));
  const properties = source.columns.map((column) => {
    const own = target === undefined ? undefined : columnOf(target, column.name);
    const fits = own !== undefined && own.generatedAs === undefined && own.type === column.type;
    return [
      column.name,
      fits
        ? columnSchema({ ...own, notNull: !column.nullable })
        : column.nullable
          ? { type: [...anyScalar, "null"] }
          : { type: anyScalar },
    ] as const;
  });
  const present = new Set(columns.map(({ column }) => column.name));
  const reason = "the target has no place for it";
  return {
    source,
    target,
    columns,
    dropped: target === undefined ? [] : dropped,
    unfilled: stored
      .filter((column) => column.notNull && !column.hasDefault && !present.has(column.name))
      .map((column) => column.name),
    rowSchema: closedRowSchema(new Map(properties)),
    leftOut:
      target === undefined
        ? [{ table: source.name, reason }]
        : dropped.map((name) => ({ column: `${source.name}.${name}`, reason })),
  };
}

/** Undefined when the types differ in length or precision at most. */
function changedType(source: string | undefined, target: string): string | undefined {
  return source === undefined || withoutModifier(source) === withoutModifier(target)
    ? undefined
    : source;
}

/** `timestamp(3) with time zone` as `timestamp with time zone`. */
export function withoutModifier(type: string): string {
  return type.replace(/\([^)]*\)/, "");
}

/** The two sides disagree about the type; the column's input function decides. */
const anyScalar = ["string", "number", "boolean"];

function refuseUnknownNames(schema: OpenSchema, header: BundleHeader, options: MatchOptions): void {
  const inTarget = new Set(
    schema.tables.flatMap((table) => storedColumns(table).map((c) => `${table.name}.${c.name}`)),
  );
  const inBundle = new Set(
    header.tables.flatMap((table) => [
      table.name,
      ...table.columns.map((column) => `${table.name}.${column.name}`),
    ]),
  );
  const unknown = [
    ...[...options.set.keys()].filter((name) => !inTarget.has(name)).map((name) => `--set ${name}`),
    ...options.leaveOut.filter((name) => !inBundle.has(name)).map((name) => `--leave-out ${name}`),
  ];
  const [first] = unknown;
  if (first === undefined) return;
  throw new AppError(
    "unknown-name",
    ExitCode.usage,
    `${unknown.join(", ")}: there is no such column`,
    {
      hint: "Columns are named with schema and table, such as public.users.password_hash.",
    },
  );
}
