import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { generateKeyPair } from "../../src/bundle/keys.ts";
import { seededRandom } from "../harness/corruptions.ts";
import { createDatabase, type TestDatabase, templateDatabase } from "../harness/database.ts";
import { KilledRestores, restoreForms } from "../harness/kill-restore.ts";

const seed = Number(process.env.PGTENANT_TEST_SEED ?? Date.now() % 1_000_000);
const kills = 50;

suite(`a restore that is killed; repeat with PGTENANT_TEST_SEED=${seed}`, () => {
  let source: TestDatabase;
  let live: string;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    source = await createDatabase("kill restore", "n-kudo", {
      settings: { "seed.big": "off", "seed.logs": "1500", "seed.audit": "1500" },
    });
    live = await templateDatabase("n-kudo", { settings: { "seed.big": "off" } });
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await source.drop();
  });

  test(`at ${kills} random moments has replaced nothing or all, and runs again at once`, async (context) => {
    const random = seededRandom(seed);
    const { identity, recipient } = await generateKeyPair();
    const identityFile = join(folder, "identity.txt");
    await writeFile(identityFile, `${identity}\n`, { mode: 0o600 });
    const forms = restoreForms(recipient);
    const killed = new KilledRestores({ source, live, folder, identityFile });
    await killed.prepare();
    const lengths: number[] = [];
    for (const form of forms) {
      await killed.make(form);
      lengths.push(await killed.measure(form));
    }
    for (let i = 0; i < kills; i += 1) {
      const at = i % forms.length;
      const [form, length] = [forms[at], lengths[at]];
      assert.ok(form !== undefined && length !== undefined);
      const beside = !form.restore.includes("--in-place");
      // The second of a form and each later one of three is aimed: the scratch database is there.
      if (beside && Math.floor(i / forms.length) % 3 === 1) {
        await killed.kill(form, random() * 100, "scratch");
        continue;
      }
      // One in each fiftieth of its length, so that no phase is left out.
      await killed.kill(form, ((i + random()) / kills) * length);
    }
    await killed.conclude();
    const shown = Object.entries(killed.counts).map(([phase, count]) => `${count} ${phase}`);
    const each = forms.map(({ name }, at) => `${name}: ${Math.round(lengths[at] ?? 0)} ms`);
    context.diagnostic(`${each.join("; ")}; killed: ${shown.join(", ")}`);
    assert.ok(killed.counts.scratches >= 3, shown.join(", "));
  });
});
