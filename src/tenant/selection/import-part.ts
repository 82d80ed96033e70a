import { type RawBuilder, sql } from "kysely";
import type { Table } from "../../catalog/catalog.ts";
import { AppError, ExitCode } from "../../errors.ts";
import { columnsEqual, conjunction, disjunction } from "../../postgres/identifiers.ts";
import type { Session } from "../../postgres/session.ts";
import { keyOf } from "../../profile/classify.ts";
import { refuseConflicts } from "../conflicts.ts";
import type { PlanNote } from "../import-types.ts";
import type { OpenSchema } from "../open-schema.ts";
import type { PlanOptions } from "../plan.ts";
import type { StagedBundle, StagedTable } from "../staging.ts";
import { noteAlong } from "./along.ts";
import { type Chosen, chooseRows, isChosen, isMeant } from "./choose.ts";
import { type ParsedSelection, parseSelection, selectionOfHeader } from "./items.ts";
import { createKeyTables } from "./key-tables.ts";
import { isKnown, refuseNewParents } from "./leaf-filter.ts";
import { addNeeded, findNeededButExcluded, type NeedRule } from "./needs.ts";
import { liveSide, type Side, stagedSide } from "./sides.ts";
import { refuseUnmatched } from "./unmatched.ts";

/** What an import does of a bundle, and to which live rows. */
export interface SelectedPart {
  readonly bundle: StagedBundle;
  readonly notes: readonly PlanNote[];
  /** A condition on the tenant's live row `alias`: a bundle that lacks it may have it deleted. */
  readonly within: ((table: Table, alias: string) => RawBuilder<boolean>) | undefined;
}

/**
 * Takes the rows out of the staged tables that are not chosen. Beside what the operator selects, the
 * selection counts that the bundle was made with: what it holds only because other rows need it is
 * inserted where it is absent, and what it cannot hold is not deleted.
 *
 * @throws {AppError} exit 2 for a selection that means nothing; 4 when a chosen row needs one that
 *   is excluded, or the tenant's parts have moved since the bundle was staged
 */
export async function selectPart(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  options: Pick<PlanOptions, "mode" | "selection" | "clone">,
): Promise<SelectedPart> {
  const part = options.selection && parseSelection(schema, options.selection);
  const madeOf = selectionOfHeader(bundle.header);
  if (part === undefined && madeOf === undefined) return { bundle, notes: [], within: undefined };
  const live = options.clone === undefined ? liveSide(schema, bundle.tenant.id) : undefined;
  const staged = stagedSide(bundle.tables);
  const sides = live === undefined ? [staged] : [staged, live];
  const scopes: Chosen[] = [];
  let notes: readonly PlanNote[] = [];
  if (part !== undefined) {
    const keys = await createKeyTables(session, schema, "chosen");
    const chosen = await chooseRows(session, schema, keys, sides, part);
    await refuseNewParents(session, chosen, bundle.filtered ?? []);
    notes = await keepChosen(session, chosen, bundle, staged, live, options);
    scopes.push(chosen);
  }
  if (madeOf !== undefined && live !== undefined && options.mode !== "missing") {
    const keys = await createKeyTables(session, schema, "made_of");
    const chosen = await chooseRows(session, schema, keys, sides, ofHeader(schema, madeOf));
    await dropMerelyNeeded(session, chosen, bundle, staged, live);
    scopes.push(chosen);
  }
  return {
    bundle: { ...(await recounted(session, bundle)), partial: true },
    notes,
    within:
      live === undefined
        ? undefined
        : (table, alias) =>
            conjunction([
              ...scopes.map((chosen) => isMeant(chosen, live, table, alias)),
              isKnown(bundle.filtered ?? [], table, alias),
            ]),
  };
}

function ofHeader(schema: OpenSchema, selection: NonNullable<PlanOptions["selection"]>) {
  try {
    return parseSelection(schema, selection);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    throw new AppError(
      error.code,
      ExitCode.usage,
      `the bundle was made with a selection that means nothing here: ${error.message.replace("--select ", "").replace("--exclude ", "")}`,
      {
        cause: error,
        hint: "Without it nobody can tell which live rows the bundle stands for; import it with --mode missing.",
      },
    );
  }
}

