import { distance } from "fastest-levenshtein";
import { sql } from "kysely";
import type { TenantIdentity } from "../bundle/format.ts";
import { relation } from "../catalog/ownership.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Session } from "../postgres/session.ts";
import type { TenantSchema } from "../profile/classify.ts";

/** Every tenant, ordered by the first lookup column. */
export async function listIdentities(
  session: Session,
  schema: TenantSchema,
): Promise<readonly TenantIdentity[]> {
  const { rows } = await sql<TenantIdentity>`
    SELECT ${identityColumns(schema)}
      FROM ${relation(rootOf(schema))} AS r
     ORDER BY 2, 1`.execute(session.db);
  return rows;
}

/**
 * The tenant with this key, or with this value in a lookup column.
 *
 * @throws {AppError} exit 2 when there is none (naming those with similar names) or several
 */
export async function findTenant(
  session: Session,
  schema: TenantSchema,
  wanted: string,
): Promise<TenantIdentity> {
  const columns = [schema.root.key, ...schema.profile.root.lookup];
  const matches = sql.join(
    columns.map((column) => sql`${sql.id("r", column)}::text = ${wanted}`),
    sql` OR `,
  );
  const { rows } = await sql<TenantIdentity>`
    SELECT ${identityColumns(schema)} FROM ${relation(rootOf(schema))} AS r
     WHERE ${matches} LIMIT 20`.execute(session.db);
  const [only] = rows;
  if (rows.length === 1 && only !== undefined) return only;
  if (rows.length === 0) throw noSuchTenant(wanted, await listIdentities(session, schema), columns);
  throw new AppError(
    "ambiguous-tenant",
    ExitCode.usage,
    `"${wanted}" names ${rows.length} tenants: ${rows.map(describeTenant).join(", ")}`,
    { hint: `Name the tenant by its ${schema.root.key}.`, data: { tenants: rows } },
  );
}

function describeTenant(tenant: TenantIdentity): string {
  return tenant.slug === null ? `"${tenant.id}"` : `"${tenant.slug}" (${tenant.id})`;
}

function noSuchTenant(
  wanted: string,
  all: readonly TenantIdentity[],
  columns: readonly string[],
): AppError {
  const near = nearest(wanted, all);
  const hint =
    near.length > 0
      ? `Did you mean ${near.map((tenant) => `"${tenant.slug ?? tenant.id}"`).join(" or ")}?`
      : all.length === 0
        ? "The database holds no tenant at all; check DATABASE_URL."
        : `A tenant is named by its ${columns.join(" or ")}; pgtenant tenants lists them.`;
  return new AppError("no-such-tenant", ExitCode.usage, `there is no tenant "${wanted}"`, {
    hint,
    data: { wanted, near },
  });
}

/** Tenants whose slug or name is a few letters off, or begins alike; the closest first. */
function nearest(wanted: string, all: readonly TenantIdentity[]): readonly TenantIdentity[] {
  const word = wanted.toLowerCase();
  const allowed = Math.max(2, Math.floor(word.length / 3));
  return all
    .map((tenant) => {
      const names = [tenant.slug, tenant.name].flatMap((n) =>
        n === null ? [] : [n.toLowerCase()],
      );
      const distances = names.map((name) =>
        word.length >= 3 && name.startsWith(word) ? 1 : distance(word, name),
      );
      return { tenant, off: Math.min(...distances, Number.POSITIVE_INFINITY) };
    })
    .filter(({ off }) => off <= allowed)
    .sort((a, b) => a.off - b.off)
    .slice(0, 3)
    .map(({ tenant }) => tenant);
}

function identityColumns(schema: TenantSchema) {
  const { lookup, label } = schema.profile.root;
  const [slug] = lookup;
  const text = (column: string | undefined) =>
    column === undefined ? sql`NULL::text` : sql`${sql.id("r", column)}::text`;
  return sql`${text(schema.root.key)} AS id, ${text(slug)} AS slug, ${text(label)} AS name`;
}

export function rootOf(schema: TenantSchema) {
  const table = schema.catalog.tables.get(schema.root.table);
  if (table === undefined) throw new Error("the root table is gone from the catalog");
  return table;
}
