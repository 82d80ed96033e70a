import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { pair } from "../harness/layer-samples.ts";

const program = fileURLToPath(new URL("../harness/encode-much.ts", import.meta.url));
const megabytes = 1000;

/** Encodes so much, opens it again in another process, and gives the peaks of both in megabytes. */
async function peaks(compression: string, how: string): Promise<readonly [number, number]> {
  const env = { ...process.env, RECIPIENT: pair.recipient, IDENTITY: pair.identity };
  const writer = spawn(process.execPath, [program, compression, how, String(megabytes)], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const reader = spawn(process.execPath, [program, "open"], {
    env,
    stdio: [writer.stdout, "ignore", "pipe"],
  });
  // Our own end of the pipe between them, which nobody reads here.
  writer.stdout.destroy();
  const [written, read] = await Promise.all([
    text(writer.stderr),
    text(reader.stderr),
    once(writer, "exit"),
    once(reader, "exit"),
  ]);
  assert.deepEqual([writer.exitCode, reader.exitCode], [0, 0], `${written}\n${read}`);
  return [Number(written), Number(read)];
}

suite(`${megabytes} MB through the layers, there and back`, () => {
  for (const [compression, how, limit] of [
    ["none", "recipient", 250],
    ["zstd", "recipient", 250],
    ["gzip", "recipient", 250],
    ["gzip", "openssl", 250],
    ["zstd", "passphrase", 400],
  ] as const) {
    test(`with ${compression} and ${how} need at most ${limit} MB`, async (context) => {
      const [written, read] = await peaks(compression, how);
      const figures = `${written} MB to write, ${read} MB to read`;
      context.diagnostic(figures);
      assert.ok(written > 40 && written <= limit && read > 40 && read <= limit, figures);
    });
  }
});
