import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import * as fc from "fast-check";
import { AppError } from "../../src/errors.ts";
import type { Session } from "../../src/postgres/session.ts";
import type { CollisionPolicy, ImportMode } from "../../src/tenant/import-types.ts";
import type { OpenSchema } from "../../src/tenant/open-schema.ts";
import { createDatabase } from "../harness/database.ts";
import { changesOf, type ImportChoice, importInto } from "../harness/import.ts";
import { assertModes, assertOthersUntouched } from "../harness/random-import.ts";
import {
  applyChanges,
  changes,
  makeRandomSchema,
  randomProfile,
  randomTables,
} from "../harness/random-schema.ts";
import { exportBundle, withTenantSchema } from "../harness/tenant-bundle.ts";
import { readModel } from "../harness/tenant-model.ts";
import { receiptsIn, undoInto } from "../harness/undo.ts";

const seed = Number(process.env.PGTENANT_TEST_SEED ?? 20_260_101);
const numRuns = Number(process.env.PGTENANT_TEST_RUNS ?? 200);

test(`in any schema each mode leaves what it promises, the plan is what is done, and undo takes it back (seed ${seed}, ${numRuns} runs)`, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  const database = await createDatabase("random-schemas", "empty");
  t.after(async () => {
    await database.drop();
    await rm(folder, { recursive: true });
  });
  const profile = join(folder, "profile.json");
  await writeFile(profile, JSON.stringify(randomProfile));
  const client = await database.connect();
  const outcomes = { applied: 0, nothing: 0, refused: 0, settled: 0 };

  await fc.assert(
    fc.asyncProperty(
      randomTables,
      changes,
      fc.constantFrom<ImportMode>("missing", "overwrite", "replace"),
      fc.constantFrom<CollisionPolicy>("fail", "fail", "skip", "adopt"),
      async (tables, list, mode, onCollision) => {
        await makeRandomSchema(client, tables);
        const { bytes, result } = await exportBundle(database.url, "first", { profile });
        const run = async (session: Session, schema: OpenSchema) => {
          const read = () => readModel(session, schema, result.tenant.id);
          const bundle = await read();
          await applyChanges(client, tables, list);
          const before = await read();
          const put = (choice: ImportChoice) =>
            importInto(session, schema, bytes, { mode, onCollision, ...choice });
          const planned = await put({ dryRun: true }).catch(refused);
          assert.deepEqual(await read(), before, "a dry run writes nothing");
          const done = await put({ receipt: receiptsIn(folder) }).catch(refused);
          const after = await read();
          if (done === undefined || planned === undefined) {
            assert.deepEqual([done, planned, after], [undefined, undefined, before]);
            outcomes.refused += 1;
            return;
          }
          assert.deepEqual(done.plan, planned.plan);
          const settled = done.plan.notes.some(
            ({ kind }) => kind === "skipped" || kind === "adopted" || kind === "kept",
          );
          if (settled) {
            assertOthersUntouched(before, after);
            outcomes.settled += 1;
          } else assertModes(schema, done.plan, { bundle, before, after });
          outcomes[done.applied ? "applied" : "nothing"] += 1;
          const again = await put({ confirmed: false });
          assert.deepEqual([again.applied, changesOf(again)], [false, {}]);
          if (done.receipt === null) return;
          await undoInto(session, schema, done.receipt);
          assert.deepEqual(await read(), before, "an undo leaves what was there before");
        };
        await withTenantSchema(database.url, run, { profile });
      },
    ),
    { seed, numRuns, endOnFailure: process.env.CI !== undefined },
  );
  t.diagnostic(JSON.stringify(outcomes));
  assert.ok(outcomes.applied > numRuns / 3, JSON.stringify(outcomes));
});

/** A value that a live row of another key holds is the one thing that may stand in the way. */
function refused(error: unknown): undefined {
  if (!(error instanceof AppError)) throw error;
  assert.ok(["unique-collision", "cannot-swap"].includes(error.code), error.message);
}
