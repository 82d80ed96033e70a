import type { Session } from "../postgres/session.ts";
import { proveBoundary } from "./boundary-proof.ts";
import { cloneAdvice } from "./clone.ts";
import { type Conflict, refuseConflicts } from "./conflicts.ts";
import type { ImportMode, PlanNote } from "./import-types.ts";
import { matchLiveRows } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import { findExtraRows, type Spared } from "./replace.ts";
import type { StagedBundle } from "./staging.ts";
import { proveUniqueness, type Vacating } from "./unique-proof.ts";
import { proveValues } from "./value-proof.ts";

/** What is to happen to each row, and what stands against it. */
export interface Comparison {
  readonly notes: readonly PlanNote[];
  readonly conflicts: readonly Conflict[];
  readonly deletesFirst: boolean;
  readonly vacating: readonly Vacating[];
}

/**
 * Compares the staged rows with the live ones, and proves that they can be written. It may be done
 * again when staged rows were changed.
 *
 * @throws {AppError} exit 4 when rows would leave the tenant, 3 or 4 as the proofs have it
 */
export async function compareWithLive(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
  mode: ImportMode,
  spared?: Spared,
): Promise<Comparison> {
  await matchLiveRows(session, schema, bundle, mode);
  const replace = await findExtraRows(session, schema, bundle, mode === "replace", spared);
  // Rows outside of the tenant would only repeat themselves in the proofs below.
  refuseConflicts(await proveBoundary(session, schema, bundle), cloneAdvice(bundle));
  const values = await proveValues(session, bundle);
  const unique = await proveUniqueness(session, schema, bundle, replace.deletesFirst);
  return {
    notes: replace.notes,
    conflicts: [...values, ...unique.conflicts],
    deletesFirst: replace.deletesFirst,
    vacating: unique.vacating,
  };
}
