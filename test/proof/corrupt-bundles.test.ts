import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import {
  assertFlipsRefused,
  assertRefused,
  putTogether,
  seededRandom,
  structuralCorruptions,
  takeApart,
} from "../harness/corruptions.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { compressed, layoutOf, storedForms } from "../harness/sample-bundle.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const seed = Number(process.env.PGTENANT_TEST_SEED ?? Date.now() % 1_000_000);
const times = 500;

for (const form of storedForms) {
  suite(`a tenant's .${form} bundle; repeat with PGTENANT_TEST_SEED=${seed}`, () => {
    let database: TestDatabase;
    let lines: Buffer;
    let plain: Buffer;
    let bytes: Buffer;

    before(async () => {
      database = await createDatabase(`corrupt ${form}`, "n-kudo", {
        settings: { "seed.big": "off" },
      });
      lines = (await exportBundle(database.url, "acme")).bytes;
      plain = (await exportBundle(database.url, "acme", { layout: layoutOf(form) })).bytes;
      bytes = compressed(form, plain);
    });
    after(() => database.drop());

    test("is refused when it is cut after any line", async () => {
      let cuts = 0;
      for (let end = 0; end >= 0 && end < plain.length - 1; end = plain.indexOf("\n", end + 1)) {
        const cut = end === 0 ? 0 : end + 1;
        await assertRefused(compressed(form, plain.subarray(0, cut)), `cut at ${cut}`);
        cuts += 1;
      }
      assert.ok(cuts >= 300, `${cuts} lines`);
    });

    test(`is refused when it is cut at any of ${times} random bytes`, async () => {
      const random = seededRandom(seed);
      for (let i = 0; i < times; i += 1) {
        const length = Math.floor(random() * bytes.length);
        await assertRefused(bytes.subarray(0, length), `cut at ${length}`);
      }
    });

    test(`is refused, or reads as before, when any of ${times} random bits is flipped`, async (context) => {
      const harmless = await assertFlipsRefused(bytes, times, seededRandom(seed));
      if (form.includes(".")) context.diagnostic(`${harmless} flips did not matter`);
      else assert.equal(harmless, 0);
    });

    test("is refused when a section, a row or a marker is dropped, doubled, swapped or edited", async () => {
      for (const corruption of structuralCorruptions(takeApart(lines))) {
        await assertRefused(putTogether(corruption.parts, form), corruption.what);
      }
    });
  });
}
