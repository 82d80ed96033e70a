import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { seededRandom } from "../harness/corruptions.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { type KillCounts, killImport, measureImport, momentsOf } from "../harness/kill-import.ts";
import { type LostTenant, loseTenant } from "../harness/lost-tenant.ts";

const seed = Number(process.env.PGTENANT_TEST_SEED ?? Date.now() % 1_000_000);
const kills = 50;

suite(`an import that is killed; repeat with PGTENANT_TEST_SEED=${seed}`, () => {
  let database: TestDatabase;
  let folder: string;
  let tenant: LostTenant;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("kill import", "n-kudo", { settings: { "seed.big": "off" } });
    tenant = await loseTenant(database.url, join(folder, "acme.jsonl"), 12_000);
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await database.drop();
  });

  test(`at ${kills} random moments has written nothing or all, and runs again at once`, async (context) => {
    const length = await measureImport(tenant);
    const counts: KillCounts = { staging: 0, applying: 0, committed: 0, ended: 0 };
    for (const moment of momentsOf(length, kills, seededRandom(seed))) {
      await killImport(tenant, moment, counts);
    }
    const shown = Object.entries(counts).map(([phase, count]) => `${count} ${phase}`);
    context.diagnostic(
      `an import of ${tenant.rows} rows takes ${Math.round(length.staging)} ms to its plan, then ${Math.round(length.applying)} ms; killed: ${shown.join(", ")}`,
    );
    assert.ok(counts.staging >= 10 && counts.applying >= 5, shown.join(", "));
  });
});
