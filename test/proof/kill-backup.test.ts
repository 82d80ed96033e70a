import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { generateKeyPair } from "../../src/bundle/keys.ts";
import { seededRandom } from "../harness/corruptions.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { backupForms, KilledBackups } from "../harness/kill-backup.ts";
import { s3Missing } from "../harness/s3-server.ts";
import { makeBucket, type TestBucket } from "../harness/s3-store.ts";

const seed = Number(process.env.PGTENANT_TEST_SEED ?? Date.now() % 1_000_000);
const kills = 50;

suite(`a backup that is killed; repeat with PGTENANT_TEST_SEED=${seed}`, () => {
  let database: TestDatabase;
  let folder: string;
  let bucket: TestBucket | undefined;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("kill backup", "n-kudo", {
      settings: { "seed.big": "off", "seed.logs": "1500", "seed.audit": "1500" },
    });
    if (s3Missing() === undefined) bucket = await makeBucket();
  });
  after(async () => {
    await bucket?.close();
    await rm(folder, { recursive: true });
    await database.drop();
  });

  test(`at ${kills} random moments leaves nothing behind that is taken for a backup, and the next one succeeds`, async (context) => {
    const random = seededRandom(seed);
    const keys = await generateKeyPair();
    const forms = backupForms;
    const killed = new KilledBackups({ database, folder, keys, bucket });
    const lengths: number[] = [];
    for (const form of forms) lengths.push(await killed.measure(form));
    for (let i = 0; i < kills; i += 1) {
      const at = i % forms.length;
      const [form, length] = [forms[at], lengths[at]];
      assert.ok(form !== undefined && length !== undefined);
      // Each third one of a form is aimed: something has been written.
      if (Math.floor(i / forms.length) % 3 === 1) {
        await killed.kill(form, random() * 100, "writing");
        continue;
      }
      // One in each fiftieth of its length, so that no phase is left out.
      await killed.kill(form, ((i + random()) / kills) * length);
    }
    for (const form of forms.filter(({ s3 }) => s3).slice(0, 1)) await killed.conclude(form);
    const shown = Object.entries(killed.counts).map(([phase, count]) => `${count} ${phase}`);
    const each = forms.map(
      (form, at) => `${Object.values(form).join(" ")}: ${Math.round(lengths[at] ?? 0)} ms`,
    );
    context.diagnostic(`${each.join("; ")}; killed: ${shown.join(", ")}`);
    if (bucket === undefined) context.diagnostic(`without S3: ${s3Missing()}`);
    assert.ok(killed.counts.writing >= 8, shown.join(", "));
  });
});
