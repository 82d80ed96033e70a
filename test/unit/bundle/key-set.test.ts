import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { Fingerprint, KeySet, WaitingKeys } from "../../../src/bundle/key-set.ts";

suite("a fingerprint", () => {
  const fingerprint = new Fingerprint();
  const of = (...parts: readonly string[]) => {
    const { high, low } = fingerprint.of(parts);
    return `${high} ${low}`;
  };

  test("is the same for the same texts, and another with another seed", () => {
    assert.equal(of("a", "b"), of("a", "b"));
    const { high, low } = new Fingerprint().of(["a", "b"]);
    assert.notEqual(of("a", "b"), `${high} ${low}`);
  });

  test("tells texts, their order, and where one ends and the next begins", () => {
    const alike = [
      of("ab", "c"),
      of("a", "bc"),
      of("abc"),
      of("c", "ab"),
      of("ab", "c", ""),
      of("", "ab", "c"),
      of(),
      of(""),
      of("", ""),
      of("\u0000"),
    ];
    assert.equal(new Set(alike).size, alike.length);
  });

  test("is spread: no two of a hundred thousand neighbours are alike", () => {
    const seen = new Set<string>();
    for (let i = 0; i < 100_000; i += 1) seen.add(of(String(i), "x"));
    assert.equal(seen.size, 100_000);
  });
});

suite("a set of keys", () => {
  const pairs = fc.array(fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 0xffffffff })), {
    maxLength: 3000,
    size: "max",
  });

  test("has what was added and nothing else, however it grows", () => {
    fc.assert(
      fc.property(pairs, pairs, (added, others) => {
        const set = new KeySet();
        const model = new Set<string>();
        for (const [high, low] of added) {
          assert.equal(set.add(high, low), !model.has(`${high} ${low}`));
          model.add(`${high} ${low}`);
        }
        for (const [high, low] of [...added, ...others]) {
          assert.equal(set.has(high, low), model.has(`${high} ${low}`));
        }
      }),
      { numRuns: 20 },
    );
  });

  test("keeps keys apart that begin in the same slot", () => {
    const set = new KeySet();
    for (let i = 0; i < 5000; i += 1) assert.ok(set.add(i, 1024));
    for (let i = 0; i < 5000; i += 1) assert.ok(set.has(i, 1024) && !set.add(i, 1024));
    assert.ok(!set.has(5000, 1024));
  });
});

suite("waiting keys", () => {
  test("come back in their order, each with its row", () => {
    const waiting = new WaitingKeys();
    const entries = Array.from({ length: 1000 }, (_, i) => [i, 0xffffffff - i, i + 1]);
    for (const [high = 0, low = 0, row = 0] of entries) waiting.add(high, low, row);
    assert.deepEqual([...waiting], entries);
    assert.deepEqual([...new WaitingKeys()], []);
  });
});
