import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import { withTargetLock, withTargetLockIfReachable } from "../../src/backup/target-lock.ts";
import { AppError, ExitCode } from "../../src/errors.ts";
import { setKeepalives } from "../../src/postgres/keepalives.ts";
import { withSession } from "../../src/postgres/session.ts";
import { killHard, startScript, untilPrinted } from "../harness/child.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";

suite("the lock of a database", () => {
  let database: TestDatabase;
  let other: TestDatabase;
  before(async () => {
    database = await createDatabase("target-lock", "empty");
    other = await createDatabase("target-lock-other", "empty");
  });
  after(async () => {
    await database.drop();
    await other.drop();
  });

  const connection = (at: TestDatabase = database) => ({
    databaseUrl: at.url,
    applicationName: "pgtenant",
  });
  /** By whose name sessions are found on the server: no other test has it. */
  const operation = "test of target locks";
  const impatient = { patienceMs: 0 };
  const tryToLock = (name = database.name) =>
    withTargetLock(connection(), name, "restore", async () => "done", impatient);

  test("is had by one at a time; the other is told who has it: exit 5", async () => {
    await withTargetLock(connection(), database.name, "backup", async () => {
      await assert.rejects(tryToLock(), (error: AppError) => {
        assert.deepEqual([error.code, error.exitCode], ["database-locked", 5]);
        assert.match(
          error.message,
          /^another run is at work on the database "test_target_lock_\w+": pgtenant backup \(server process \d+.*, since \d{4}-/,
        );
        return true;
      });
    });
    assert.equal(await tryToLock(), "done");
  });

  test("is given up by the server within a minute after its machine has died", async () => {
    await withSession(connection(), async (open) => {
      await setKeepalives(open);
      const { rows } = await sql<Record<string, string>>`
        SELECT current_setting('tcp_keepalives_idle') AS idle,
               current_setting('tcp_keepalives_interval') AS interval,
               current_setting('tcp_keepalives_count') AS count,
               current_setting('idle_session_timeout') AS timeout`.execute(open.db);
      const expected = { idle: "30", interval: "10", count: "3", timeout: "0" };
      // Of a Unix socket the server says 0: it needs no look.
      const socket = { ...expected, idle: "0", interval: "0", count: "0" };
      const overTcp = new URL(database.url).hostname !== "";
      assert.deepEqual({ ...rows[0] }, overTcp ? expected : socket);
    });
  });

  test("is no other database's, whose name begins alike", async () => {
    await withTargetLock(connection(), database.name, "backup", async () => {
      assert.equal(await tryToLock(`${database.name}_test`), "done");
      assert.equal(await tryToLock(other.name), "done");
    });
  });

  test("is the same from whichever database of the server, since a restore renames its own", async () => {
    await withTargetLock(connection(other), database.name, "backup", async () => {
      await assert.rejects(tryToLock(), { exitCode: 5 });
      const renamed = `${database.name}_x`;
      await other.query(`ALTER DATABASE "${database.name}" RENAME TO "${renamed}"`);
      await other.query(`ALTER DATABASE "${renamed}" RENAME TO "${database.name}"`);
    });
  });

  test("of a run that was killed with SIGKILL is had soon after", async () => {
    const child = startScript("target-lock-child.ts", [database.url, database.name, "backup"]);
    await untilPrinted(child, "held");
    await assert.rejects(tryToLock(), { exitCode: 5 });
    await killHard(child);
    const work = withTargetLock(connection(), database.name, "restore", async () => "done");
    assert.equal(await work, "done");
  });

  test("is had by one of several that ask at the same time", async () => {
    const rivals = 5;
    let answered = 0;
    const ask = () =>
      withTargetLock(
        connection(),
        database.name,
        "prune",
        untilOthersAreRefused,
        impatient,
      ).finally(() => {
        answered += 1;
      });
    const untilOthersAreRefused = async () => {
      while (answered < rivals - 1) await sleep(20);
    };
    const results = await Promise.allSettled(Array.from({ length: rivals }, ask));
    const refused = results.flatMap((result) =>
      result.status === "rejected" ? result.reason : [],
    );
    assert.equal(results.length - refused.length, 1);
    assert.ok(refused.every((error) => error.exitCode === ExitCode.locked));
  });

  test("is given back after work that failed, whose error is handed on as it is", async () => {
    const failure = new Error("the work failed");
    await assert.rejects(
      withTargetLock(connection(), database.name, "backup", () => Promise.reject(failure)),
      failure,
    );
    assert.equal(await tryToLock(), "done");
  });

  test("outlives an interruption, so that nobody begins while the run still cleans up", async () => {
    const stop = new AbortController();
    await withTargetLock(
      { ...connection(), signal: stop.signal },
      database.name,
      "backup",
      async () => {
        stop.abort();
        await sleep(100);
        await assert.rejects(tryToLock(), { exitCode: 5 });
      },
    );
  });

  test("that the server takes away is told to its holder", async () => {
    await withTargetLock(connection(), database.name, operation, async ({ lost }) => {
      await other.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
        [`pgtenant ${operation}`],
      );
      for (let tries = 0; tries < 1000 && !lost.aborted; tries += 1) await sleep(20);
      assert.ok(lost.aborted);
      assert.equal(lost.reason.code, "lock-lost");
    });
  });

  test("is held in another database when the target is the maintenance database itself", async () => {
    await withTargetLock(connection(), "postgres", operation, async () => {
      await assert.rejects(tryToLock("postgres"), { exitCode: 5 });
      const rows = await other.query<{ datname: string }>(
        "SELECT datname FROM pg_stat_activity WHERE application_name = $1",
        [`pgtenant ${operation}`],
      );
      assert.deepEqual(rows, [{ datname: "template1" }]);
    });
  });

  test("is done without by what needs no database, where no server answers", async () => {
    const warnings: string[] = [];
    const nobody = { databaseUrl: "postgres://localhost:1/nkudo", applicationName: "pgtenant" };
    const result = await withTargetLockIfReachable(
      nobody,
      "nkudo",
      "prune",
      (text) => warnings.push(text),
      async () => "done",
    );
    assert.equal(result, "done");
    assert.match(warnings.join("\n"), /^the database "nkudo" could not be locked.*ECONNREFUSED/);
    const failing = withTargetLockIfReachable(
      connection(),
      database.name,
      "prune",
      (text) => warnings.push(text),
      () => Promise.reject(new AppError("broken", ExitCode.database, "the work failed")),
    );
    await assert.rejects(failing, { code: "broken" });
    assert.equal(warnings.length, 1, "work that fails is not done twice");
    await withTargetLock(connection(), database.name, "backup", async () => {
      const locked = withTargetLockIfReachable(
        connection(),
        database.name,
        "prune",
        (text) => warnings.push(text),
        async () => "done",
        impatient,
      );
      await assert.rejects(locked, { exitCode: 5 });
    });
  });
});
