import assert from "node:assert/strict";
import { sql } from "kysely";
import { ownedBy, relation } from "../../src/catalog/ownership.ts";
import type { Session } from "../../src/postgres/session.ts";
import { keyOf } from "../../src/profile/classify.ts";
import type { ImportMode, ImportPlan } from "../../src/tenant/import-types.ts";
import type { OpenSchema } from "../../src/tenant/open-schema.ts";

export interface ModelRow {
  /** Each column's value as text; undefined for NULL. */
  readonly values: Readonly<Record<string, string | undefined>>;
  readonly owned: boolean;
}

/** Every row of the tenants' tables, whoever's it is, by table and key. */
export type Model = ReadonlyMap<string, ReadonlyMap<string, ModelRow>>;

export async function readModel(
  session: Session,
  schema: OpenSchema,
  tenant: string,
): Promise<Model> {
  const model = new Map<string, Map<string, ModelRow>>();
  const { catalog, root, ownership } = schema;
  for (const table of schema.tables) {
    const columns = table.columns.map((column) => column.name);
    const texts = columns.map((name) => sql`${sql.id("l", name)}::text`);
    const { rows } = await sql<{ texts: (string | null)[]; owned: boolean }>`
      SELECT ARRAY[${sql.join(texts)}]::text[] AS texts,
             ${ownedBy(catalog, root, ownership, table, "l", tenant)} AS owned
        FROM ${relation(table)} AS l`.execute(session.db);
    model.set(
      table.name,
      new Map(
        rows.map(({ texts: found, owned }) => {
          const values = Object.fromEntries(
            columns.map((name, i) => [name, found[i] ?? undefined]),
          );
          return [
            keyOf(table)
              .map((name) => values[name])
              .join(),
            { values, owned },
          ];
        }),
      ),
    );
  }
  return model;
}

/** What the three modes mean, said a second time and row by row. */
export function expectedRow(
  schema: OpenSchema,
  mode: ImportMode,
  table: string,
  rows: {
    readonly bundle: ModelRow | undefined;
    readonly live: ModelRow | undefined;
    /** The agent that an entry of the revocation list names in the bundle was lost. */
    readonly parentLost: boolean;
  },
): ModelRow["values"] | undefined {
  const { bundle, live } = rows;
  const appendOnly = schema.profile.appendOnly.includes(table);
  if (live === undefined) return bundle?.values;
  if (bundle === undefined) return live.values;
  if (table === "public.crl_entries" && live.values.agent_id === undefined) {
    return rows.parentLost || mode !== "missing" ? bundle.values : live.values;
  }
  if (mode === "missing" || appendOnly) return live.values;
  const oneWay = schema.profile.oneWay[table] ?? [];
  const settled = oneWay.some(
    (column) => live.values[column] !== undefined && bundle.values[column] === undefined,
  );
  const companions = settled ? (schema.profile.oneWayWith[table] ?? []) : [];
  return {
    ...bundle.values,
    ...Object.fromEntries(companions.map((column) => [column, live.values[column]])),
    ...Object.fromEntries(
      oneWay.map((column) => [column, live.values[column] ?? bundle.values[column]]),
    ),
  };
}

/** A row that replace leaves although the bundle lacks it: append-only, or referred to. */
function mustStay(
  schema: OpenSchema,
  after: Model,
  table: string,
  row: ModelRow | undefined,
): boolean {
  if (row === undefined) return false;
  if (schema.profile.appendOnly.includes(table)) return true;
  return [...schema.references.values()]
    .flat()
    .filter((key) => key.to === table)
    .some((key) =>
      [...(after.get(key.from)?.values() ?? [])].some((other) =>
        key.columns.every((column, i) => {
          const value = other.values[column];
          return value !== undefined && value === row.values[key.toColumns[i] ?? ""];
        }),
      ),
    );
}

/** Compares what the import left with what its mode promises, and with what its plan said. */
export function assertOutcome(
  schema: OpenSchema,
  plan: ImportPlan,
  states: { readonly bundle: Model; readonly before: Model; readonly after: Model },
): void {
  const { mode } = plan;
  if (mode === "undo") throw new Error("the model knows imports only");
  for (const { name } of schema.tables) {
    const counts = { insert: 0, changed: 0, delete: 0 };
    const [bundle, before, after] = [states.bundle, states.before, states.after].map(
      (state) => state.get(name) ?? new Map<string, ModelRow>(),
    ) as [
      ReadonlyMap<string, ModelRow>,
      ReadonlyMap<string, ModelRow>,
      ReadonlyMap<string, ModelRow>,
    ];
    for (const key of new Set([...bundle.keys(), ...before.keys(), ...after.keys()])) {
      const [saved, live, now] = [bundle.get(key), before.get(key), after.get(key)];
      const where = `${name} ${key}`;
      const ours = saved?.owned === true || live?.owned === true;
      const extra = saved === undefined && live?.owned === true;
      if (!ours) assert.deepEqual(now?.values, live?.values, `${where} is another tenant's`);
      else if (extra && mode === "replace") {
        const kept = plan.notes.some(
          (note) => note.table === name && note.row?.endsWith(`=(${key})`),
        );
        assert.deepEqual(now?.values, kept ? live.values : undefined, where);
        assert.equal(kept, mustStay(schema, states.after, name, now), `${where} is kept`);
      } else {
        const lost = states.before.get("public.agents")?.get(saved?.values.agent_id ?? "");
        const expected = expectedRow(schema, mode, name, {
          bundle: saved,
          live,
          parentLost: lost === undefined,
        });
        assert.deepEqual(now?.values, expected, where);
      }
      if (live === undefined && now !== undefined) counts.insert += 1;
      else if (live !== undefined && now === undefined) counts.delete += 1;
      else if (JSON.stringify(live?.values) !== JSON.stringify(now?.values)) counts.changed += 1;
    }
    const planned = plan.tables.find((table) => table.table === name);
    assert.deepEqual(
      counts,
      {
        insert: planned?.insert,
        changed: (planned?.update ?? 0) + (planned?.relink ?? 0),
        delete: planned?.delete,
      },
      `the plan for ${name}`,
    );
  }
}
