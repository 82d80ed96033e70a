import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { resolveConfig } from "../../src/config/config.ts";
import { AppError, ExitCode } from "../../src/errors.ts";
import { systemClock } from "../../src/service/clock.ts";
import type { JobWork } from "../../src/service/job.ts";
import { giveNotice } from "../../src/service/notices.ts";
import type { JobEnd } from "../../src/service/scheduler.ts";
import { databaseClaims } from "../../src/service/slot-claim.ts";
import { slotsOf } from "../../src/service/slots.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { startScheduler } from "../harness/schedule.ts";

const everySecond = slotsOf("* * * * * *", "UTC", "test");
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

suite("the scheduler", () => {
  let database: TestDatabase;
  let folder: string;

  before(async () => {
    database = await createDatabase("schedule", "n-kudo", { settings: { "seed.big": "off" } });
  });
  after(() => database.drop());

  const inFolder = async (use: () => Promise<void>) => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    try {
      await use();
    } finally {
      await rm(folder, { recursive: true });
    }
  };

  /** A scheduler of one job, with the real clock and the real claims, and what it logs. */
  function schedulerOf(work: Omit<JobWork, "kind">, at = folder) {
    const claims = databaseClaims({ databaseUrl: database.url }, database.name, { graceMs: 3000 });
    return startScheduler({
      jobs: [{ kind: "backup", ...work }],
      clock: systemClock,
      claims,
      folder: at,
      database: database.name,
      retryPausesMs: [100, 100],
    });
  }

  test("runs each slot once, and passes over one that comes while its job is at work", () =>
    inFolder(async () => {
      const runs: Date[] = [];
      const { scheduler, events, ends, stop } = schedulerOf({
        slots: everySecond,
        async run({ slot }) {
          runs.push(slot);
          if (runs.length === 2) while (events("skipped").length < 2) await sleep(20);
          return { message: "done" };
        },
      });
      while (ends.length < 4) await sleep(50);
      const [job] = scheduler.view().jobs;
      assert.equal(job?.kind, "backup");
      assert.equal(job?.last?.result, "done");
      await stop();
      // On a busy machine others may be passed over as well; the long run's own are these.
      const skipped = events("skipped").map(({ slot }) => Date.parse(String(slot)));
      const [, long = 0, next = 0] = runs.map(Number);
      const during = skipped.filter((slot) => slot > long && slot < next);
      assert.ok(during.length >= 2, `${skipped} between ${long} and ${next}`);
      assert.equal(events("skipped")[0]?.why, "the run before it is still at work");
      const slots = new Set([...runs.map(Number), ...skipped]);
      assert.equal(slots.size, runs.length + skipped.length, "no slot twice");
    }));

  test("catches up once with what it missed while it did not run, and not at its first start", () =>
    inFolder(async () => {
      const never = slotsOf("0 0 1 1 *", "UTC", "test");
      const ran: Date[] = [];
      const work = {
        slots: everySecond,
        run: async ({ slot }: { readonly slot: Date }) => {
          ran.push(slot);
          return { message: "done" };
        },
      };
      const idle = schedulerOf({ ...work, slots: never });
      await sleep(200);
      await idle.stop();
      assert.deepEqual([ran, idle.events("catching up")], [[], []]);
      const first = schedulerOf(work);
      while (first.ends.length < 1) await sleep(20);
      await first.stop();
      await sleep(2500);
      ran.length = 0;
      const second = schedulerOf(work);
      while (second.ends.length < 2) await sleep(20);
      await second.stop();
      const caughtUp = second.events("catching up");
      assert.equal(caughtUp.length, 1);
      assert.match(
        String(caughtUp[0]?.why),
        /^\d+ slots were missed while the service did not run$/,
      );
      // Or the next one, when its second has come before the first run began.
      assert.ok(+(ran[0] ?? 0) >= Date.parse(String(caughtUp[0]?.slot)));
      assert.ok(+(ran[1] ?? 0) > +(ran[0] ?? 0), "once, then the next slot");
    }));

  test("of two replicas on one database each slot has one", () =>
    inFolder(async () => {
      const other = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
      const runs: number[] = [];
      const work = {
        slots: slotsOf("*/2 * * * * *", "UTC", "test"),
        run: async ({ slot }: { readonly slot: Date }) => {
          runs.push(+slot);
          await sleep(300);
          return { message: "done" };
        },
      };
      const replicas = [schedulerOf(work), schedulerOf(work, other)];
      while (runs.length < 4) await sleep(50);
      await sleep(500);
      for (const replica of replicas) await replica.stop();
      await rm(other, { recursive: true });
      assert.equal(new Set(runs).size, runs.length);
      const skipped = replicas.flatMap((replica) => replica.events("skipped"));
      assert.ok(skipped.length >= runs.length - 1, "whoever came second says whose it is");
      assert.match(String(skipped[0]?.why), /^pgtenant schedule backup on .* has it$/);
    }));

  test("tries again what may mend itself, says so, and outlives every failure", () =>
    inFolder(async () => {
      let attempts = 0;
      const { lines, events, ends, stop } = schedulerOf({
        slots: slotsOf("*/5 * * * * *", "UTC", "test"),
        async run() {
          attempts += 1;
          if (attempts === 3) return { message: "done" };
          if (attempts > 3) throw new TypeError("a defect");
          throw new AppError("server-unreachable", ExitCode.database, "no connection", {
            hint: "Start it.",
          });
        },
      });
      while (ends.length < 2) await sleep(50);
      await stop();
      assert.deepEqual(
        events("failed").map(({ message, attempt }) => [message, attempt]),
        [
          ["no connection", 1],
          ["no connection", 2],
          ["internal error: a defect", 1],
        ],
      );
      assert.deepEqual(
        ends.map(({ failure }) => failure?.code),
        [undefined, "internal"],
      );
      assert.ok(lines.some(({ event, hint }) => event === "failed" && hint === "Start it."));
    }));

  test("a claim is lost with its connection, and can be had again", async () => {
    const claims = databaseClaims({ databaseUrl: database.url }, database.name);
    const slot = new Date("2026-01-01T02:00:00Z");
    const claim = await claims.claim("backup", slot);
    assert.ok("held" in claim && claim.held);
    const other = databaseClaims({ databaseUrl: database.url }, database.name);
    const taken = await other.claim("backup", slot);
    assert.match("takenBy" in taken ? taken.takenBy : "", /^pgtenant schedule backup on /);
    // By its lock: services of other tests have claims on this server too.
    const ended = await database.query(
      `SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
          AND (classid::bigint << 32 | objid::bigint) = hashtextextended($1, $2)`,
      [`pgtenant schedule: ${database.name}, backup, ${slot.toISOString()}`, 0x7067746e],
    );
    assert.equal(ended.length, 1);
    while (claim.held) await sleep(20);
    const again = await other.claim("backup", slot);
    assert.ok("held" in again && again.held);
    await Promise.all([claims.close(), other.close()]);
    const next = databaseClaims({ databaseUrl: database.url }, database.name);
    assert.ok("held" in (await next.claim("backup", slot)), "closing gives back at once");
    await next.close();
  });

  test("a claim from a server that does not answer is given up at once when the service ends", async () => {
    const silent = createServer(() => undefined).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const address = silent.address();
    const port = typeof address === "object" ? address?.port : 0;
    const claims = databaseClaims({ databaseUrl: `postgres://u@127.0.0.1:${port}/db` }, "db");
    const stop = new AbortController();
    const claim = claims.claim("backup", new Date(), stop.signal);
    const began = performance.now();
    stop.abort();
    await assert.rejects(claim, { name: "AbortError" });
    await claims.close();
    assert.ok(performance.now() - began < 3000);
    silent.close();
  });

  test("--dry-run shows the next times, and a schedule that cannot be is an error at the start", async () => {
    const env = { BACKUP_SCHEDULE: "30 2 * * *", BACKUP_TIMEZONE: "Europe/Berlin" };
    const dry = await pgtenant(["schedule", "--dry-run", "--json"], { url: database.url, env });
    assert.equal(dry.code, 0, dry.stderr);
    const { jobs } = JSON.parse(dry.stdout.toString()) as {
      readonly jobs: readonly { readonly job: string; readonly times: readonly string[] }[];
    };
    assert.deepEqual(
      jobs.map(({ job, times }) => [job, times.length]),
      [["backup", 5]],
    );
    assert.match(jobs[0]?.times[0] ?? "", /T0[01]:[03]0:00\.000Z$/);
    const wrong = await pgtenant(["schedule"], {
      url: database.url,
      env: { BACKUP_SCHEDULE: "0 0 30 2 *" },
    });
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /BACKUP_SCHEDULE names a time that never comes/);
  });
});

