import type { Session } from "../postgres/session.ts";
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
  return notes;
}
