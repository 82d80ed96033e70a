import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, suite, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { Store } from "../../src/storage/store.ts";
import { s3Bucket } from "../harness/s3-store.ts";
import {
  chunks,
  keysOf,
  localFolder,
  readAll,
  type StoreKind,
  type StoreUnderTest,
} from "../harness/stores.ts";

const kinds: readonly StoreKind[] = [localFolder, s3Bucket];
const mebibyte = 1 << 20;

for (const kind of kinds) {
  suite(`the contract of a store: ${kind.name}`, { skip: kind.skip ?? false }, () => {
    let made: StoreUnderTest;
    let store: Store;
    before(async () => {
      made = await kind.make();
      store = made.store;
    });
    after(() => made.dispose());

    /** Nothing of the key is there, nor anything unfinished. */
    async function assertNothing(key: string): Promise<void> {
      assert.equal(await store.stat(key), undefined);
      assert.deepEqual(await keysOf(store, key), []);
      assert.deepEqual(await made.unfinished(), []);
    }

    test("a place that does not exist yet is empty", async () => {
      assert.deepEqual(await keysOf(store), []);
      assert.deepEqual(await keysOf(store, "backup_"), []);
      assert.equal(await store.stat("backup_1"), undefined);
      await store.remove("backup_1");
      assert.deepEqual(await store.sweep(""), []);
    });

    test("what is written is read, listed and described as it is", async () => {
      const begun = Date.now();
      assert.deepEqual(await store.write("plain.sql", chunks("one ", "", "two")), { bytes: 7 });
      assert.equal((await readAll(store, "plain.sql")).toString("utf8"), "one two");
      const described = await store.stat("plain.sql");
      assert.deepEqual(
        { ...described, modifiedAt: 0 },
        { key: "plain.sql", bytes: 7, modifiedAt: 0 },
      );
      // S3 tells whole seconds.
      const age = (described?.modifiedAt.getTime() ?? 0) - begun;
      assert.ok(age > -2000 && age < 60_000, `${age} ms`);
      const listed = await Array.fromAsync(store.list("plain"));
      assert.deepEqual(
        listed.map(({ key, bytes }) => ({ key, bytes })),
        [{ key: "plain.sql", bytes: 7 }],
      );
      assert.ok(Math.abs((listed[0]?.modifiedAt.getTime() ?? 0) - begun) < 60_000);
      assert.ok(store.nameOf("plain.sql").startsWith(store.place));
      assert.ok(store.nameOf("plain.sql").endsWith("/plain.sql"));
      assert.deepEqual(await made.unfinished(), []);
    });

    test("names may hold spaces, quotes, other alphabets and what a URL would escape", async () => {
      const keys = [
        "odd/a b.sql",
        "odd/ä€😀.sql",
        "odd/100%25+1&x=?#[1].sql",
        `odd/it's "so" \\ here.sql`,
        "odd/-rf *.sql",
        "odd/line\nbreak.sql",
      ];
      for (const key of keys) await store.write(key, chunks(key));
      for (const key of keys) {
        assert.equal((await readAll(store, key)).toString("utf8"), key);
        assert.equal((await store.stat(key))?.bytes, Buffer.byteLength(key));
      }
      assert.deepEqual(new Set(await keysOf(store, "odd/")), new Set(keys));
      assert.deepEqual(await keysOf(store, "odd/ä€"), ["odd/ä€😀.sql"]);
      for (const key of keys) await store.remove(key);
      assert.deepEqual(await keysOf(store, "odd/"), []);
    });

    test("a key never leaves the root: exit 2", async () => {
      const bad = ["", "/etc/x", "../x", "a/../../x", "a/..", "./x", "a//b", "a/", "a\0b"];
      for (const key of bad) {
        const refusal = { name: "AppError", code: "bad-key", exitCode: 2 };
        await assert.rejects(async () => await store.write(key, chunks("x")), refusal, key);
        await assert.rejects(async () => await store.read(key), refusal, key);
        await assert.rejects(async () => await store.stat(key), refusal, key);
        await assert.rejects(async () => await store.remove(key), refusal, key);
      }
    });

    test("an object may be empty", async () => {
      assert.deepEqual(await store.write("empty", chunks()), { bytes: 0 });
      assert.equal((await store.stat("empty"))?.bytes, 0);
      assert.equal((await readAll(store, "empty")).length, 0);
    });

    test("a large object comes back bit by bit", async () => {
      const block = randomBytes(mebibyte);
      const count = 20;
      const written = createHash("sha256");
      async function* large() {
        for (let i = 0; i < count; i += 1) {
          block.writeUInt32BE(i);
          written.update(block);
          yield Buffer.from(block);
        }
        written.update("end");
        yield Buffer.from("end");
      }
      const size = count * mebibyte + 3;
      assert.deepEqual(await store.write("large", large()), { bytes: size });
      assert.equal((await store.stat("large"))?.bytes, size);
      const read = createHash("sha256");
      for await (const chunk of await store.read("large")) read.update(chunk as Uint8Array);
      assert.equal(read.digest("hex"), written.digest("hex"));
      assert.deepEqual(await made.unfinished(), []);
    });

    test("a key that is taken is refused before anything is read, unless it is to be replaced", async () => {
      await store.write("taken", chunks("old"));
      let asked = false;
      async function* unused() {
        asked = true;
        yield Buffer.from("new");
      }
      await assert.rejects(store.write("taken", unused()), {
        code: "object-exists",
        exitCode: 8,
        message: `"${store.nameOf("taken")}" exists already`,
      });
      assert.equal(asked, false);
      assert.equal((await readAll(store, "taken")).toString("utf8"), "old");
      assert.deepEqual(await store.write("taken", chunks("newer"), { overwrite: true }), {
        bytes: 5,
      });
      assert.equal((await readAll(store, "taken")).toString("utf8"), "newer");
    });

    test("a key that was taken meanwhile is refused, small or large", async () => {
      for (const size of [4, 9 * mebibyte]) {
        const key = `race-${size}`;
        async function* slow() {
          yield Buffer.alloc(size);
          await store.write(key, chunks("theirs"));
        }
        await assert.rejects(store.write(key, slow()), { code: "object-exists", exitCode: 8 });
        assert.equal((await readAll(store, key)).toString("utf8"), "theirs");
      }
      assert.deepEqual(await made.unfinished(), []);
    });

    test("a source that fails leaves nothing, however far it came", async () => {
      for (const size of [0, 4, 9 * mebibyte, 18 * mebibyte]) {
        const failure = new Error("the source failed");
        async function* failing() {
          if (size > 0) yield Buffer.alloc(size);
          throw failure;
        }
        await assert.rejects(store.write("failed", failing()), failure, `${size}`);
        await assertNothing("failed");
      }
      await store.write("kept", chunks("old"));
      async function* failing() {
        yield Buffer.alloc(9 * mebibyte);
        throw new Error("again");
      }
      await assert.rejects(store.write("kept", failing(), { overwrite: true }), {
        message: "again",
      });
      assert.equal((await readAll(store, "kept")).toString("utf8"), "old");
    });

    test("an interruption leaves nothing, even while the source is silent", async () => {
      for (const size of [0, 4, 9 * mebibyte]) {
        const stop = new AbortController();
        let ended = false;
        async function* silent() {
          try {
            if (size > 0) yield Buffer.alloc(size);
            setTimeout(() => stop.abort(), 20);
            await wait(60_000, undefined, { signal: stop.signal });
          } finally {
            ended = true;
          }
        }
        await assert.rejects(store.write("stopped", silent(), { signal: stop.signal }), {
          name: "AbortError",
        });
        await assertNothing("stopped");
        assert.ok(ended);
      }
      const unheard = new AbortController();
      async function* deaf() {
        yield Buffer.from("x");
        setTimeout(() => unheard.abort(), 20);
        await new Promise(() => {});
      }
      await assert.rejects(store.write("stopped", deaf(), { signal: unheard.signal }), {
        name: "AbortError",
      });
      await assertNothing("stopped");
      async function* unused() {
        yield Buffer.from("x");
      }
      await assert.rejects(store.write("stopped", unused(), { signal: AbortSignal.abort() }), {
        name: "AbortError",
      });
      await assertNothing("stopped");
    });

    test("an interruption ends a reader", async () => {
      const stop = new AbortController();
      const stream = await store.read("large", { signal: stop.signal });
      await assert.rejects(
        async () => {
          for await (const chunk of stream) if ((chunk as Uint8Array).length > 0) stop.abort();
        },
        { name: "AbortError" },
      );
    });

    test("a reader that stops early holds nothing up", async () => {
      for await (const chunk of await store.read("large")) {
        assert.ok((chunk as Uint8Array).length > 0);
        break;
      }
      (await store.read("large")).destroy();
    });

    test("the list is in the order of keys, of a prefix only, and complete beyond 1,000", async () => {
      const numbers = Array.from({ length: 1_003 }, (_, i) => i);
      const many = numbers.map((i) => `many/${String(i).padStart(4, "0")}`);
      const pending = [...many].reverse();
      const workers = Array.from({ length: 16 }, async () => {
        for (let key = pending.pop(); key !== undefined; key = pending.pop()) {
          // With S3, to replace what may be there saves a request to look for it.
          await store.write(key, chunks(key), { overwrite: true });
        }
      });
      await Promise.all(workers);
      assert.deepEqual(await keysOf(store, "many/"), many);
      assert.deepEqual(await keysOf(store, "many/100"), ["many/1000", "many/1001", "many/1002"]);
      // A slash sorts behind a full stop, capitals before small letters, and U+FFFD before 😀.
      const order = [
        "order.sql",
        "order/B",
        "order/a",
        "order/a.sql",
        "order/a/b",
        "order/\ufffd",
        "order/😀",
      ];
      const possible = order.filter((key) => key !== "order/a" || store.kind === "s3");
      for (const key of [...possible].reverse()) await store.write(key, chunks("x"));
      assert.deepEqual(await keysOf(store, "order"), possible);
      const all = await keysOf(store);
      assert.equal(new Set(all).size, all.length);
      assert.ok(all.includes("many/0500") && all.includes("order.sql"));
    });

    test("a listing may be left before its end", async () => {
      for await (const { key } of store.list("many/")) {
        assert.equal(key, "many/0000");
        break;
      }
    });

    test("hidden files are no objects", async () => {
      await store.write("hidden/.lock", chunks("x"));
      await store.write("hidden/half.partial", chunks("x"));
      await store.write("hidden/whole", chunks("x"));
      assert.deepEqual(await keysOf(store, "hidden/"), ["hidden/whole"]);
      await store.remove("hidden/half.partial");
    });

    test("there is nothing to read under a name that nothing has: exit 8", async () => {
      for (const key of ["missing", "missing/too", "plain.sql/below"]) {
        await assert.rejects(async () => await store.read(key), {
          name: "AppError",
          code: "no-such-object",
          exitCode: 8,
          message: `there is no "${store.nameOf(key)}"`,
        });
        assert.equal(await store.stat(key), undefined);
      }
      // The beginning of other keys is no key.
      await assert.rejects(async () => await store.read("many"), { code: "no-such-object" });
      assert.equal(await store.stat("many"), undefined);
    });

    test("an object is removed once, and again without an error", async () => {
      await store.write("gone", chunks("x"));
      await store.remove("gone");
      await assertNothing("gone");
      await store.remove("gone");
    });

    test("a sweep removes what is unfinished under its prefix, and nothing else", async () => {
      await store.write("backup_1.sql", chunks("whole"));
      await store.write("deep/backup_1.sql", chunks("whole"));
      await made.leaveUnfinished("backup_1.sql");
      await made.leaveUnfinished("backup_2.sql");
      await made.leaveUnfinished("deep/backup_1.sql");
      await made.leaveUnfinished("other_1.sql");
      assert.equal((await made.unfinished()).length, 4);

      const first = await store.sweep("backup_2");
      assert.equal(first.length, 1);
      assert.match(first[0] ?? "", /backup_2\.sql/);
      assert.equal((await store.sweep("backup_")).length, 1);
      assert.equal((await store.sweep("deep/")).length, 1);
      const left = await made.unfinished();
      assert.equal(left.length, 1);
      assert.match(left[0] ?? "", /other_1\.sql/);
      assert.equal((await store.sweep("")).length, 1);
      assert.deepEqual(await made.unfinished(), []);
      assert.deepEqual(await keysOf(store, "backup_1"), ["backup_1.sql"]);
      assert.deepEqual(await keysOf(store, "deep/"), ["deep/backup_1.sql"]);
    });
  });
}