suite("notices", () => {
  const end: JobEnd = {
    job: "backup",
    slot: new Date("2026-01-01T02:00:00Z"),
    seconds: 12,
    outcome: { message: "x", id: "backup_20260101_020000", bytes: 10 },
    failure: undefined,
  };
  const failure = new AppError("server-unreachable", ExitCode.database, "no pass-word-of-mine", {
    hint: "Start it.",
  });

  test("are posted and piped to a command, without secrets, and never throw", async () => {
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    const bodies: string[] = [];
    let status = 200;
    const server = createHttpServer((request, response) => {
      request.setEncoding("utf8").on("data", (text: string) => bodies.push(text));
      request.on("end", () => {
        response.statusCode = status;
        response.end();
      });
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    const url = `http://127.0.0.1:${port}/ping/token-of-the-url`;
    try {
      const config = (more: Record<string, string> = {}) =>
        resolveConfig(
          { databaseUrl: "postgres://u:pass-word-of-mine@localhost/db" },
          {
            BACKUP_ON_SUCCESS_URL: url,
            BACKUP_ON_FAILURE_URL: url,
            BACKUP_ON_FAILURE_COMMAND: `cat > '${folder}/told'; echo "$PGTENANT_JOB $PGTENANT_EVENT" >> '${folder}/told'`,
            ...more,
          },
        );
      assert.deepEqual(await giveNotice(config(), end, "db"), []);
      assert.deepEqual(JSON.parse(bodies[0] ?? ""), {
        event: "success",
        job: "backup",
        database: "db",
        slot: "2026-01-01T02:00:00.000Z",
        seconds: 12,
        id: "backup_20260101_020000",
        bytes: 10,
        error: null,
      });
      assert.deepEqual(await giveNotice(config(), { ...end, failure }, "db"), []);
      assert.ok(!bodies.join("").includes("pass-word-of-mine"));
      assert.equal(JSON.parse(bodies[1] ?? "").error.hint, "Start it.");
      const { readFile } = await import("node:fs/promises");
      assert.match(await readFile(join(folder, "told"), "utf8"), /"failure".*\nbackup failure\n$/s);

      status = 500;
      const slow = config({ BACKUP_ON_FAILURE_COMMAND: "sleep 60" });
      const began = performance.now();
      const told = await giveNotice(slow, { ...end, failure }, "db", { patienceMs: 3_000 });
      assert.ok(performance.now() - began < 30_000);
      assert.deepEqual(told, [
        `the notice to 127.0.0.1:${port} was not taken: it answered 500`,
        "the command of the notice was ended: it took too long",
      ]);
      assert.ok(!told.join("").includes("token-of-the-url"));
    } finally {
      server.close();
      await rm(folder, { recursive: true });
    }
  });
});
