import assert from "node:assert/strict";
import { test } from "node:test";
import { jsonWithList } from "../../../../src/cli/render/streamed-json.ts";

async function piecesOf(head: object, items: readonly unknown[]): Promise<readonly string[]> {
  return await Array.fromAsync(
    jsonWithList(
      head,
      "items",
      (async function* () {
        yield* items;
      })(),
    ),
  );
}

test("an object with a list of any length is one JSON document, in pieces", async () => {
  for (const head of [{}, { a: 1, "b\n": ["x"] }]) {
    for (const items of [[], [null], [{ text: '"],}' }, 2]]) {
      assert.deepEqual(JSON.parse((await piecesOf(head, items)).join("")), { ...head, items });
    }
  }
  const many = Array.from({ length: 20_000 }, (_, n) => ({ n, text: "\u2028 and more" }));
  const pieces = await piecesOf({ a: 1 }, many);
  assert.deepEqual(JSON.parse(pieces.join("")), { a: 1, items: many });
  assert.ok(pieces.length > 5 && pieces.every((piece) => piece.length < 70_000));
});