async function keepChosen(
  session: Session,
  chosen: Chosen,
  bundle: StagedBundle,
  staged: Side,
  live: Side | undefined,
  { mode }: Pick<PlanOptions, "mode">,
): Promise<readonly PlanNote[]> {
  const { selection } = chosen;
  await refuseUnmatched(session, chosen, mode === "replace" ? "either" : "staged");
  const rule: NeedRule = {
    side: staged,
    present: live,
    matters: (table, alias) => {
      const rows = live?.rows(table.name);
      const stays = mode === "missing" || chosen.schema.profile.appendOnly.includes(table.name);
      if (live === undefined || rows === undefined || !stays) return sql`TRUE`;
      return sql`NOT EXISTS (SELECT FROM ${rows} AS own WHERE ${columnsEqual("own", keyOf(table), alias)})`;
    },
  };
  await addNeeded(session, chosen, rule);
  refuseConflicts(await findNeededButExcluded(session, chosen, rule));
  let meant = 0;
  for (const table of bundle.tables) {
    await deleteStaged(session, table, sql`NOT ${isChosen(chosen, staged, table.table, "s")}`);
    meant += await countRows(session, table, isMeant(chosen, staged, table.table, "s"));
  }
  if (meant === 0 && !(mode === "replace" && (await isAnyMeant(session, chosen, live)))) {
    throw nothingChosen(selection);
  }
  return await noteAlong(session, chosen, bundle);
}

async function isAnyMeant(
  session: Session,
  chosen: Chosen,
  side: Side | undefined,
): Promise<boolean> {
  const each = chosen.schema.tables.flatMap((table) => {
    const rows = side?.rows(table.name);
    if (side === undefined || rows === undefined) return [];
    return sql`EXISTS (SELECT FROM ${rows} AS l
      WHERE ${conjunction([side.owned(table, "l"), isMeant(chosen, side, table, "l")])})`;
  });
  const { rows } = await sql<{ found: boolean }>`SELECT ${disjunction(each)} AS found`.execute(
    session.db,
  );
  return rows[0]?.found === true;
}

/** Rows that are in the bundle for others' sake stay as they are where they are live. */
async function dropMerelyNeeded(
  session: Session,
  chosen: Chosen,
  bundle: StagedBundle,
  staged: Side,
  live: Side,
): Promise<void> {
  for (const table of bundle.tables) {
    const rows = live.rows(table.table.name);
    if (rows === undefined) continue;
    await deleteStaged(
      session,
      table,
      conjunction([
        sql`NOT ${isMeant(chosen, staged, table.table, "s")}`,
        sql`EXISTS (SELECT FROM ${rows} AS l
             WHERE ${conjunction([columnsEqual("l", table.key, "s"), live.owned(table.table, "l")])})`,
      ]),
    );
  }
}

async function deleteStaged(
  session: Session,
  { stage }: StagedTable,
  condition: RawBuilder<boolean>,
): Promise<void> {
  const { numAffectedRows } = await sql`DELETE FROM ${stage} AS s WHERE ${condition}`.execute(
    session.db,
  );
  if ((numAffectedRows ?? 0n) > 0n) await sql`ANALYZE ${stage}`.execute(session.db);
}

async function countRows(
  session: Session,
  { stage }: StagedTable,
  condition: RawBuilder<boolean> = sql`TRUE`,
): Promise<number> {
  const { rows } = await sql<{ count: string }>`
    SELECT count(*) AS count FROM ${stage} AS s WHERE ${condition}`.execute(session.db);
  return Number(rows[0]?.count ?? 0);
}

async function recounted(session: Session, bundle: StagedBundle): Promise<StagedBundle> {
  const tables: StagedTable[] = [];
  for (const table of bundle.tables) {
    tables.push({ ...table, rows: await countRows(session, table) });
  }
  return { ...bundle, tables };
}

function nothingChosen({ given }: ParsedSelection): AppError {
  return new AppError(
    "nothing-selected",
    ExitCode.usage,
    "the bundle holds no row that is selected and not left out; nothing was written",
    {
      hint: "pgtenant inspect shows what is in the bundle; see --select, --exclude and --since.",
      data: { selection: given },
    },
  );
}
