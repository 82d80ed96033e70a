import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, afterEach, before, suite, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { AppError } from "../../src/errors.ts";
import type { Store } from "../../src/storage/store.ts";
import {
  errorBody,
  type FaultProxy,
  isRequest,
  type SeenRequest,
  startFaultProxy,
} from "../harness/fault-proxy.ts";
import { s3Missing } from "../harness/s3-server.ts";
import { makeBucket, type TestBucket } from "../harness/s3-store.ts";
import { chunks, keysOf, readAll } from "../harness/stores.ts";

const mebibyte = 1 << 20;
const patience = { connectMs: 20_000, silenceMs: 20_000, pauseMs: 10, clearUpMs: 5_000 };
/** For a server that stalls, and only for that: a busy machine may be as slow. */
const impatience = { ...patience, silenceMs: 1_500 };
const attempts = 5;

suite("a store in S3 behind a network that fails", { skip: s3Missing() ?? false }, () => {
  let bucket: TestBucket;
  let proxy: FaultProxy;
  let store: Store;
  let impatient: Store;
  const large = randomBytes(9 * mebibyte);

  before(async () => {
    bucket = await makeBucket();
    proxy = await startFaultProxy(bucket.access.endpoint);
    store = await bucket.open({ endpoint: proxy.endpoint, patience });
    impatient = await bucket.open({ endpoint: proxy.endpoint, patience: impatience });
    await store.write("to-read", chunks(large));
    proxy.heal();
  });
  afterEach(() => proxy.heal());
  after(async () => {
    await bucket.close();
    await proxy.close();
  });

  async function* inPieces() {
    for (let i = 0; i < large.length; i += mebibyte) yield large.subarray(i, i + mebibyte);
  }

  /** Neither an object nor a pending upload; asked without the proxy. */
  async function assertNothing(key: string): Promise<void> {
    proxy.heal();
    assert.equal(await store.stat(key), undefined);
    assert.deepEqual(await bucket.pendingUploads(), []);
  }

  async function assertWhole(key: string, content: Uint8Array): Promise<void> {
    proxy.heal();
    const read = await readAll(store, key);
    assert.equal(sha256(read), sha256(content));
    assert.deepEqual(await bucket.pendingUploads(), []);
  }

  const seen = (matches: (request: SeenRequest) => boolean) =>
    proxy.requests.filter(matches).length;

  suite("that answers 500 or 503", () => {
    test("a few times: parts are sent again, and the object is whole", async () => {
      proxy.fail(isRequest.begin, { kind: "answer", status: 500 }, 1);
      proxy.fail(isRequest.part, { kind: "answer", status: 503, body: errorBody("SlowDown") }, 2);
      proxy.fail(isRequest.complete, { kind: "answer", status: 500 }, 1);
      await store.write("busy", inPieces());
      assert.equal(seen(isRequest.part), 2 + 2);
      await assertWhole("busy", large);
    });

    test("always: an error after five attempts, and no upload is left", async () => {
      proxy.fail(isRequest.part, { kind: "answer", status: 503, body: errorBody("SlowDown") });
      await assert.rejects(store.write("down", inPieces()), {
        name: "AppError",
        code: "s3-failed",
        exitCode: 8,
        message: `could not write "${store.nameOf("down")}": ${new URL(proxy.endpoint).host} answered 503 SlowDown, ${attempts} attempts`,
      });
      assert.equal(seen(isRequest.complete), 0);
      await assertNothing("down");
    });

    test("also to small objects, lists and reads", async () => {
      const fault = { kind: "answer", status: 500, body: errorBody("InternalError") } as const;
      proxy.fail(isRequest.any, fault, 2);
      await store.write("small", chunks("x"));
      proxy.fail(isRequest.list, fault, 2);
      assert.ok((await keysOf(store)).includes("small"));
      proxy.fail(isRequest.read, fault, 2);
      assert.equal((await readAll(store, "small")).toString(), "x");
      proxy.fail(isRequest.any, fault);
      const failure = { code: "s3-failed", exitCode: 8, message: /answered 500 .+, 5 attempts/ };
      await assert.rejects(store.write("small-2", chunks("x")), failure);
      await assert.rejects(keysOf(store), failure);
      await assert.rejects(async () => await store.read("small"), failure);
      await assert.rejects(store.remove("small"), failure);
      await assert.rejects(store.sweep(""), failure);
    });
  });

  suite("while an upload is interrupted", () => {
    test("its clearing up has a deadline of its own, and nothing is left", async () => {
      const stop = new AbortController();
      const isPart = (request: SeenRequest) => {
        if (isRequest.part(request)) setTimeout(() => stop.abort(), 20);
        return isRequest.part(request);
      };
      proxy.fail(isPart, { kind: "stall" });
      await assert.rejects(store.write("stopped", inPieces(), { signal: stop.signal }), {
        name: "AbortError",
      });
      assert.equal(seen(isRequest.abort), 1);
      await assertNothing("stopped");
    });

    test("at its very beginning: nothing is left", async () => {
      const stop = new AbortController();
      const begins = (request: SeenRequest) => {
        if (isRequest.begin(request)) setTimeout(() => stop.abort(), 1);
        return false;
      };
      proxy.fail(begins, { kind: "stall" });
      await assert.rejects(store.write("stopped", inPieces(), { signal: stop.signal }), {
        name: "AbortError",
      });
      await assertNothing("stopped");
    });

    test("and just when a small object, or the end of a large one, has arrived", async () => {
      for (const [matches, source] of [
        [isRequest.put, () => chunks("x")],
        [isRequest.complete, inPieces],
      ] as const) {
        const stop = new AbortController();
        proxy.fail(matches, { kind: "hold-answer", onAnswer: () => stop.abort() });
        await assert.rejects(store.write("late", source(), { signal: stop.signal }), {
          name: "AbortError",
        });
        await assertNothing("late");
      }
    });

    test("what could not be cleared away is named", async () => {
      proxy.fail(isRequest.part, { kind: "answer", status: 400, body: errorBody("Broken") });
      proxy.fail(isRequest.abort, { kind: "answer", status: 403, body: errorBody("AccessDenied") });
      await assert.rejects(store.write("left", inPieces()), (error) => {
        assert.ok(error instanceof AppError);
        assert.equal(error.exitCode, 8);
        assert.match(error.message, /answered 400 Broken/);
        assert.deepEqual(error.details, [
          `an unfinished upload of "${store.nameOf("left")}" was left; the next run clears it away`,
        ]);
        return true;
      });
      proxy.heal();
      assert.equal((await bucket.pendingUploads()).length, 1);
      assert.equal((await store.sweep("left")).length, 1);
      await assertNothing("left");
    });
  });

  suite("that answers 200 with an error in the body on completion", () => {
    test("once: it is asked again", async () => {
      const body = errorBody("InternalError");
      proxy.fail(isRequest.complete, { kind: "answer", status: 200, body }, 1);
      await store.write("twice", inPieces());
      await assertWhole("twice", large);
    });

    test("always: a failure, and no upload is left, however the body ends", async () => {
      for (const end of ["", "\n", " ".repeat(40)]) {
        const body = errorBody("InternalError", "We encountered an internal error.") + end;
        proxy.fail(isRequest.complete, { kind: "answer", status: 200, body });
        await assert.rejects(store.write("unfinished", inPieces()), (error) => {
          assert.ok(error instanceof AppError);
          assert.equal(error.exitCode, 8);
          assert.match(error.message, /^could not write "s3:.*(InternalError|does not have it)/);
          return true;
        });
        await assertNothing("unfinished");
      }
    });

    test("also over an object of the same size, which stays as it was", async () => {
      const old = randomBytes(large.length);
      await store.write("replaced", chunks(old));
      proxy.fail(isRequest.complete, {
        kind: "answer",
        status: 200,
        body: `${errorBody("InternalError")}\n`,
      });
      await assert.rejects(store.write("replaced", inPieces(), { overwrite: true }), {
        code: "incomplete-object",
        exitCode: 8,
      });
      await assertWhole("replaced", old);
    });
  });

  suite("that stalls", () => {
    test("anywhere: an error in bounded time, and the next run works", async () => {
      const failure = { code: "s3-unreachable", exitCode: 8, message: /did not answer in time/ };
      const cases = [
        [isRequest.head, "stat", (key: string) => impatient.write(key, chunks("x"))],
        [isRequest.put, "put", (key: string) => impatient.write(key, chunks("x"))],
        [isRequest.begin, "begin", (key: string) => impatient.write(key, inPieces())],
        [isRequest.part, "part", (key: string) => impatient.write(key, inPieces())],
        [isRequest.complete, "complete", (key: string) => impatient.write(key, inPieces())],
        [isRequest.list, "list", (key: string) => keysOf(impatient, key)],
        [isRequest.read, "read", (key: string) => impatient.read(key)],
        [isRequest.remove, "remove", (key: string) => impatient.remove(key)],
      ] as const;
      const stalls = async ([matches, key, work]: (typeof cases)[number]) => {
        const mine = (request: SeenRequest) =>
          matches(request) && request.url.includes(`stalled-${key}`);
        proxy.fail(mine, { kind: "stall" });
        const begun = performance.now();
        await assert.rejects(async () => await work(`stalled-${key}`), failure, key);
        const taken = performance.now() - begun;
        assert.ok(taken < 30_000, `${key}: ${taken} ms`);
        // Two parts are sent at a time, and the first that fails ends the other.
        const times = seen(mine);
        assert.ok(
          matches === isRequest.part ? times >= 2 && times <= 4 : times === 2,
          `${key}: silence is borne twice, not five times: ${times}`,
        );
      };
      await Promise.all(cases.map(stalls));
      proxy.heal();
      assert.deepEqual(await keysOf(store, "stalled"), []);
      assert.deepEqual(await bucket.pendingUploads(), []);
      await store.write("stalled", inPieces());
      await assertWhole("stalled", large);
    });

    test("in the middle of an object: it is read on from there", async () => {
      proxy.fail(isRequest.read, { kind: "stall-response", after: 2 * mebibyte }, 2);
      assert.equal(sha256(await readAll(impatient, "to-read")), sha256(large));
      assert.ok(seen(isRequest.read) >= 3, "twice it fell silent");
    });

    test("but a reader that takes its time is no stall", async () => {
      const digest = createHash("sha256");
      let slow = 1;
      for await (const chunk of await impatient.read("to-read")) {
        digest.update(chunk as Uint8Array);
        if (slow > 0) await wait(2.5 * impatience.silenceMs);
        slow -= 1;
      }
      assert.equal(digest.digest("hex"), sha256(large));
    });

    test("a reader that goes away does not wait for it", async () => {
      proxy.fail(isRequest.read, { kind: "stall-response", after: 10 });
      const stream = await store.read("to-read");
      stream.resume();
      await wait(50);
      const begun = performance.now();
      stream.destroy();
      await new Promise((resolve) => stream.once("close", resolve));
      assert.ok(performance.now() - begun < patience.silenceMs / 4);
      assert.equal(seen(isRequest.read), 1);
    });
  });

  suite("that cuts connections", () => {
    test("in the middle of a part, or of a small object: it is sent again", async () => {
      proxy.fail(isRequest.part, { kind: "cut-request", after: mebibyte }, 3);
      await store.write("cut", inPieces());
      await assertWhole("cut", large);
      proxy.fail(isRequest.put, { kind: "cut-request", after: 1 }, 3);
      await store.write("cut-small", chunks("small"));
      await assertWhole("cut-small", Buffer.from("small"));
    });

    test("before the answer: an object that is there is neither a failure nor another's", async () => {
      proxy.fail(isRequest.put, { kind: "lose-answer" }, 1);
      assert.deepEqual(await store.write("lost-1", chunks("small")), { bytes: 5 });
      await assertWhole("lost-1", Buffer.from("small"));
      proxy.fail(isRequest.put, { kind: "lose-answer" });
      assert.deepEqual(await store.write("lost-2", chunks("small")), { bytes: 5 });
      await assertWhole("lost-2", Buffer.from("small"));
      proxy.fail(isRequest.begin, { kind: "lose-answer" }, 1);
      proxy.fail(isRequest.part, { kind: "lose-answer" }, 1);
      proxy.fail(isRequest.complete, { kind: "lose-answer" }, 1);
      assert.deepEqual(await store.write("lost-3", inPieces()), { bytes: large.length });
      await assertWhole("lost-3", large);
      proxy.fail(isRequest.begin, { kind: "lose-answer" });
      await assert.rejects(store.write("lost-4", inPieces()), { code: "s3-unreachable" });
      await assertNothing("lost-4");
    });

    test("in the middle of an object: it is read on from there, and nothing comes twice", async () => {
      proxy.fail(isRequest.read, { kind: "cut-response", after: mebibyte }, 6);
      assert.equal(sha256(await readAll(store, "to-read")), sha256(large));
      const ranges = proxy.requests
        .filter(isRequest.read)
        .map(({ headers }) => Number(/^bytes=(\d+)-$/.exec(headers.range ?? "bytes=0-")?.[1]));
      assert.equal(ranges.length, 7);
      assert.equal(ranges[0], 0);
      assert.ok(
        ranges.every((start, i) => i === 0 || start > (ranges[i - 1] ?? 0)),
        `${ranges}`,
      );
    });

    test("again and again without a byte: an error after five attempts", async () => {
      proxy.fail(isRequest.read, { kind: "cut-response", after: 0 });
      await assert.rejects(async () => await readAll(store, "to-read"), {
        name: "AppError",
        code: "s3-unreachable",
        exitCode: 8,
        message: `could not read "${store.nameOf("to-read")}": ${new URL(proxy.endpoint).host} cannot be reached (ECONNRESET)`,
      });
      assert.equal(seen(isRequest.read), attempts);
    });

    test("and the object is replaced meanwhile: an error, not a mixture", async () => {
      await store.write("changing", chunks(large));
      proxy.fail(isRequest.read, { kind: "cut-response", after: 3 * mebibyte }, 1);
      const stream = await store.read("changing");
      await store.write("changing", chunks(randomBytes(large.length)), { overwrite: true });
      await assert.rejects(
        async () => {
          for await (const chunk of stream) void chunk;
        },
        {
          code: "changed-object",
          exitCode: 8,
          message: `"${store.nameOf("changing")}" was replaced while it was read`,
        },
      );
    });
  });

  test("an object that may not be removed stays, and that has a code of its own", async () => {
    await store.write("locked", chunks("kept"));
    proxy.fail(isRequest.remove, { kind: "answer", status: 403, body: errorBody("AccessDenied") });
    await assert.rejects(store.remove("locked"), {
      name: "AppError",
      code: "object-locked",
      exitCode: 8,
      message: `"${store.nameOf("locked")}" may not be removed (AccessDenied)`,
    });
    await assertWhole("locked", Buffer.from("kept"));
  });

  test("a server without conditional writes is asked without them", async () => {
    const body = errorBody("NotImplemented", "A header you provided is not implemented");
    proxy.fail(({ headers }) => headers["if-none-match"] !== undefined, {
      kind: "answer",
      status: 501,
      body,
    });
    await store.write("old-server", chunks("x"));
    await store.write("old-server-large", inPieces());
    await assert.rejects(store.write("old-server", chunks("y")), { code: "object-exists" });
    await assertWhole("old-server", Buffer.from("x"));
  });
});

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
