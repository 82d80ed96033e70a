import { sql } from "kysely";
import { type Column, columnOf } from "../../catalog/catalog.ts";
import { relation } from "../../catalog/ownership.ts";
import { AppError, ExitCode } from "../../errors.ts";
import type { Session } from "../../postgres/session.ts";
import { isDataException, SqlState, sqlStateOf } from "../../postgres/sqlstates.ts";
import { rootOf } from "../find-tenant.ts";
import type { CloneOptions } from "../import-types.ts";
import type { OpenSchema } from "../open-schema.ts";

const longestSlug = 200;

/** The column that a tenant is called by. */
export function slugColumn(schema: OpenSchema): Column {
  const [name] = schema.profile.root.lookup;
  const column = name === undefined ? undefined : columnOf(rootOf(schema), name);
  if (column !== undefined) return column;
  throw new AppError(
    "no-slug-column",
    ExitCode.usage,
    `the profile "${schema.profile.name}" names no column that a tenant is called by`,
    { hint: 'Name it under "lookup" of "root" in the profile.' },
  );
}

/** The column with the name that people read, where there is one. */
export function labelColumn(schema: OpenSchema): Column | undefined {
  const { label } = schema.profile.root;
  return label === undefined ? undefined : columnOf(rootOf(schema), label);
}

/**
 * Refuses what the new tenant cannot be called, before anything is staged.
 *
 * @throws {AppError} exit 2 when slug or name are no values of their columns, 4 when a tenant
 *   answers to the slug already
 */
export async function refuseBadIdentity(
  session: Session,
  schema: OpenSchema,
  { slug, name }: CloneOptions,
): Promise<void> {
  const { root, profile } = schema;
  const column = slugColumn(schema);
  if (slug.trim() === "" || slug.length > longestSlug) {
    throw unusable(
      `the slug "${slug.slice(0, longestSlug)}" of the new tenant`,
      `is empty or has more than ${longestSlug} characters`,
    );
  }
  await requireValue(session, column, slug, `the slug "${slug}" of the new tenant`);
  if (name !== undefined) {
    const label = labelColumn(schema);
    if (label === undefined) {
      throw unusable("--name", `has no place: the profile "${profile.name}" names no label`);
    }
    await requireValue(session, label, name, `the name "${name}" of the new tenant`);
  }
  const called = [root.key, ...profile.root.lookup].map(
    (each) => sql`${sql.id("r", each)}::text = ${slug}`,
  );
  const { rows } = await sql<{ id: string }>`
    SELECT ${sql.id("r", root.key)}::text AS id FROM ${relation(rootOf(schema))} AS r
     WHERE ${sql.id("r", column.name)} = ${slug}::${sql.raw(column.plainType)}
        OR ${sql.join(called, sql` OR `)} LIMIT 1`.execute(session.db);
  const [taken] = rows;
  if (taken === undefined) return;
  throw new AppError(
    "tenant-exists",
    ExitCode.refused,
    `there is a tenant "${slug}" already (${taken.id}); nothing was written`,
    { hint: "Choose another slug: --as-tenant SLUG.", data: { tenant: taken.id } },
  );
}

/** The value is one of the column's type, and as long as it is. */
async function requireValue(
  session: Session,
  column: Column,
  value: string,
  what: string,
): Promise<void> {
  try {
    const { rows } = await sql<{ same: boolean }>`
      SELECT ${value}::text = ((${value}::text)::${sql.raw(column.type)})::text AS same`.execute(
      session.db,
    );
    if (rows[0]?.same === true) return;
  } catch (error) {
    const state = sqlStateOf(error);
    if (!isDataException(state) && state !== SqlState.checkViolation) throw error;
  }
  throw unusable(what, `is not a ${column.type}, as "${column.name}" demands`);
}

function unusable(what: string, why: string): AppError {
  return new AppError("invalid-tenant-name", ExitCode.usage, `${what} ${why}`, {
    hint: "Give another: --as-tenant SLUG, --name NAME.",
  });
}
