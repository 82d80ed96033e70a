import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { type CompiledProgram, compileProgram } from "../harness/compiled-program.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";

/** A million takes some minutes: `PGTENANT_TEST_LOG_ROWS=1000000`. */
const rows = Number(process.env.PGTENANT_TEST_LOG_ROWS ?? 600_000);
const limitMb = 200;

suite(`a bundle with 102 sites and ${rows} log rows`, () => {
  let program: CompiledProgram;
  let target: TestDatabase;
  let bundle: string;

  before(async () => {
    program = await compileProgram();
    bundle = join(program.folder, "acme.jsonl.zst");
    const source = await createDatabase("selection-speed", "n-kudo", {
      settings: {
        "seed.big": "off",
        "seed.tenants": "1",
        "seed.size": "34",
        "seed.logs": `${rows}`,
        "seed.audit": `${rows / 10}`,
      },
    });
    await program.measure(source.url, ["export", "acme", "-o", bundle, "--no-validate"]);
    await source.drop();
    target = await createDatabase("selection-speed", "empty");
    const schema = new URL("../../fixtures/n-kudo/schema.sql", import.meta.url);
    await target.query(await readFile(schema, "utf8"));
  });
  after(async () => {
    await target.drop();
    await program.remove();
  });

  test(`one site comes back in a fifth of the time of all, with ${limitMb} MB`, async (context) => {
    const whole = await program.measure(target.url, ["import", bundle, "--keep-in-flight"]);
    const count =
      "SELECT (SELECT count(*) FROM execution_logs) AS logs, (SELECT count(*) FROM microvms) AS vms";
    const before = await target.query(count);
    await target.query("DELETE FROM sites WHERE name = 'Spare 51'");
    assert.notDeepEqual(await target.query(count), before);
    const args = ["import", bundle, "--keep-in-flight", "--select", "site=Spare 51"];
    const part = await program.measure(target.url, args);
    assert.deepEqual(await target.query(count), before);
    const figures = `whole: ${whole.seconds.toFixed(1)} s, ${whole.peakMb} MB; one site: ${part.seconds.toFixed(1)} s, ${part.peakMb} MB`;
    context.diagnostic(figures);
    assert.ok(part.seconds <= whole.seconds / 5, figures);
    assert.ok(part.peakMb <= limitMb && whole.peakMb <= limitMb, figures);
  });

  test("a part is exported with the same memory", async (context) => {
    const output = join(program.folder, "part.jsonl.zst");
    const args = [
      "export",
      "acme",
      "-o",
      output,
      "--select",
      "site=Spare 51",
      "--since",
      "2026-01-20",
    ];
    const { seconds, peakMb } = await program.measure(target.url, args);
    context.diagnostic(`${seconds.toFixed(1)} s, ${peakMb} MB`);
    assert.ok(peakMb <= limitMb);
  });
});
