import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { suite, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { blocksOf, md5Of, partSize, smallestPart } from "../../../src/storage/multipart.ts";

const mebibyte = 1 << 20;
const tebibyte = 1024 ** 4;

suite("the parts of an upload", () => {
  test("10,000 of them hold more than the largest object, and each is one that S3 takes", () => {
    const sizes = Array.from({ length: 10_000 }, (_, i) => partSize(i + 1));
    assert.ok(sizes.reduce((sum, size) => sum + size, 0) > 5 * tebibyte);
    assert.ok(sizes.every((size) => size >= 5 * mebibyte && size <= 5 * 1024 * mebibyte));
    assert.ok(sizes.every((size, i) => size >= (sizes[i - 1] ?? 0)));
  });

  test("are small where two of them have to be in memory for objects of usual sizes", () => {
    const upTo = (bytes: number) => {
      let number = 0;
      for (let sum = 0; sum < bytes; ) sum += partSize(++number);
      return partSize(number);
    };
    assert.equal(upTo(7 * 1024 * mebibyte), 8 * mebibyte);
    assert.equal(upTo(50 * 1024 * mebibyte), 32 * mebibyte);
    assert.equal(upTo(117 * 1024 * mebibyte), 64 * mebibyte);
  });

  test("hold the source's bytes, whatever its chunks are like", async () => {
    for (const total of [
      0,
      1,
      smallestPart - 1,
      smallestPart,
      smallestPart + 1,
      3 * smallestPart,
    ]) {
      const content = randomBytes(total);
      async function* source() {
        for (let at = 0; at < total; ) {
          yield Buffer.alloc(0);
          const size = 1 + Math.floor(Math.random() * 3 * mebibyte);
          yield content.subarray(at, at + size);
          at += size;
        }
      }
      const digest = createHash("sha256");
      const lengths: number[] = [];
      for await (const { bytes, done } of blocksOf(source())) {
        digest.update(bytes);
        lengths.push(bytes.length);
        done();
      }
      const expected = createHash("sha256").update(content);
      assert.equal(digest.digest("hex"), expected.digest("hex"));
      assert.ok(lengths.slice(0, -1).every((length) => length === smallestPart));
      assert.ok(total === 0 || lengths.every((length) => length > 0), `${lengths}`);
    }
  });

  test("are two at a time in memory: the source waits for the others", async () => {
    let given = 0;
    async function* source() {
      for (let i = 0; i < 40; i += 1) {
        given += mebibyte;
        yield Buffer.alloc(mebibyte);
      }
    }
    const blocks = blocksOf(source());
    const first = await blocks.next();
    await blocks.next();
    const third = blocks.next();
    await wait(20);
    assert.ok(given <= 2 * smallestPart + mebibyte, `${given} bytes were taken from the source`);
    first.value?.done();
    assert.equal((await third).value?.bytes.length, smallestPart);
    await blocks.return(undefined);
  });

  test("carry their MD5 as S3 wants it", () => {
    assert.equal(md5Of(Buffer.from("abc")), "kAFQmDzST7DWlj99KOF/cg==");
  });
});
