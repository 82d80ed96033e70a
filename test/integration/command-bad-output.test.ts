import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { assertFailure, errorDocument } from "../harness/assert-failure.ts";
import { pgtenant, spawnPgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";

const run = promisify(execFile);

suite("an export that cannot be written", () => {
  let database: TestDatabase;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    // With the log messages of 5 MB: more than a pipe or a small disk holds.
    database = await createDatabase("bad output", "n-kudo");
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await database.drop();
  });

  const exportTo = (output: string, ...more: readonly string[]) =>
    pgtenant(["export", "acme", "-o", output, ...more], { url: database.url });

  test("leaves a file that exists alone, unless --overwrite is given", async () => {
    const path = join(folder, "taken.jsonl");
    await writeFile(path, "mine");
    assertFailure(await exportTo(path), {
      code: 2,
      message: /^pgtenant: the file ".*taken\.jsonl" exists already$/,
      hint: /^hint: Choose another name with -o, or add --overwrite\.$/,
    });
    assert.equal(await readFile(path, "utf8"), "mine");
    assert.deepEqual(await readdir(folder), ["taken.jsonl"]);
    const replaced = await exportTo(path, "--overwrite");
    assert.equal(replaced.code, 0, replaced.stderr);
    assert.match(await readFile(path, "utf8"), /^\{"\$bundle":/);
  });

  test("says so when a file stands where a folder should", async () => {
    const inTheWay = join(folder, "in the way");
    await writeFile(inTheWay, "mine");
    for (const path of [join(inTheWay, "x.jsonl"), join(inTheWay, "deeper", "x.jsonl")]) {
      assertFailure(await exportTo(path), {
        code: 8,
        message: /^pgtenant: ".*x\.jsonl" cannot be written \((ENOTDIR|EEXIST)\)$/,
        hint: /^hint: Check the path\.$/,
      });
    }
    const env = { BACKUP_DIR: inTheWay };
    assertFailure(await pgtenant(["export", "acme"], { url: database.url, env }), {
      code: 8,
      message: /^pgtenant: ".*in the way\/tenants\/acme\/tenant_acme_.*" cannot be written/,
      hint: /path/,
    });
  });

  test("says so when the folder cannot be written to, even by root", async () => {
    const result = await exportTo("/proc/1/x.jsonl", "--json");
    assert.equal(result.code, 8, result.stderr);
    const { code, exitCode } = errorDocument(result);
    assert.deepEqual([code, exitCode], ["not-writable", 8]);
  });

  test("ends with 8 on a full disk, and takes its partial file away", async (context) => {
    const disk = join(folder, "disk");
    await mkdir(disk);
    try {
      await run("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]);
    } catch (error) {
      context.skip(`no tmpfs can be mounted here: ${String(error).split("\n").at(-2)}`);
      return;
    }
    try {
      const result = await exportTo(join(disk, "acme.jsonl"));
      assertFailure(result, {
        code: 8,
        message: /^pgtenant: the disk is full: ".*acme\.jsonl" could not be written$/,
        hint: /^hint: Free some space, or write to another place with -o\./,
      });
      assert.deepEqual(await readdir(disk), []);
    } finally {
      await run("umount", [disk]);
    }
  });

  test("ends with 8 when /dev/full stands for the standard output", async () => {
    const script = '"$0" src/main.ts export acme -o - >/dev/full';
    const { PATH = "" } = process.env;
    const failed = await run("bash", ["-c", script, process.execPath], {
      env: { PATH, DATABASE_URL: database.url },
    }).catch((error: unknown) => error as { code: number; stderr: string });
    assert.ok("code" in failed);
    assert.equal(failed.code, 8, failed.stderr);
    assert.match(failed.stderr, /^pgtenant: the disk is full: the standard output could not be/m);
  });

  test("ends with 8 when the reader of the pipe leaves early", async () => {
    const script = 'set -o pipefail; "$0" src/main.ts export acme -o - | head -c 100 >/dev/null';
    const { PATH = "" } = process.env;
    const failed = await run("bash", ["-c", script, process.execPath], {
      env: { PATH, DATABASE_URL: database.url },
    }).catch((error: unknown) => error as { code: number; stderr: string });
    assert.ok("code" in failed, "export | head ended with 0");
    assert.equal(failed.code, 8, failed.stderr);
    assert.match(failed.stderr, /^pgtenant: the standard output was closed before everything was/m);
    assert.match(failed.stderr, /^hint: The program that reads the pipe ended early/m);
  });

  test("ends with 8 when the reader of a list leaves before it comes", async () => {
    const child = spawnPgtenant(["tenants"], { url: database.url });
    child.stdin.end();
    child.stdout.destroy();
    const [stderr] = await Promise.all([text(child.stderr), once(child, "close")]);
    assert.equal(child.exitCode, 8, stderr);
  });
});
