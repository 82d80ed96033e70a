import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { completeLines, countLines } from "../../../src/bundle/lines.ts";

async function* from(chunks: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

async function batches(chunks: readonly string[], maxLine = 1000, batch = 1): Promise<string[]> {
  const all = await Array.fromAsync(completeLines(from(chunks), { maxLine, batch }));
  return all.map(String);
}

suite("lines out of chunks", () => {
  test("are the same however the bytes were cut", async () => {
    const cuts = fc.array(fc.nat(400), { maxLength: 12 });
    const lines = fc.array(fc.string({ maxLength: 12, unit: "binary" }).map(withoutLineFeeds), {
      maxLength: 30,
    });
    await fc.assert(
      fc.asyncProperty(
        lines,
        cuts,
        fc.boolean(),
        fc.integer({ min: 1, max: 60 }),
        async (...given) => {
          const [content, at, ended, batch] = given;
          const bytes = Buffer.from(content.join("\n") + (ended ? "\n" : ""));
          const places = [...new Set([0, ...at.filter((n) => n < bytes.length), bytes.length])];
          const sorted = places.sort((a, b) => a - b);
          async function* chunks(): AsyncGenerator<Uint8Array> {
            for (const [i, start] of sorted.entries()) yield bytes.subarray(start, sorted[i + 1]);
          }
          const limits = { maxLine: 1000, batch };
          const read = await Array.fromAsync(completeLines(chunks(), limits));
          assert.deepEqual(Buffer.concat(read), bytes);
          for (const [i, part] of read.entries()) {
            assert.ok(part.length > 0);
            // Only the last may lack its line end, and only the last may be small.
            if (i < read.length - 1) assert.equal(part.at(-1), 0x0a);
          }
          const counted = read.reduce((sum, part) => sum + countLines(part, 1000), 0);
          assert.equal(counted, bytes.filter((byte) => byte === 0x0a).length);
        },
      ),
    );
  });

  test("come in batches of whole lines", async () => {
    assert.deepEqual(await batches(["a\nb", "b\n", "c\n"]), ["a\n", "bb\n", "c\n"]);
    assert.deepEqual(await batches(["a\nb", "b\nc\n"], 1000, 100), ["a\nbb\nc\n"]);
    assert.deepEqual(await batches(["\n\n"]), ["\n\n"]);
    assert.deepEqual(await batches([]), []);
  });

  test("keep a last line without its line end, for the caller to judge", async () => {
    assert.deepEqual(await batches(["a\n", "b"]), ["a\n", "b"]);
    assert.equal(countLines(Buffer.from("a\nb"), 10), 1);
  });

  test("that are too long are refused before they are whole", async () => {
    const endless = Array.from({ length: 50 }, () => "x".repeat(10));
    await assert.rejects(batches(endless, 99), {
      code: "row-too-long",
      exitCode: 3,
      message: "a row is longer than 99 bytes",
      hint: /--max-row-size/,
    });
    const named = completeLines(from(endless), { maxLine: 99, batch: 1, table: "public.t" });
    await assert.rejects(Array.fromAsync(named), {
      message: 'a row of table "public.t" is longer than 99 bytes',
    });
  });

  test("are counted with their length, to the byte", () => {
    assert.equal(countLines(Buffer.from("123\n1234\n"), 5), 2);
    assert.throws(() => countLines(Buffer.from("123\n12345\n"), 5), { code: "row-too-long" });
  });
});

function withoutLineFeeds(text: string): string {
  return text.replaceAll("\n", " ");
}
