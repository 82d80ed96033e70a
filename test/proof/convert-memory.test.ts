import assert from "node:assert/strict";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { after, before, suite, test } from "node:test";
import { type CompiledProgram, compileProgram } from "../harness/compiled-program.ts";

const limitMb = 200;
const tenant = "5a7e0000-0000-4000-8000-000000000001";

suite("the compiled program", () => {
  let program: CompiledProgram;

  before(async () => {
    program = await compileProgram();
  });
  after(() => program.remove());

  test(`converts a document of any size in at most ${limitMb} MB`, async (context) => {
    const small = await peakOf(10_000);
    // When garbage is collected depends on what else the machine does.
    const large = Math.min(await peakOf(300_000), await peakOf(300_000));
    const figures = `convert: ${small} MB with 10000 events, ${large} MB with 300000`;
    context.diagnostic(figures);
    assert.ok(large <= limitMb && large - small <= 80, figures);
  });

  /** The peak of resident memory in megabytes. */
  async function peakOf(events: number): Promise<number> {
    const document = join(program.folder, `${events}.json`);
    await pipeline(Readable.from(lines(events)), createWriteStream(document));
    const output = join(program.folder, `${events}.jsonl.zst`);
    const args = ["convert", document, "-o", output, "--overwrite"];
    return (await program.measure("postgres://it-needs.none/db", args)).peakMb;
  }
});

/** The newest event first, as N-Kudo lists them. */
function* lines(events: number): Generator<string> {
  yield `{\n  "version": "1.0",\n  "exported_at": "2026-02-03T04:05:06Z",\n  "tenant_id": "${tenant}",\n  "audit_events": [\n`;
  const metadata = Buffer.from(JSON.stringify({ method: "POST", path: "/v1/plans", n: 1.125 }));
  for (let id = events; id > 0; id -= 1) {
    const event = {
      id,
      tenant_id: tenant,
      actor_type: "SYSTEM",
      action: "plan.apply",
      resource_type: "plan",
      resource_id: `plan-${id}`,
      source_ip: "192.0.2.10/32",
      metadata_json: metadata.toString("base64"),
      occurred_at: `2026-02-01T00:00:00.${String(id % 1_000_000).padStart(6, "0")}Z`,
      prev_hash: String(id - 1).padStart(64, "0"),
      entry_hash: String(id).padStart(64, "0"),
      chain_valid: true,
    };
    yield `${JSON.stringify(event, null, 2)}${id > 1 ? "," : ""}\n`;
  }
  yield "  ]\n}\n";
}
