import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createGunzip, createGzip } from "node:zlib";
import { AppError } from "../../../src/errors.ts";
import { readWholeFile, storageError, writeWholeFile } from "../../../src/storage/local-file.ts";
import { withoutRoot } from "../../harness/without-root.ts";

async function* content(...parts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part);
}

function ofSystem(code: string, syscall: string): Error {
  return Object.assign(new Error(`${code}: ${syscall}`), { code, errno: -1, syscall });
}

suite("a file that is written whole", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  after(() => rm(folder, { recursive: true }));

  const plain = { stages: [], overwrite: false };

  test("has mode 0600, in folders of 0700 that are made for it", async () => {
    const path = join(folder, "new", "deep", "bundle");
    assert.deepEqual(await writeWholeFile(path, content("one ", "two"), plain), { path, bytes: 7 });
    assert.equal(await readFile(path, "utf8"), "one two");
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await stat(join(folder, "new"))).mode & 0o777, 0o700);
    assert.equal((await stat(join(folder, "new", "deep"))).mode & 0o777, 0o700);
    assert.deepEqual(await readdir(join(folder, "new", "deep")), ["bundle"]);
  });

  test("goes through its stages, and its size is that of what is stored", async () => {
    const path = join(folder, "packed");
    const text = "text ".repeat(10_000);
    const { bytes } = await writeWholeFile(path, content(text), {
      ...plain,
      stages: [createGzip()],
    });
    assert.equal((await stat(path)).size, bytes);
    assert.ok(bytes < 1000);
    const { stream, size } = await readWholeFile(path);
    assert.equal(size, bytes);
    const unpacked = stream.pipe(createGunzip());
    assert.equal(Buffer.concat(await Array.fromAsync(unpacked)).toString("utf8"), text);
  });

  test("does not take the place of another, unless told to", async () => {
    const path = join(folder, "taken");
    await writeFile(path, "old");
    let asked = false;
    async function* unused(): AsyncGenerator<Uint8Array> {
      asked = true;
      yield Buffer.from("new");
    }
    await assert.rejects(writeWholeFile(path, unused(), plain), {
      code: "output-exists",
      exitCode: 2,
      message: `the file "${path}" exists already`,
      hint: "Choose another name with -o, or add --overwrite.",
    });
    assert.equal(asked, false);
    assert.equal(await readFile(path, "utf8"), "old");
    await writeWholeFile(path, content("new"), { ...plain, overwrite: true });
    assert.equal(await readFile(path, "utf8"), "new");
    assert.equal((await stat(path)).mode & 0o777, 0o600);
  });

  test("does not take the place of one that appeared meanwhile", async () => {
    const path = join(folder, "race");
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("mine");
      await writeFile(path, "theirs");
    }
    await assert.rejects(writeWholeFile(path, slow(), plain), {
      code: "output-exists",
      exitCode: 2,
    });
    assert.equal(await readFile(path, "utf8"), "theirs");
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.includes("race")),
      ["race"],
    );
  });

  test("leaves nothing behind when its source fails, or it is interrupted", async () => {
    const failure = new AppError("x", 3, "a row is invalid");
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(1 << 20);
      throw failure;
    }
    await assert.rejects(writeWholeFile(join(folder, "failed"), failing(), plain), failure);

    const interruption = new AbortController();
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let i = 0; ; i += 1) {
        if (i === 5) interruption.abort();
        yield Buffer.alloc(1000);
      }
    }
    const path = join(folder, "interrupted");
    await assert.rejects(
      writeWholeFile(path, endless(), { ...plain, signal: interruption.signal }),
      { name: "AbortError" },
    );
    const left = await readdir(folder);
    assert.deepEqual(
      left.filter((name) => /failed|interrupted|partial/.test(name)),
      [],
    );
  });

  test("keeps the old file when an overwrite fails", async () => {
    const path = join(folder, "kept");
    await writeFile(path, "old");
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("new");
      throw new Error("broken");
    }
    await assert.rejects(writeWholeFile(path, failing(), { ...plain, overwrite: true }));
    assert.equal(await readFile(path, "utf8"), "old");
  });

  test("cannot be made below another file: exit 8", async () => {
    const file = join(folder, "plain file");
    await writeFile(file, "");
    await assert.rejects(writeWholeFile(join(file, "below"), content("x"), plain), {
      code: "not-writable",
      exitCode: 8,
      message: `"${join(file, "below")}" cannot be written (EEXIST)`,
    });
  });

  test("cannot be made in a folder without rights: exit 8", async () => {
    const locked = join(folder, "locked");
    await writeWholeFile(join(locked, "first"), content("x"), plain);
    await chmod(locked, 0o500);
    await withoutRoot(async () => {
      await assert.rejects(writeWholeFile(join(locked, "second"), content("x"), plain), {
        code: "not-writable",
        exitCode: 8,
      });
    });
  });
});

suite("a file that is read", () => {
  test("has to be there, and to be a file: exit 2", async () => {
    await assert.rejects(readWholeFile("/nowhere/bundle"), {
      code: "no-such-file",
      exitCode: 2,
      message: 'there is no file "/nowhere/bundle"',
    });
    await assert.rejects(readWholeFile(tmpdir()), {
      code: "not-a-file",
      exitCode: 2,
      message: `"${tmpdir()}" is a folder`,
    });
  });
});

suite("an error of the storage", () => {
  const named = (code: string) => Object.assign(new Error("raw"), { code });

  test("becomes what an operator can act on, with exit 8", () => {
    const cases = [
      ["ENOSPC", "disk-full", 'the disk is full: "/b/x" could not be written'],
      ["EDQUOT", "disk-full", 'the disk is full: "/b/x" could not be written'],
      ["EPIPE", "closed-pipe", '"/b/x" was closed before everything was written'],
      ["EROFS", "not-writable", '"/b/x" cannot be written (EROFS)'],
      ["EIO", "disk-error", 'the disk failed while "/b/x" was written'],
    ] as const;
    for (const [raw, code, message] of cases) {
      const error = storageError(named(raw), "/b/x");
      assert.ok(error instanceof AppError);
      assert.equal(error.code, code);
      assert.equal(error.exitCode, 8);
      assert.equal(error.message, message);
      assert.match(error.hint ?? "", /\.$/);
      assert.ok(error.cause instanceof Error);
    }
  });

  test("of a kind that nobody has listed is one of the disk all the same", async () => {
    const codes = "ESTALE ENOTCONN EUCLEAN EFBIG EHOSTDOWN EMFILE ENXIO ETIMEDOUT".split(" ");
    for (const code of codes) {
      const error = storageError(ofSystem(code, "write"), "/b/x");
      assert.ok(error instanceof AppError, code);
      assert.deepEqual(
        [error.code, error.exitCode, error.message],
        ["not-writable", 8, `"/b/x" cannot be written (${code})`],
      );
      assert.match(error.hint ?? "", /the disk or the mount/);
    }
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    await symlink("loop", join(folder, "loop"));
    const options = { stages: [], overwrite: true };
    await assert.rejects(writeWholeFile(join(folder, "loop", "x"), content("x"), options), {
      code: "not-writable",
      exitCode: 8,
    });
    await rm(folder, { recursive: true });
  });

  test("that is none stays what it is", () => {
    const others = [
      new Error("other"),
      ofSystem("ECONNRESET", "read"),
      ofSystem("ETIMEDOUT", "read"),
      ofSystem("ETIMEDOUT", "connect"),
      ofSystem("EAGAIN", "spawn pg_dump"),
    ];
    for (const other of others) assert.equal(storageError(other, "/b/x"), other);
  });
});
