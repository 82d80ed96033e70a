import { type RawBuilder, sql } from "kysely";
import type { TenantIdentity } from "../../bundle/format.ts";
import type { Table } from "../../catalog/catalog.ts";
import { AppError, ExitCode } from "../../errors.ts";
import { conjunction } from "../../postgres/identifiers.ts";
import type { Session } from "../../postgres/session.ts";
import type { Selection } from "../import-types.ts";
import type { OpenSchema } from "../open-schema.ts";
import { type Chosen, chooseRows, isChosen, isMeant } from "./choose.ts";
import { describeSelection, type ParsedSelection, parseSelection } from "./items.ts";
import { clearKeyTables, createKeyTables, type KeyTables, why } from "./key-tables.ts";
import { addNeeded, findNeededButExcluded, type NeedRule } from "./needs.ts";
import { liveSide } from "./sides.ts";
import { refuseUnmatched } from "./unmatched.ts";

/** What is needed to choose a part of each tenant that is exported by a session. */
export interface PartChooser {
  readonly selection: ParsedSelection;
  readonly keys: KeyTables;
}

export interface ChosenPart {
  /** A condition on the tenant's row `alias`: it goes into the bundle. */
  readonly choice: (table: Table, alias: string) => RawBuilder<boolean>;
  readonly warnings: readonly string[];
}

export type RowChoice = ChosenPart["choice"];

/**
 * Has to come before the snapshot: in a READ ONLY transaction temporary tables can be filled, but
 * not made.
 *
 * @throws {AppError} exit 2 for a selection that names what does not exist, 7 on a standby
 */
export async function preparePart(
  session: Session,
  schema: OpenSchema,
  selection: Selection | undefined,
): Promise<PartChooser | undefined> {
  if (selection === undefined) return undefined;
  const parsed = parseSelection(schema, selection);
  return { selection: parsed, keys: await createKeyTables(session, schema, "chosen") };
}

/**
 * Finds a tenant's rows that are chosen, with all that these refer to and the tenant's own row, so
 * that the bundle can be put back where none of it is left.
 *
 * @throws {AppError} exit 2 when the selection means none of them
 */
export async function choosePart(
  session: Session,
  schema: OpenSchema,
  tenant: TenantIdentity,
  { selection, keys }: PartChooser,
): Promise<ChosenPart> {
  await clearKeyTables(session, schema, keys);
  const side = liveSide(schema, tenant.id);
  const chosen = await chooseRows(session, schema, keys, [side], selection);
  await refuseUnmatched(session, chosen, "either");
  await refuseNothing(session, chosen, tenant);
  await letRootIn(session, chosen);
  const rule: NeedRule = { side, present: undefined, matters: () => sql`TRUE` };
  await addNeeded(session, chosen, rule);
  const needed = await findNeededButExcluded(session, chosen, rule);
  const [first] = needed;
  return {
    choice: (table, alias) => isChosen(chosen, side, table, alias),
    warnings:
      first === undefined
        ? []
        : [
            `${needed.length} row(s) refer to rows that --exclude or --since leaves out, such as ${first.table} ${first.row}: they can be imported only where those are`,
          ],
  };
}

async function refuseNothing(
  session: Session,
  chosen: Chosen,
  tenant: TenantIdentity,
): Promise<void> {
  const { schema } = chosen;
  for (const table of schema.tables) {
    for (const side of chosen.sides) {
      const { rows } = await sql<{ found: boolean }>`
        SELECT EXISTS (SELECT FROM ${side.rows(table.name)} AS l
          WHERE ${conjunction([side.owned(table, "l"), isMeant(chosen, side, table, "l")])}) AS found`.execute(
        session.db,
      );
      if (rows[0]?.found === true) return;
    }
  }
  throw new AppError(
    "nothing-selected",
    ExitCode.usage,
    `tenant "${tenant.slug ?? tenant.id}" has no row that is selected (${describeSelection(chosen.selection.given)})`,
    { hint: "pgtenant tenants shows how many rows each table has; see --select and --exclude." },
  );
}

/** Without the tenant's own row no bundle can be imported, whatever was excluded. */
async function letRootIn(session: Session, { schema, keys }: Chosen): Promise<void> {
  await sql`DELETE FROM ${keys.of(schema.root.table)} AS k
    WHERE ${sql.id("k", why)} = 'excluded'`.execute(session.db);
}
