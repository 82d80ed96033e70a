import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { seededRandom } from "../harness/corruptions.ts";
import { TamperedBackups, type TamperForm } from "../harness/tampered-backups.ts";

const forms: readonly TamperForm[] = [
  { format: "plain", compression: "gzip", encryption: "openssl" },
  { format: "directory", compression: "zstd", encryption: "age" },
];

suite("stored files that were damaged", () => {
  let backups: TamperedBackups;
  before(async () => {
    backups = await TamperedBackups.make({ "seed.big": "off" });
  });
  after(() => backups.dispose());

  for (const [at, form] of forms.entries()) {
    const { format, compression, encryption } = form;
    test(`${format}, compression ${compression}, encryption ${encryption}: verify and restore name the file, and no database is touched`, async () => {
      const random = seededRandom(at);
      await backups.begin(form);
      const harmless = [...(await backups.damageSet(11, random))];
      if (at === 0) await backups.damageForCommands(1, random);
      harmless.push(...(await backups.damageDump(3, random)));
      assert.ok(harmless.length <= 2, harmless.join("; "));
    });
  }

  test("custom: that pg_restore ends well before it was given everything is no proof", async () => {
    await backups.begin({ format: "custom", compression: "none", encryption: "none" });
    await backups.endEarly();
  });
});
