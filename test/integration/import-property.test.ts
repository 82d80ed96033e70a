import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { AppError } from "../../src/errors.ts";
import type { Session } from "../../src/postgres/session.ts";
import type { ImportMode } from "../../src/tenant/import-types.ts";
import type { OpenSchema } from "../../src/tenant/open-schema.ts";
import { damages, inflict } from "../harness/damage.ts";
import { createDatabase } from "../harness/database.ts";
import { changesOf, importInto } from "../harness/import.ts";
import { exportBundle, withTenantSchema } from "../harness/tenant-bundle.ts";
import { assertOutcome, readModel } from "../harness/tenant-model.ts";

const seed = Number(process.env.PGTENANT_TEST_SEED ?? 20_260_101);
const numRuns = Number(process.env.PGTENANT_TEST_RUNS ?? 30);

const settings = { "seed.big": "off", "seed.tenants": "2", "seed.logs": "6", "seed.audit": "6" };

test(`whatever was lost and changed, each mode leaves what it promises (seed ${seed}, ${numRuns} runs)`, async (t) => {
  const outcomes = { applied: 0, nothing: 0, refused: 0 };
  const original = await createDatabase("import-property", "n-kudo", { settings });
  t.after(() => original.drop());
  const { bytes, result } = await exportBundle(original.url, "acme");
  const read = (session: Session, schema: OpenSchema) =>
    readModel(session, schema, result.tenant.id);
  const bundle = await withTenantSchema(original.url, read);
  await fc.assert(
    fc.asyncProperty(
      damages,
      fc.constantFrom<ImportMode>("missing", "overwrite", "replace"),
      async (damage, mode) => {
        const database = await createDatabase("import-property", "n-kudo", { settings });
        try {
          await withTenantSchema(database.url, async (session, schema) => {
            await inflict(await database.connect(), damage);
            const before = await read(session, schema);
            try {
              const { plan, applied } = await importInto(session, schema, bytes, { mode });
              assertOutcome(schema, plan, { bundle, before, after: await read(session, schema) });
              outcomes[applied ? "applied" : "nothing"] += 1;
            } catch (error) {
              if (!(error instanceof AppError)) throw error;
              assert.equal(error.code, "unique-collision", error.message);
              assert.deepEqual(await read(session, schema), before);
              outcomes.refused += 1;
              return;
            }
            const again = await importInto(session, schema, bytes, { mode, confirmed: false });
            assert.deepEqual([again.applied, changesOf(again)], [false, {}]);
          });
        } finally {
          await database.drop();
        }
      },
    ),
    { seed, numRuns, endOnFailure: process.env.CI !== undefined },
  );
  t.diagnostic(JSON.stringify(outcomes));
  assert.ok(outcomes.applied > numRuns / 2, JSON.stringify(outcomes));
});
