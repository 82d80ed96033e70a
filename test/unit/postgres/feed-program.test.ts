import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startProgram } from "../../../src/postgres/child-program.ts";
import { feedProgram } from "../../../src/postgres/feed-program.ts";

const { PATH = "" } = process.env;
const megabyte = Buffer.alloc(1 << 20, "x");

const start = (script: string) =>
  startProgram("sh", ["-c", script], { env: { PATH }, stdin: "pipe" });

/** Says how much of it was read, and whether its end was come to. */
function sourceOf(chunks: number, atEnd: () => Promise<void> = async () => undefined) {
  const seen = { chunks: 0, ended: false };
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (; seen.chunks < chunks; seen.chunks += 1) yield megabyte;
    await atEnd();
    seen.ended = true;
  }
  return { bytes: bytes(), seen };
}

async function textOf(stream: AsyncIterable<unknown>): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += String(chunk);
  return text;
}

suite("a program that is fed", () => {
  test("gets every byte, then the end", async () => {
    const program = start("wc -c");
    const { bytes } = sourceOf(20);
    assert.equal(await feedProgram(program, bytes, { onEarlyEnd: "stop" }), true);
    assert.equal((await textOf(program.stdout)).trim(), String(20 * megabyte.length));
    await program.done;
  });

  test("with nothing gets the end alone", async () => {
    const program = start("wc -c");
    assert.equal(await feedProgram(program, sourceOf(0).bytes, { onEarlyEnd: "stop" }), true);
    assert.equal((await textOf(program.stdout)).trim(), "0");
  });

  test("cannot have read everything before the source has ended well", async () => {
    const program = start(`head -c ${3 * megabyte.length} >/dev/null; echo all`);
    let ended = false;
    void program.done.then(() => {
      ended = true;
    });
    const { bytes } = sourceOf(3, async () => {
      await sleep(200);
      assert.equal(ended, false);
    });
    assert.equal(await feedProgram(program, bytes, { onEarlyEnd: "stop" }), true);
    assert.equal(await textOf(program.stdout), "all\n");
  });

  test("that ends early does not hide what is found at the end of the source", async () => {
    const program = start("exit 0");
    await program.done;
    const { bytes, seen } = sourceOf(20, () => Promise.reject(new Error("the hash differs")));
    const fed = feedProgram(program, bytes, { onEarlyEnd: "read-on" });
    await assert.rejects(fed, /the hash differs/);
    assert.equal(seen.chunks, 20);
  });

  test("that ends early leaves the rest unread where nobody wants it, and this is told", async () => {
    const program = start("head -c 10 >/dev/null");
    const { bytes, seen } = sourceOf(50);
    assert.equal(await feedProgram(program, bytes, { onEarlyEnd: "stop" }), false);
    assert.ok(seen.chunks < 50 && !seen.ended);
    await program.done;
  });

  test("does not take what it has got of a source that fails for everything", async () => {
    const program = start("cat >/dev/null; echo took it");
    const { bytes } = sourceOf(2, () => Promise.reject(new Error("cut")));
    const said = textOf(program.stdout);
    await assert.rejects(feedProgram(program, bytes, { onEarlyEnd: "stop" }), /cut/);
    await program.stop();
    assert.equal(await said, "");
  });
});
