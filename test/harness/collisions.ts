import assert from "node:assert/strict";
import type { ImportPlan, PlanNote } from "../../src/tenant/import-types.ts";
import type { TestDatabase } from "./database.ts";
import { type HandMadeSite, makeSite } from "./hand-made.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";

/** The notes of one kind. */
export function notesOf(plan: ImportPlan, kind: PlanNote["kind"]): readonly PlanNote[] {
  return plan.notes.filter((note) => note.kind === kind);
}

/** The rows that notes of one kind speak of, as `public.sites (id)=(…)`, sorted. */
export function rowsOf(plan: ImportPlan, kind: PlanNote["kind"]): readonly string[] {
  return notesOf(plan, kind)
    .map(({ table, row }) => `${table} ${row}`)
    .sort();
}

/** Deletes the spare site of acme and a key, and makes the site again by hand, with a host. */
export async function loseAndMakeAgain(database: TestDatabase): Promise<{
  readonly made: HandMadeSite;
  readonly lost: { readonly site: string; readonly host: string };
}> {
  await database.query(`
    CREATE TEMP TABLE lost AS SELECT * FROM sites WHERE name = 'Spare 3' AND tenant_id = ${acme};
    CREATE TEMP TABLE lost_hosts AS SELECT * FROM hosts WHERE site_id IN (SELECT id FROM lost);
    DELETE FROM sites WHERE id IN (SELECT id FROM lost);
    DELETE FROM api_keys WHERE tenant_id = ${acme}`);
  const made = await makeSite(database, "Spare 3");
  const [names] = await database.query<{ site: string; host: string; hostname: string }>(`
    SELECT (SELECT id FROM lost) AS site, id AS host, hostname FROM lost_hosts ORDER BY hostname LIMIT 1`);
  assert.ok(names !== undefined);
  await database.query(`UPDATE hosts SET hostname = $1 WHERE id = $2`, [names.hostname, made.host]);
  return { made, lost: names };
}
