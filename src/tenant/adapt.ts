import type { Session } from "../postgres/session.ts";
import { expireCredentials } from "./expire.ts";
import { fenceWorkInFlight, leaveToLiveRows } from "./fence.ts";
import type { PlanNote } from "./import-types.ts";
import { keepOneWayColumns } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import type { PlanOptions } from "./plan.ts";
import { fillSetColumns } from "./set-values.ts";
import type { StagedBundle } from "./staging.ts";

/**
 * Gives staged rows the values that they are to be written with, where those are not the bundle's:
 * every later step compares and writes what stands here.
 *
 * @returns each adaptation, with its reason
 */
export async function adaptRows(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  options: Pick<PlanOptions, "mode" | "keepInFlight" | "expireCredentials">,
): Promise<readonly PlanNote[]> {
  const notes: PlanNote[] = [...(await fillSetColumns(session, bundle))];
  if (options.mode !== "missing") notes.push(...(await keepOneWayColumns(session, schema, bundle)));
  if (!options.keepInFlight) {
    notes.push(...(await fenceWorkInFlight(session, schema, bundle, options.mode)));
  }
  if (options.expireCredentials) notes.push(...(await expireCredentials(session, schema, bundle)));
  return notes;
}

/**
 * Looks again at rows that have another key since they were adapted, and so, perhaps, a live
 * counterpart that they did not have: what was revoked or has ended stays so.
 */
export async function adaptRekeyed(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  rekeyed: ReadonlySet<string>,
  options: Pick<PlanOptions, "mode" | "keepInFlight">,
): Promise<readonly PlanNote[]> {
  if (options.mode === "missing") return [];
  const tables = bundle.tables.filter(({ table }) => rekeyed.has(table.name));
  const notes = [...(await keepOneWayColumns(session, schema, { ...bundle, tables }))];
  for (const staged of options.keepInFlight ? [] : tables) {
    const rule = schema.profile.inFlight[staged.table.name];
    if (rule === undefined || !staged.present.has(rule.column)) continue;
    const ended = rule.set[rule.column];
    const states = ended === undefined ? rule.states : [...rule.states, ended];
    notes.push(...(await leaveToLiveRows(session, staged, rule, states)));
  }
  return notes;
}
