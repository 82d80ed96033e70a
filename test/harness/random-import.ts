import assert from "node:assert/strict";
import type { ImportPlan } from "../../src/tenant/import-types.ts";
import type { OpenSchema } from "../../src/tenant/open-schema.ts";
import type { Model, ModelRow } from "./tenant-model.ts";

export interface States {
  /** The rows when the bundle was made. */
  readonly bundle: Model;
  readonly before: Model;
  readonly after: Model;
}

const none: ReadonlyMap<string, ModelRow> = new Map();

/**
 * What the three modes mean for a schema whose profile says nothing but its root, said a second time
 * and row by row; and that the plan's numbers are what was done.
 */
export function assertModes(schema: OpenSchema, plan: ImportPlan, states: States): void {
  for (const { name } of schema.tables) {
    const counts = { insert: 0, changed: 0, delete: 0 };
    const [bundle, before, after] = [states.bundle, states.before, states.after].map(
      (state) => state.get(name) ?? none,
    ) as [typeof none, typeof none, typeof none];
    for (const key of new Set([...bundle.keys(), ...before.keys(), ...after.keys()])) {
      const [saved, live, now] = [bundle.get(key), before.get(key), after.get(key)];
      assert.deepEqual(
        now?.values,
        expected(schema, plan, name, saved, live, states),
        `${plan.mode}: ${name} ${key}`,
      );
      if (live === undefined && now !== undefined) counts.insert += 1;
      else if (live !== undefined && now === undefined) counts.delete += 1;
      else if (JSON.stringify(live?.values) !== JSON.stringify(now?.values)) counts.changed += 1;
    }
    const planned = plan.tables.find((table) => table.table === name);
    assert.deepEqual(
      {
        insert: planned?.insert,
        changed: (planned?.update ?? 0) + (planned?.relink ?? 0),
        delete: planned?.delete,
      },
      counts,
      `the plan for ${name}`,
    );
  }
}

/** The rows of all other tenants are what they were. */
export function assertOthersUntouched(before: Model, after: Model): void {
  const others = (model: Model) =>
    [...model].flatMap(([table, rows]) =>
      [...rows].filter(([, row]) => !row.owned).map(([key, row]) => [table, key, row.values]),
    );
  assert.deepEqual(others(after), others(before));
}

function expected(
  schema: OpenSchema,
  { mode }: ImportPlan,
  table: string,
  saved: ModelRow | undefined,
  live: ModelRow | undefined,
  states: States,
): ModelRow["values"] | undefined {
  const ours = saved?.owned === true || live?.owned === true;
  if (!ours) return live?.values;
  if (saved?.owned !== true) return mode === "replace" ? undefined : live?.values;
  if (live === undefined || mode !== "missing") return saved.values;
  return isLinkedAgain(schema, table, saved, live, states) ? saved.values : live.values;
}

/** Only references were cleared, and at least one of their targets was lost and comes back. */
function isLinkedAgain(
  schema: OpenSchema,
  table: string,
  saved: ModelRow,
  live: ModelRow,
  states: States,
): boolean {
  const clearing = (schema.references.get(table) ?? []).filter(
    (key) => key.onDelete === "set null" && key.to !== table,
  );
  const cleared = new Set(clearing.flatMap((key) => key.columns));
  const differing = Object.keys(saved.values).filter((c) => saved.values[c] !== live.values[c]);
  return (
    differing.length > 0 &&
    differing.every((column) => cleared.has(column) && live.values[column] === undefined) &&
    clearing.some((key) => {
      const target = saved.values[key.columns[0] ?? ""];
      return target !== undefined && states.before.get(key.to)?.get(target) === undefined;
    })
  );
}
