import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { seededRandom } from "../harness/corruptions.ts";
import { protectsItself, TamperedBackups, tamperForms } from "../harness/tampered-backups.ts";

const seed = Number(process.env.PGTENANT_TEST_SEED ?? Date.now() % 1_000_000);
/** Of a set with its manifest, of a dump alone, and by the commands; more than 300 in all. */
const times = { set: 25, dump: 9, commands: 2 };

suite(`stored files that were damaged; repeat with PGTENANT_TEST_SEED=${seed}`, () => {
  let backups: TamperedBackups;
  before(async () => {
    backups = await TamperedBackups.make({
      "seed.big": "off",
      "seed.logs": "1500",
      "seed.audit": "1500",
    });
  });
  after(() => backups.dispose());

  for (const [at, form] of tamperForms.entries()) {
    const { format, compression, encryption } = form;
    test(`${format}, compression ${compression}, encryption ${encryption}: verify and restore name the file, and no database is touched`, async (context) => {
      const random = seededRandom(seed + at);
      await backups.begin(form);
      const harmless = [...(await backups.damageSet(times.set, random))];
      await backups.damageForCommands(times.commands, random);
      if (protectsItself(form)) harmless.push(...(await backups.damageDump(times.dump, random)));
      if (harmless.length > 0)
        context.diagnostic(`no difference was made by: ${harmless.join("; ")}`);
      assert.ok(harmless.length <= 4, harmless.join("; "));
    });
  }
});
