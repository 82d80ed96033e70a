import { sql } from "kysely";
import type { TenantIdentity } from "../bundle/format.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Session } from "../postgres/session.ts";
import { type AuditLog, auditLogOf, lockLog } from "./audit-log.ts";
import { cloneNotes } from "./clone/clone-notes.ts";
import { drawKeys } from "./clone/draw-keys.ts";
import { findKeyClasses } from "./clone/key-classes.ts";
import { createKeyMaps, type MappedClass } from "./clone/key-maps.ts";
import { leaveOutTables } from "./clone/leave-out.ts";
import { labelColumn, refuseBadIdentity, slugColumn } from "./clone/new-tenant.ts";
import { marked, rechain } from "./clone/rechain.ts";
import { allMapped, type ColumnChanges, rewriteTable } from "./clone/rewrite.ts";
import type { ConflictAdvice } from "./conflicts.ts";
import type { CloneOptions, PlanNote } from "./import-types.ts";
import type { OpenSchema } from "./open-schema.ts";
import type { WorkingPlan } from "./plan.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/** What is known of a staged bundle that is written as another tenant. */
export interface CloneState {
  /** The tenant that the bundle is of. */
  readonly from: TenantIdentity;
  /** Keys that are no uuids: each class's temporary table has the old and the new one. */
  readonly mapped: readonly MappedClass[];
  /** By table: columns whose whole value is a key. */
  readonly ids: ReadonlyMap<string, readonly string[]>;
  /** The log to which the original's events are appended, if they are. */
  readonly log: AuditLog | undefined;
}

/**
 * Makes another tenant's rows of the staged ones: each key gets a successor, and every reference
 * to it follows, by the catalog or, inside of texts and JSON, by its value. What cannot be copied
 * is left out or loses its value, as the profile says. Nothing but temporary tables is written.
 *
 * @throws {AppError} exit 2 or 4 when the new tenant cannot be called so, and when the profile does
 *   not say what becomes of a key
 */
export async function cloneBundle(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  clone: CloneOptions | undefined,
): Promise<{ readonly bundle: StagedBundle; readonly notes: readonly PlanNote[] }> {
  if (clone === undefined) return { bundle, notes: [] };
  await refuseBadIdentity(session, schema, clone);
  const log = clone.withAudit ? auditLogOf(schema, "--with-audit") : undefined;
  const remaining = await leaveOutTables(session, schema, bundle.tables, reasonsOf(schema, log));
  const tables = remaining.tables;
  const filled = tables.filter((staged) => staged.rows > 0).map((staged) => staged.table.name);
  const { classes, refused } = findKeyClasses(
    schema,
    new Set(filled),
    new Set(remaining.gone.keys()),
  );
  if (refused.length > 0) throw unclonable(refused);
  const maps = await createKeyMaps(
    session,
    schema,
    classes,
    (table) => [
      ...tables.filter((staged) => staged.table.name === table.name).map((staged) => staged.stage),
      ...[remaining.gone.get(table.name) ?? []].flat(),
    ],
    clone.slug,
  );
  const ids = new Map(tables.map((staged) => [staged.table.name, idColumns(schema, staged)]));
  for (const staged of tables) await refuseAmbiguousIds(session, staged, maps.mapped, ids);
  // The map of ids is in memory, and is asked for single ids: by its index, then, and not as a whole.
  await session.client.query("SET LOCAL random_page_cost = 1");
  const rewritten: StagedTable[] = [];
  for (const [index, staged] of tables.entries()) {
    const changes = changesOf(schema, staged, clone, log, bundle.sha256);
    rewritten.push(await rewriteTable(session, changes, maps.mapped, `pgtenant_c${index}`));
  }
  await session.client.query("SET LOCAL random_page_cost TO DEFAULT");
  for (const staged of bundle.tables) await sql`DROP TABLE ${staged.stage}`.execute(session.db);
  const state: CloneState = { from: bundle.tenant, mapped: maps.mapped, ids, log };
  const made: StagedBundle = {
    ...bundle,
    tables: rewritten,
    leftOut: [...bundle.leftOut, ...remaining.leftOut],
    clone: state,
  };
  const tenant = await readTenant(session, schema, made);
  return {
    bundle: { ...made, tenant },
    notes: [...remaining.notes, ...(await cloneNotes(session, schema, rewritten, maps, state))],
  };
}

/**
 * Makes the keys of a clone final, which until then are what its sequences would have given. It
 * comes first of what applies a plan, and the log is locked from here on.
 *
 * @throws {AppError} exit 4 when a sequence gives keys that exist
 */
export async function settleClone(session: Session, schema: OpenSchema, working: WorkingPlan) {
  const { bundle } = working;
  const { clone } = bundle;
  if (clone === undefined) return working;
  const events = bundle.tables.find(({ table }) => table.name === clone.log?.table.name);
  // Before the keys are drawn, so that no other event's can lie between them and the end.
  if (clone.log !== undefined) await lockLog(session, clone.log);
  await drawKeys(session, bundle.tables, clone.mapped, clone.ids);
  if (clone.log !== undefined && events !== undefined) await rechain(session, clone.log, events);
  const tenant = await readTenant(session, schema, bundle);
  return { ...working, bundle: { ...bundle, tenant }, plan: { ...working.plan, tenant } };
}

