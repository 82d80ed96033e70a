import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { inTransaction, withTailLast } from "../../../src/backup/one-transaction.ts";

async function* inSteps(text: string, step: number): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

const textOf = async (chunks: AsyncIterable<Uint8Array>) =>
  Buffer.concat(await Array.fromAsync(chunks)).toString();

suite("a script in one transaction", () => {
  const objects = (id: number) =>
    `SELECT pg_catalog.lo_open('${id}', 131072);\nSELECT pg_catalog.lowrite(0, '\\x4142');\nSELECT pg_catalog.lo_close(0);\n\n`;
  const before = "COPY public.t (v) FROM stdin;\nBEGIN;\nCOMMIT;\n\\.\n\n--\n";
  const after = "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN\nCOMMIT;\nEND $$;\n";

  test("has none of pg_dump's own around large objects, however the bytes come, and all else", async () => {
    const script = `${before}\nBEGIN;\n\n${objects(1)}COMMIT;\n\n--\n\nBEGIN;\n\n${objects(2)}COMMIT;\n\n${after}`;
    const one = `${before}\n      \n\n${objects(1)}       \n\n--\n\n      \n\n${objects(2)}       \n\n${after}`;
    for (const step of [1, 3, 17, 100_000]) {
      const made = await textOf(inTransaction(inSteps(script, step)));
      assert.equal(made, `BEGIN;\n${one}\nCOMMIT;\n`, `${step} bytes at a time`);
    }
    const without = await textOf(inTransaction(inSteps(before + after, 5)));
    assert.equal(without, `BEGIN;\n${before}${after}\nCOMMIT;\n`);
  });

  test("gives its last bytes when it has ended well, and never else", async () => {
    const text = `${"x".repeat(200_000)}\nCOMMIT;\n`;
    assert.equal(await textOf(withTailLast(inSteps(text, 7_000))), text);
    async function* cut() {
      yield* inSteps(text, 7_000);
      throw new Error("it was cut");
    }
    let seen = "";
    await assert.rejects(async () => {
      for await (const chunk of withTailLast(cut())) seen += Buffer.from(chunk).toString();
    }, /it was cut/);
    assert.ok(seen.length > 100_000 && !seen.includes("COMMIT"));
  });
});
