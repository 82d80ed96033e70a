import { type RawBuilder, sql } from "kysely";
import type { BundleHeader, TenantIdentity } from "../bundle/format.ts";
import type { Table } from "../catalog/catalog.ts";
import { ownedBy, relation } from "../catalog/ownership.ts";
import { AppError, ExitCode } from "../errors.ts";
import { conjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { isDataException, SqlState, sqlStateOf } from "../postgres/sqlstates.ts";
import { rootOf } from "./find-tenant.ts";
import type { OpenSchema } from "./open-schema.ts";
import { findReplacedColumns, type ReplacedColumn, unnamedTexts } from "./redaction-columns.ts";
import { type ReplacementRules, replacementOf, saltSetting } from "./replacements.ts";

export interface RedactionChoice {
  /** Besides the secrets, also what names people and places. */
  readonly personal: boolean;
}

/** What an export puts in the place of a tenant's secrets, and perhaps of its names. */
export interface Redaction {
  readonly personal: boolean;
  /** As `schema.table.column`. */
  readonly columns: readonly string[];
  /** The tenant as its replaced root row names it. */
  readonly tenant: TenantIdentity;
  readonly warnings: readonly string[];
  /** By column: the expression that stands for it in the row `l`, of the column's own type. */
  of(table: string): ReadonlyMap<string, RawBuilder<unknown>>;
}

/**
 * Decides what is replaced in one tenant's bundle, and proves that the replaced rows still keep
 * the database's rules. It holds until the session's transaction ends.
 *
 * @throws {AppError} exit 2, naming each column whose values cannot be replaced
 */
export async function prepareRedaction(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
  choice: RedactionChoice,
): Promise<Redaction> {
  const found = await findReplacedColumns(session, schema, choice.personal);
  const { columns } = found;
  await drawSalt(session);
  const warnings = [...found.warnings];
  let rules: ReplacementRules = { foldCase: true };
  let replaced = replacements(columns, rules);
  await requireDomains(session, schema, tenant, columns, replaced);
  if (!(await areUnique(session, schema, tenant, columns, replaced))) {
    rules = { foldCase: false };
    replaced = replacements(columns, rules);
    await requireUnique(session, schema, tenant, columns, replaced);
    warnings.push(
      "some e-mail addresses differ in case alone, so that addresses are not compared without it",
    );
  }
  await requireChecks(session, schema, tenant, columns, replaced);
  if (choice.personal) warnings.push(...freeTextWarning(schema, columns));
  const of = (table: string) => replaced.get(table) ?? new Map();
  return {
    personal: choice.personal,
    columns: columns.map(({ table, column }) => `${table.name}.${column.name}`),
    tenant: await identityAfter(session, schema, tenant, of(schema.root.table)),
    warnings,
    of,
  };
}

/** What a plan says of a bundle whose values were replaced. */
export function redactionWarnings(header: BundleHeader): readonly string[] {
  if (header.redacted === undefined) return [];
  return [
    `the bundle is redacted: the rows that it writes have no valid credentials${header.redacted.personal ? ", and made-up names and addresses" : ""}`,
  ];
}

/**
 * Keeps a redacted bundle from being taken for a real one.
 *
 * @throws {AppError} exit 4 unless it is accepted
 */
export function refuseRedacted(header: BundleHeader, name: string, accepted: boolean): void {
  if (header.redacted === undefined || accepted) return;
  throw new AppError(
    "redacted-bundle",
    ExitCode.refused,
    `${name} is redacted: its secrets${header.redacted.personal ? ", names and addresses" : ""} were replaced when it was exported; nothing was written`,
    {
      hint: "It cannot bring a tenant back. To import it into a copy for development, add --accept-redacted.",
      data: { redacted: header.redacted },
    },
  );
}

type Replaced = ReadonlyMap<string, ReadonlyMap<string, RawBuilder<unknown>>>;

function replacements(columns: readonly ReplacedColumn[], rules: ReplacementRules): Replaced {
  return new Map(
    Map.groupBy(columns, ({ table }) => table.name)
      .entries()
      .map(([table, its]) => [
        table,
        new Map(its.map((one) => [one.column.name, replacementOf(one, rules)])),
      ]),
  );
}

/** Drawn by the server and kept in its session, so that it stands in no statement and no log. */
async function drawSalt(session: Session): Promise<void> {
  await sql`SELECT length(set_config(${saltSetting},
    gen_random_uuid()::text || gen_random_uuid()::text || ':', true))`.execute(session.db);
}

async function identityAfter(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
  replaced: ReadonlyMap<string, RawBuilder<unknown>>,
): Promise<TenantIdentity> {
  const { lookup, label } = schema.profile.root;
  const text = (column: string | undefined) =>
    column === undefined
      ? sql`NULL::text`
      : sql`(${replaced.get(column) ?? sql.id("l", column)})::text`;
  const { rows } = await sql<{ slug: string | null; name: string | null }>`
    SELECT ${text(lookup[0])} AS slug, ${text(label)} AS name FROM ${relation(rootOf(schema))} AS l
     WHERE ${sql.id("l", schema.root.key)}::text = ${tenant.id}`.execute(session.db);
  return { id: tenant.id, slug: rows[0]?.slug ?? null, name: rows[0]?.name ?? null };
}

/** The tenant's rows of a table as they will be; expressions of the catalog read them as `t`. */
function rowsAfter(
  schema: OpenSchema,
  tenant: TenantIdentity,
  table: Table,
  replaced: Replaced,
): RawBuilder<unknown> {
  const its = replaced.get(table.name);
  const columns = table.columns.map(({ name }) => {
    const value = its?.get(name);
    return value === undefined ? sql.id("l", name) : sql`${value} AS ${sql.id(name)}`;
  });
  const { catalog, root, ownership } = schema;
  return sql`(SELECT ${sql.join(columns)} FROM ${relation(table)} AS l
    WHERE ${ownedBy(catalog, root, ownership, table, "l", tenant.id)}) AS t`;
}

async function areUnique(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
  columns: readonly ReplacedColumn[],
  replaced: Replaced,
): Promise<boolean> {
  return (await firstDuplicate(session, schema, tenant, columns, replaced)) === undefined;
}

async function requireUnique(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
  columns: readonly ReplacedColumn[],
  replaced: Replaced,
): Promise<void> {
  const found = await firstDuplicate(session, schema, tenant, columns, replaced);
  if (found === undefined) return;
  throw cannotRedact(
    `the replaced values of table "${found.table}" would break its unique index "${found.index}"`,
  );
}

/** The unique index that replaced rows would break. */
async function firstDuplicate(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
  columns: readonly ReplacedColumn[],
  replaced: Replaced,
): Promise<{ readonly table: string; readonly index: string } | undefined> {
  for (const [table, its] of Map.groupBy(columns, (c) => c.table)) {
    const names = new Set(its.map(({ column }) => column.name));
    for (const index of table.uniqueIndexes) {
      if (!index.dependsOn.some((name) => names.has(name))) continue;
      const parts = index.expressions.map((expression) => sql`(${sql.raw(expression)})`);
      const counted = conjunction([
        ...(index.predicate === undefined ? [] : [sql`(${sql.raw(index.predicate)})`]),
        ...(index.nullsNotDistinct ? [] : parts.map((part) => sql`${part} IS NOT NULL`)),
      ]);
      const { rows } = await sql<{ found: boolean }>`
        SELECT EXISTS (SELECT FROM ${rowsAfter(schema, tenant, table, replaced)}
          WHERE ${counted} GROUP BY ${sql.join(parts)} HAVING count(*) > 1) AS found`.execute(
        session.db,
      );
      if (rows[0]?.found === true) return { table: table.name, index: index.name };
    }
  }
  return undefined;
}

async function requireChecks(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
  columns: readonly ReplacedColumn[],
  replaced: Replaced,
): Promise<void> {
  for (const [table, its] of Map.groupBy(columns, (c) => c.table)) {
    const names = new Set(its.map(({ column }) => column.name));
    for (const check of table.checks) {
      if (!check.columns.some((name) => names.has(name))) continue;
      const { rows } = await sql<{ found: boolean }>`
        SELECT EXISTS (SELECT FROM ${rowsAfter(schema, tenant, table, replaced)}
          WHERE NOT (${sql.raw(check.expression)})) AS found`.execute(session.db);
      if (rows[0]?.found !== true) continue;
      const read = check.columns.filter((name) => names.has(name)).join(", ");
      throw cannotRedact(
        `the replaced values of "${table.name}" (${read}) would break its check "${check.name}"`,
      );
    }
  }
}

/** A domain's own rules hold when every value can be cast to it. */
async function requireDomains(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
  columns: readonly ReplacedColumn[],
  replaced: Replaced,
): Promise<void> {
  for (const { table, column } of columns.filter(isDomain)) {
    try {
      await sql`SELECT count(${sql.id("t", column.name)})
        FROM ${rowsAfter(schema, tenant, table, replaced)}`.execute(session.db);
    } catch (error) {
      const state = sqlStateOf(error);
      if (state !== SqlState.checkViolation && !isDataException(state)) throw error;
      throw cannotRedact(
        `the replaced values of "${table.name}.${column.name}" would break the rules of its type, ${column.type}`,
        error,
      );
    }
  }
}

const plainTypes =
  /^(text|character varying|bpchar|name|bytea|uuid|jsonb?|inet|cidr|macaddr8?|(.*\.)?citext)$/;

function isDomain({ column }: ReplacedColumn): boolean {
  return !plainTypes.test(column.plainType);
}

function freeTextWarning(
  schema: OpenSchema,
  columns: readonly ReplacedColumn[],
): readonly string[] {
  const left = unnamedTexts(schema, columns);
  const [first] = left;
  if (first === undefined) return [];
  return [
    `${left.length} text or JSON columns are exported as they are, such as "${first}"; where one holds personal data, name it under "personal" in the profile`,
  ];
}

function cannotRedact(message: string, cause?: unknown): AppError {
  return new AppError("cannot-redact", ExitCode.usage, message, {
    hint: 'Change what the profile says of these columns under "secrets" or "personal"; docs/profile.md tells which types take which replacement.',
    ...(cause === undefined ? {} : { cause }),
  });
}