/** What a clone is locked by while it is made: its slug, since it has no key yet. */
export function lockOfClone(clone: CloneOptions | undefined): TenantIdentity | undefined {
  return clone && { id: clone.slug, slug: clone.slug, name: null };
}

/** What to do about rows that stand against a clone. */
export function cloneAdvice({ clone }: StagedBundle): ConflictAdvice {
  if (clone === undefined) return {};
  return {
    boundary:
      "A clone can refer to its own rows only. Take a bundle of the whole tenant, or leave out what refers to the original's rows.",
    collision:
      'The value is unique over all tenants. "clone" in the profile can say that the column is numbered anew ("renumber") or loses its value ("drop").',
  };
}

function reasonsOf(schema: OpenSchema, log: AuditLog | undefined): ReadonlyMap<string, string> {
  const { clone, chain } = schema.profile;
  const reasons = new Map(
    Object.keys(chain).map((table) => [
      table,
      "its rows are chained over all tenants; --with-audit appends them, chained anew",
    ]),
  );
  for (const [table, reason] of Object.entries(clone.leaveOut)) reasons.set(table, reason);
  if (log !== undefined) reasons.delete(log.table.name);
  return reasons;
}

function idColumns(schema: OpenSchema, staged: StagedTable): readonly string[] {
  return (schema.profile.clone.ids[staged.table.name] ?? []).filter((c) => staged.present.has(c));
}

function changesOf(
  schema: OpenSchema,
  staged: StagedTable,
  clone: CloneOptions,
  log: AuditLog | undefined,
  sha256: string,
): ColumnChanges {
  const set = new Map<string, ReturnType<typeof sql>>();
  const wrap = new Map<string, (value: ReturnType<typeof sql>) => ReturnType<typeof sql>>();
  if (staged.table.name === schema.root.table) {
    const slug = slugColumn(schema);
    set.set(slug.name, sql`${sql.lit(clone.slug)}::${sql.raw(slug.type)}`);
    const label = labelColumn(schema);
    if (label !== undefined && clone.name !== undefined) {
      set.set(label.name, sql`${sql.lit(clone.name)}::${sql.raw(label.type)}`);
    }
  }
  if (staged.table.name === log?.table.name) {
    set.set("chain_valid", sql`TRUE`);
    // They hold until the log is locked and the true ones can be known.
    set.set(log.chain.previous, sql`''`);
    set.set(log.chain.own, sql`''`);
    wrap.set("metadata_json", (value) => marked(value, sha256));
  }
  return {
    table: staged,
    set,
    wrap,
    drop: schema.profile.clone.drop[staged.table.name] ?? [],
    ids: idColumns(schema, staged),
  };
}

async function readTenant(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
): Promise<TenantIdentity> {
  const root = bundle.tables.find(({ table }) => table.name === schema.root.table);
  if (root === undefined) throw new Error("the tenant's own row is not staged");
  const label = labelColumn(schema)?.name;
  const text = (name: string | undefined) =>
    name !== undefined && root.present.has(name) ? sql`${sql.id("s", name)}::text` : sql`NULL`;
  const { rows } = await sql<TenantIdentity>`
    SELECT ${text(schema.root.key)} AS id, ${text(slugColumn(schema).name)} AS slug, ${text(label)} AS name
      FROM ${root.stage} AS s`.execute(session.db);
  const [tenant] = rows;
  if (tenant === undefined) throw new Error("the tenant's own row is not staged");
  return tenant;
}

/** A value that is the key of rows of two tables cannot be told for either. */
async function refuseAmbiguousIds(
  session: Session,
  staged: StagedTable,
  mapped: readonly MappedClass[],
  ids: ReadonlyMap<string, readonly string[]>,
): Promise<void> {
  for (const column of ids.get(staged.table.name) ?? []) {
    const { rows } = await sql<{ value: string }>`
      SELECT ${sql.id("s", column)}::text AS value
        FROM ${staged.stage} AS s JOIN ${allMapped(mapped)} AS k ON k.old = ${sql.id("s", column)}::text
       GROUP BY 1 HAVING count(DISTINCT k.new) > 1 ORDER BY 1 LIMIT 1`.execute(session.db);
    const [row] = rows;
    if (row === undefined) continue;
    throw new AppError(
      "ambiguous-id",
      ExitCode.refused,
      `"${row.value}" in "${staged.table.name}.${column}" is the key of rows of several tables; nothing was written`,
      {
        hint: 'Take the column off "ids" of "clone" in the profile, or declare under "references" what it refers to.',
      },
    );
  }
}

function unclonable(refused: readonly string[]): AppError {
  return new AppError(
    "no-clone-policy",
    ExitCode.refused,
    `a clone needs other keys than its original, and the profile does not say which: ${refused.join("; ")}; nothing was written`,
    {
      hint: 'Say it under "clone": "renumber": {"TABLE": {"COLUMN": {"min": 1, "max": 2147483647}}} for numbers, "drop": {"TABLE": ["COLUMN"]} for texts, or "leaveOut": {"TABLE": "why"}.',
      details: refused,
    },
  );
}
