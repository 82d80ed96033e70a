import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { holderFor, withFolderLock } from "../../../src/backup/folder-lock.ts";
import { type LockHolder, tryLockFile } from "../../../src/journal/lock-file.ts";
import { killHard, outputOf, startScript, untilPrinted } from "../../harness/child.ts";

const run = promisify(execFile);

suite("the lock of a folder", () => {
  let root: string;
  let folder: string;
  let path: string;
  /** As long as it is there, a script keeps the lock. */
  let hold: string;
  let count = 0;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  beforeEach(() => {
    count += 1;
    folder = join(root, `folder-${count}`);
    path = join(folder, ".pgtenant.lock");
    hold = join(root, `hold-${count}`);
  });
  after(() => rm(root, { recursive: true }));

  /** Leaves a lock file behind, as if written some time ago. */
  async function leaveLock(changes: Partial<LockHolder>, secondsAgo = 0): Promise<void> {
    await mkdir(folder, { recursive: true });
    await writeFile(path, JSON.stringify({ ...(await holderFor("backup")), ...changes }));
    const time = new Date(Date.now() - secondsAgo * 1000);
    await utimes(path, time, time);
  }

  const tryToLock = (warnings: string[] = []) =>
    withFolderLock(
      folder,
      { operation: "prune", warn: (text) => warnings.push(text) },
      async () => "done",
    );

  test("is a file with the holder's name while the work runs, and gone afterwards", async () => {
    const content = await withFolderLock(folder, { operation: "backup" }, async () => {
      assert.equal((await stat(path)).mode & 0o777, 0o600);
      assert.equal((await stat(folder)).mode & 0o777, 0o700);
      return JSON.parse(await readFile(path, "utf8"));
    });
    assert.equal(content.pid, process.pid);
    assert.equal(content.host, hostname());
    assert.equal(content.operation, "backup");
    assert.match(content.since, /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.deepEqual(await readdir(folder), []);
  });

  test("is gone after work that failed, whose error is handed on", async () => {
    const failure = new Error("the work failed");
    const work = withFolderLock(folder, { operation: "backup" }, () => Promise.reject(failure));
    await assert.rejects(work, failure);
    assert.deepEqual(await readdir(folder), []);
  });

  test("held by a living run is refused with exit 5, and names the holder", async () => {
    await withFolderLock(folder, { operation: "backup" }, async () => {
      await assert.rejects(tryToLock(), (error: Error & { hint?: string }) => {
        assert.ok("exitCode" in error && error.exitCode === 5);
        assert.match(
          error.message,
          /^another run is at work in ".*": backup of .*@.* \(process \d+, since 20.*Z\)$/,
        );
        assert.ok(error.message.includes(`process ${process.pid},`));
        assert.ok(error.hint?.includes(path));
        return true;
      });
    });
  });

  test("of a run that was killed with SIGKILL is taken over at once, and that is said", async () => {
    await writeFile(hold, "");
    const child = startScript("lock-child.ts", [folder, "backup", hold]);
    await untilPrinted(child, "held");
    await assert.rejects(tryToLock(), { code: "folder-locked", exitCode: 5 });
    await killHard(child);
    const warnings: string[] = [];
    assert.equal(await tryToLock(warnings), "done");
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /was taken over from a run that died: backup of /);
    assert.ok(warnings[0]?.includes(`process ${child.pid},`));
    assert.deepEqual(await readdir(folder), []);
  });

  test("of a process whose number another one has now is taken over", {
    skip: process.platform === "linux" ? false : "only /proc tells when a process was started",
  }, async () => {
    await leaveLock({ processStart: "1" });
    assert.equal(await tryToLock(), "done");
  });

  test("held on another host is respected for a minute after its last heartbeat", async () => {
    await leaveLock({ host: "db2", pid: 1 }, 50);
    await assert.rejects(tryToLock(), { exitCode: 5, message: /@db2 \(process 1, / });
    await leaveLock({ host: "db2", pid: 1 }, 61);
    const warnings: string[] = [];
    assert.equal(await tryToLock(warnings), "done");
    assert.match(warnings[0] ?? "", /@db2 \(process 1, /);
  });

  test("held in another container of the same name is not judged by its process number", async () => {
    await leaveLock({ pid: 2 ** 30, processSpace: "another" }, 50);
    await assert.rejects(tryToLock(), { exitCode: 5 });
    await leaveLock({ pid: 2 ** 30, processSpace: "another" }, 61);
    assert.equal(await tryToLock(), "done");
  });

  test("whose content is damaged is respected for a minute", async () => {
    for (const content of ["", "{", "[]", '{"pid":"1"}', "x".repeat(100_000)]) {
      await mkdir(folder, { recursive: true });
      await writeFile(path, content);
      await assert.rejects(tryToLock(), {
        exitCode: 5,
        message: /a run that could not leave its name \(silent for \d s\)$/,
      });
      const time = new Date(Date.now() - 61_000);
      await utimes(path, time, time);
      assert.equal(await tryToLock(), "done");
    }
  });

  test("shows by its time that its holder lives", async () => {
    await withFolderLock(folder, { operation: "backup", heartbeatMs: 20 }, async () => {
      const past = new Date(Date.now() - 600_000);
      await utimes(path, past, past);
      const deadline = performance.now() + 30_000;
      while (Date.now() - (await stat(path)).mtimeMs > 300_000) {
        assert.ok(performance.now() < deadline, "it stays silent");
        await sleep(20);
      }
    });
  });

  test("that another one took over is told to its holder, who leaves it alone", async () => {
    await withFolderLock(folder, { operation: "backup", heartbeatMs: 20 }, async ({ lost }) => {
      await leaveLock({ pid: 1, host: "db2" });
      for (let tries = 0; tries < 1_000 && !lost.aborted; tries += 1) await sleep(20);
      assert.ok(lost.aborted);
      assert.equal(lost.reason.code, "lock-lost");
    });
    assert.equal(JSON.parse(await readFile(path, "utf8")).host, "db2");
  });

  test("is got by one of several processes that start at the same time", async () => {
    await leaveLock({ processStart: "1", pid: 1 });
    await writeFile(hold, "");
    let ended = 0;
    const outputs = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const output = await outputOf("lock-child.ts", [folder, "backup", hold]);
        ended += 1;
        // The one that has it goes when the others have been refused.
        if (ended === 3) await rm(hold);
        return output;
      }),
    );
    const winners = outputs.filter((output) => output.endsWith("held\n"));
    const losers = outputs.filter((output) => /^exit 5: another run is at work in /.test(output));
    assert.deepEqual([winners.length, losers.length], [1, 3], outputs.join("\n"));
    assert.deepEqual(await readdir(folder), []);
  });

  test("is taken over from a dead run by exactly one of many", async () => {
    for (let round = 0; round < 30; round += 1) {
      await leaveLock({ host: "db2", pid: round }, 61);
      const holder = await holderFor("prune");
      const attempts = await Promise.all(
        Array.from({ length: 20 }, () => tryLockFile(path, holder)),
      );
      const won = attempts.flatMap((attempt) => ("lock" in attempt ? [attempt.lock] : []));
      assert.equal(won.length, 1, `round ${round}`);
      assert.equal(won[0]?.path, path);
      await won[0]?.release();
      assert.deepEqual(await readdir(folder), []);
    }
  });

  test("is taken over although an earlier takeover was killed half-way", async () => {
    await leaveLock({ host: "db2", pid: 1 }, 61);
    const dead = await readFile(path, "utf8");
    // The first taker has the right to replace the file, and dies before it does.
    const first = await tryLockFile(path, await holderFor("prune"));
    assert.ok("lock" in first);
    const token = await tokenOfDead(dead);
    await writeFile(`${path}.${token}`, await readFile(path, "utf8"));
    await utimes(`${path}.${token}`, new Date(0), new Date(0));
    await writeFile(`${path}.${token}`, JSON.stringify({ ...first, pid: 1, host: "db3" }));
    await utimes(`${path}.${token}`, new Date(0), new Date(0));
    await writeFile(path, dead);
    await utimes(path, new Date(0), new Date(0));
    assert.equal(await tryToLock(), "done");
    assert.deepEqual(await readdir(folder), []);
  });

  async function tokenOfDead(content: string): Promise<string> {
    const { createHash } = await import("node:crypto");
    return createHash("sha256").update(content).digest("hex").slice(0, 16);
  }

  test("of a folder that cannot be made is an error of storage: exit 8", async () => {
    await writeFile(join(root, "a-file"), "");
    folder = join(root, "a-file", "below");
    await assert.rejects(tryToLock(), { exitCode: 8, code: "not-writable" });
  });

  test("can be had on a full disk", async (context) => {
    await mkdir(folder, { recursive: true });
    try {
      await run("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]);
    } catch {
      return context.skip("only root may mount a small file system");
    }
    try {
      await assert.rejects(writeFile(join(folder, "filling"), Buffer.alloc(100_000)), {
        code: "ENOSPC",
      });
      await withFolderLock(folder, { operation: "prune" }, async () => {
        await assert.rejects(tryToLock(), { exitCode: 5 });
      });
      assert.deepEqual(await readdir(folder), ["filling"]);
    } finally {
      await run("umount", [folder]);
    }
  });
});
