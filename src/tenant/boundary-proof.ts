import { sql } from "kysely";
import type { ForeignKey } from "../catalog/catalog.ts";
import { hasOwner, leadsToRootKey, ownedBy, relation } from "../catalog/ownership.ts";
import { AppError, ExitCode } from "../errors.ts";
import { allPresent, columnsEqual, conjunction, disjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { isOwned, referencesOf } from "../profile/classify.ts";
import type { Conflict } from "./conflicts.ts";
import { maxListedRows } from "./conflicts.ts";
import { becomesLive, isWritten } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import { rowKeyText } from "./row-key.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/**
 * Proves that everything the bundle would write belongs to its tenant. Each staged row names
 * an owner, each of its references leads to a row that is staged too or is the tenant's own
 * already, and no live row with the same key is another's. By induction over the references
 * every row then hangs on the tenant's root row.
 *
 * @param mayLetGo a row that is the tenant's own may come to belong to nobody, as it did before
 * @returns each row that breaks this
 */
export async function proveBoundary(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  mayLetGo = false,
): Promise<readonly Conflict[]> {
  const conflicts: Conflict[] = [];
  const byName = new Map(bundle.tables.map((staged) => [staged.table.name, staged]));
  for (const staged of bundle.tables) {
    conflicts.push(...(await foreignRows(session, staged)));
    conflicts.push(...(await ownerlessRows(session, schema, staged, mayLetGo)));
    for (const key of referencesOf(schema, staged.table.name)) {
      // A column that only the target has is NULL or a default; the database checks it.
      if (!key.columns.every((column) => staged.present.has(column))) continue;
      conflicts.push(...(await proveReference(session, schema, bundle, staged, key, byName)));
    }
  }
  return conflicts;
}

/**
 * Proves that the bundle holds its tenant's row, and no other tenant's; where its header says that
 * it is a part without that row, that the tenant is live. It comes before anything else, since
 * until then the header's tenant may be any text.
 *
 * @throws {AppError} exit 4 for a part of a tenant that is not live
 */
export async function proveRoot(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
): Promise<readonly Conflict[]> {
  const staged = bundle.tables.find(({ table }) => table.name === schema.root.table);
  const { id } = bundle.tenant;
  if (staged !== undefined && staged.rows > 0) {
    const { rows } = await sql<{ key: string }>`
      SELECT ${rowKeyText("s", staged)} AS key FROM ${staged.stage} AS s
       WHERE ${sql.id("s", schema.root.key)}::text <> ${id} LIMIT ${maxListedRows}`.execute(
      session.db,
    );
    return rows.map((row) => ({
      kind: "boundary",
      table: schema.root.table,
      row: row.key,
      reason: "is another tenant than the one that the bundle's header names",
    }));
  }
  if (isPart(bundle, schema.root.table)) {
    await requireLiveTenant(session, schema, bundle);
    return [];
  }
  return [
    {
      kind: "boundary",
      table: schema.root.table,
      row: `(${schema.root.key})=(${id})`,
      reason: "is missing from the bundle, which names it as its tenant",
    },
  ];
}

/** A selection, or a bundle that was not made of a database, may come without the tenant's row. */
function isPart({ header }: StagedBundle, rootTable: string): boolean {
  return (
    header.selection !== null ||
    header.leftOut.some((entry) => "table" in entry && entry.table === rootTable)
  );
}

async function requireLiveTenant(
  session: Session,
  schema: OpenSchema,
  { tenant }: StagedBundle,
): Promise<void> {
  const table = schema.catalog.tables.get(schema.root.table);
  if (table === undefined) throw new Error("the root table is gone from the catalog");
  const { rows } = await sql<{ found: boolean }>`
    SELECT EXISTS (SELECT FROM ${relation(table)} AS l
      WHERE ${sql.id("l", schema.root.key)}::text = ${tenant.id}) AS found`.execute(session.db);
  if (rows[0]?.found === true) return;
  throw new AppError(
    "no-live-tenant",
    ExitCode.refused,
    `the bundle is a part of tenant "${tenant.slug ?? tenant.id}" without its row in "${schema.root.table}", and no such tenant is live; nothing was written`,
    {
      hint: `Import a whole bundle of the tenant first. A state document can be converted again with --slug and --name, which give it that row.`,
      data: { tenant },
    },
  );
}

async function foreignRows(session: Session, staged: StagedTable): Promise<readonly Conflict[]> {
  const { rows } = await sql<{ key: string; orphan: boolean }>`
    SELECT ${rowKeyText("m", staged)} AS key, NOT "pgtenant$has_owner" AS orphan
      FROM ${staged.match} AS m WHERE "pgtenant$action" = 'foreign'
     LIMIT ${maxListedRows}`.execute(session.db);
  return rows.map((row) => ({
    kind: "boundary",
    table: staged.table.name,
    row: row.key,
    reason: row.orphan
      ? "exists, belongs to no tenant, and differs from the bundle's row"
      : "exists and belongs to another tenant",
  }));
}

async function ownerlessRows(
  session: Session,
  schema: OpenSchema,
  staged: StagedTable,
  mayLetGo: boolean,
): Promise<readonly Conflict[]> {
  const steps = schema.ownership.get(staged.table.name) ?? [];
  if (!steps.every((step) => step.columns.every((column) => staged.present.has(column)))) {
    return [
      {
        kind: "boundary",
        table: staged.table.name,
        row: "every row",
        reason: `has no value in ${steps.map((step) => step.columns.join(", ")).join(" or ")}, which says whose it is`,
      },
    ];
  }
  const letsGo = mayLetGo
    ? sql`EXISTS (SELECT FROM ${staged.match} AS m WHERE ${columnsEqual("m", staged.key, "s")}
          AND (m."pgtenant$owned" OR m."pgtenant$action" = 'same'))`
    : sql`FALSE`;
  const { rows } = await sql<{ key: string }>`
    SELECT ${rowKeyText("s", staged)} AS key FROM ${staged.stage} AS s
     WHERE NOT ${hasOwner(schema.ownership, staged.table, "s")} AND NOT ${letsGo}
     LIMIT ${maxListedRows}`.execute(session.db);
  return rows.map((row) => ({
    kind: "boundary",
    table: staged.table.name,
    row: row.key,
    reason: "names no owner",
  }));
}

async function proveReference(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  staged: StagedTable,
  key: ForeignKey,
  byName: ReadonlyMap<string, StagedTable>,
): Promise<readonly Conflict[]> {
  const { id } = bundle.tenant;
  const target = schema.catalog.tables.get(key.to);
  if (target === undefined) return [];
  const list = (where: ReturnType<typeof sql>) =>
    sql<{ key: string; elsewhere: boolean }>`
      SELECT ${rowKeyText("s", staged)} AS key,
             EXISTS (SELECT FROM ${relation(target)} AS x
                      WHERE ${columnsEqual("x", key.toColumns, "s", key.columns)}) AS elsewhere
        FROM ${staged.stage} AS s WHERE ${where} LIMIT ${maxListedRows}`.execute(session.db);
  const describe = (
    row: { key: string },
    reason: string,
    kind: Conflict["kind"] = "boundary",
  ): Conflict => ({
    kind,
    table: staged.table.name,
    row: row.key,
    reason,
  });
  const columns = key.columns.join(", ");

  if (leadsToRootKey(key, schema.root)) {
    const column = key.columns[key.toColumns.indexOf(schema.root.key)] ?? "";
    const { rows } = await list(sql`${sql.id("s", column)}::text <> ${sql.lit(id)}`);
    return rows.map((row) => describe(row, `names another tenant in ${column}`));
  }
  const inStage = byName.get(key.to);
  const inTarget = isOwned(schema, key.to)
    ? ownedBy(schema.catalog, schema.root, schema.ownership, target, "p", id)
    : sql`TRUE`;
  // Of a part, a row that is live and stays as it is needs none of what the bundle's refers to.
  const asFarAsWritten =
    bundle.partial === true
      ? disjunction([
          isWritten(staged, "s"),
          sql`EXISTS (SELECT FROM ${relation(target)} AS y
                WHERE ${columnsEqual("y", key.toColumns, "s", key.columns)})`,
        ])
      : sql`TRUE`;
  const { rows } = await list(
    conjunction([
      allPresent("s", key.columns),
      asFarAsWritten,
      inStage === undefined || !key.toColumns.every((column) => inStage.present.has(column))
        ? sql`TRUE`
        : sql`NOT EXISTS (SELECT FROM ${inStage.stage} AS q
                WHERE ${conjunction([columnsEqual("q", key.toColumns, "s", key.columns), becomesLive(inStage, "q")])})`,
      sql`NOT EXISTS (SELECT FROM ${relation(target)} AS p
            WHERE ${conjunction([columnsEqual("p", key.toColumns, "s", key.columns), inTarget])})`,
    ]),
  );
  return (
    rows
      // What only the profile calls a reference may point to nothing, but not to another tenant.
      .filter((row) => row.elsewhere || key.source === "constraint")
      .map((row) =>
        describe(
          row,
          row.elsewhere
            ? `refers to a row of "${key.to}" that belongs to another tenant (${columns})`
            : `refers to a row of "${key.to}" that is neither in the bundle nor in the database (${columns})`,
          row.elsewhere || bundle.partial !== true ? "boundary" : "needed",
        ),
      )
  );
}
