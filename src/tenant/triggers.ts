import { sql } from "kysely";
import type { Trigger } from "../catalog/catalog.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Session } from "../postgres/session.ts";
import type { TablePlan } from "./import-types.ts";
import { linkedLaterColumns } from "./linked-later.ts";
import type { OpenSchema } from "./open-schema.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";
import type { Vacating } from "./unique-proof.ts";

export interface FiringTrigger {
  readonly staged: StagedTable;
  readonly trigger: Trigger;
}

/** The user triggers that applying the plan would fire. */
export function firingTriggers(
  schema: OpenSchema,
  bundle: StagedBundle,
  tables: readonly TablePlan[],
  vacating: readonly Vacating[],
): readonly FiringTrigger[] {
  return bundle.tables.flatMap((staged) => {
    const counts = tables.find((entry) => entry.table === staged.table.name);
    if (counts === undefined) return [];
    const linked = linkedLaterColumns(schema, staged).size > 0;
    const updates =
      counts.update + counts.relink + (linked ? counts.insert + counts.delete : 0) > 0 ||
      vacating.some((entry) => entry.staged === staged);
    return staged.table.triggers
      .filter(
        (trigger) =>
          (trigger.onInsert && counts.insert > 0) ||
          (trigger.onUpdate && updates) ||
          (trigger.onDelete && counts.delete > 0),
      )
      .map((trigger) => ({ staged, trigger }));
  });
}

/** What a plan says of them, so that a dry run tells before the import refuses. */
export function triggerWarnings(
  firing: readonly FiringTrigger[],
  disabled: boolean,
): readonly string[] {
  return firing.map(
    ({ staged, trigger }) =>
      `trigger "${trigger.name}" on "${staged.table.name}" ${disabled ? "is disabled while this import applies" : "would fire; the import needs --disable-triggers"}`,
  );
}

/** @throws {AppError} exit 4, naming each trigger, unless they may be disabled */
export function refuseTriggers(firing: readonly FiringTrigger[], mayDisable: boolean): void {
  if (firing.length === 0 || mayDisable) return;
  const names = firing.map(({ staged, trigger }) => `${trigger.name} on ${staged.table.name}`);
  throw new AppError(
    "user-triggers",
    ExitCode.refused,
    `triggers would fire for restored rows: ${names.join(", ")}`,
    {
      hint: "They could alter rows or act a second time. With --disable-triggers they are off while this import applies; that locks their tables against all writers until it has committed.",
      details: names,
      data: { triggers: names },
    },
  );
}

/** Runs `work` with the triggers disabled, in the same transaction. */
export async function withoutTriggers<T>(
  session: Session,
  firing: readonly FiringTrigger[],
  work: () => Promise<T>,
): Promise<T> {
  const alter = async (action: (trigger: Trigger) => "DISABLE" | "ENABLE" | "ENABLE ALWAYS") => {
    for (const { staged, trigger } of firing) {
      await sql`ALTER TABLE ${sql.id(staged.table.schema, staged.table.relation)}
        ${sql.raw(action(trigger))} TRIGGER ${sql.id(trigger.name)}`.execute(session.db);
    }
  };
  await alter(() => "DISABLE");
  const result = await work();
  await alter((trigger) => (trigger.always ? "ENABLE ALWAYS" : "ENABLE"));
  return result;
}
