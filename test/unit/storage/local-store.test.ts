import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { openLocalStore } from "../../../src/storage/local-store.ts";
import { chunks, keysOf } from "../../harness/stores.ts";
import { withoutRoot } from "../../harness/without-root.ts";

suite("a local store", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    // Of nobody, who does the work below when the tests run as root.
    await chmod(folder, 0o777);
  });
  after(() => rm(folder, { recursive: true }));

  test("makes its folder with 0700 and its files with 0600, at the first write", async () => {
    const root = join(folder, "new", "backups");
    const store = openLocalStore(`${root}//`);
    assert.equal(store.place, root);
    assert.equal(store.nameOf("a/b.sql"), join(root, "a/b.sql"));
    assert.deepEqual(await keysOf(store), []);
    await assert.rejects(stat(root), { code: "ENOENT" });
    await store.write("a/b.sql", chunks("x"));
    for (const path of [join(folder, "new"), root, join(root, "a")]) {
      assert.equal((await stat(path)).mode & 0o777, 0o700, path);
    }
    assert.equal((await stat(join(root, "a/b.sql"))).mode & 0o777, 0o600);
  });

  test("neither follows nor lists symbolic links, and is no way to other files", async () => {
    const root = join(folder, "links");
    const outside = join(folder, "outside");
    await mkdir(join(root, "real"), { recursive: true });
    await mkdir(outside);
    await writeFile(join(outside, "secret"), "secret");
    await symlink(outside, join(root, "elsewhere"));
    await symlink(join(outside, "secret"), join(root, "file"));
    await symlink(root, join(root, "real", "loop"));
    await writeFile(join(root, "real", "x"), "x");
    const store = openLocalStore(root);

    assert.deepEqual(await keysOf(store), ["real/x"]);
    for (const key of ["file", "elsewhere/secret"]) {
      assert.equal(await store.stat(key), undefined);
      await assert.rejects(async () => await store.read(key), { code: "no-such-object" });
      await store.remove(key);
    }
    await assert.rejects(store.write("elsewhere/new", chunks("x")), {
      code: "not-writable",
      exitCode: 8,
      message: `"${join(root, "elsewhere")}" is a symbolic link`,
    });
    assert.deepEqual((await keysOf(openLocalStore(outside))).toSorted(), ["secret"]);
    // The folder itself may be one.
    await symlink(root, join(folder, "by-another-name"));
    assert.deepEqual(await keysOf(openLocalStore(join(folder, "by-another-name"))), ["real/x"]);
  });

  test("leaves other programs' hidden and partial files alone, in a sweep too", async () => {
    const root = join(folder, "foreign");
    await mkdir(root);
    const foreign = [".backup_1.partial", "backup_1.partial", ".backup_1.0123ABCD.partial"];
    for (const name of foreign) await writeFile(join(root, name), "x");
    await writeFile(join(root, ".backup_1.sql.0123abcd.partial"), "x");
    const store = openLocalStore(root);
    assert.deepEqual(await keysOf(store), []);
    assert.deepEqual(await store.sweep("backup_1"), [join(root, ".backup_1.sql.0123abcd.partial")]);
    for (const name of foreign) await stat(join(root, name));
  });

  test("says what may not be read, written or removed, and that is exit 8", async () => {
    const root = join(folder, "rights");
    const store = openLocalStore(root);
    await withoutRoot(async () => {
      await store.write("a/kept", chunks("x"));
      await store.write("unreadable", chunks("x"));
      await chmod(join(root, "a"), 0o500);
      await chmod(join(root, "unreadable"), 0);
      const path = join(root, "a/kept");
      await assert.rejects(store.remove("a/kept"), {
        code: "object-locked",
        exitCode: 8,
        message: `"${path}" may not be removed (EACCES)`,
      });
      await assert.rejects(store.write("a/new", chunks("x")), {
        code: "not-writable",
        exitCode: 8,
        message: `"${join(root, "a/new")}" cannot be written (EACCES)`,
        hint: "Choose another folder with -d or BACKUP_DIR, or change the folder's rights.",
      });
      await assert.rejects(async () => await store.read("unreadable"), {
        code: "not-readable",
        exitCode: 8,
        message: `"${join(root, "unreadable")}" cannot be read (EACCES)`,
      });
      await chmod(join(root, "a"), 0);
      await assert.rejects(keysOf(store), {
        code: "not-readable",
        exitCode: 8,
        message: `"${join(root, "a/")}" cannot be read (EACCES)`,
      });
      await chmod(join(root, "a"), 0o700);
    });
  });

  test("whose place is a file cannot be listed, which is not the same as empty", async () => {
    await writeFile(join(folder, "file"), "x");
    await assert.rejects(keysOf(openLocalStore(join(folder, "file"))), {
      code: "not-readable",
      exitCode: 8,
      message: `"${join(folder, "file")}" cannot be read (ENOTDIR)`,
    });
  });
});
