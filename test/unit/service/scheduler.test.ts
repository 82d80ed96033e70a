import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { AppError, ExitCode } from "../../../src/errors.ts";
import { openJournal, readJournal } from "../../../src/journal/journal.ts";
import type { JobRun, JobWork } from "../../../src/service/job.ts";
import { SlotHistory } from "../../../src/service/slot-history.ts";
import { slotsOf } from "../../../src/service/slots.ts";
import { LocalClaims, startScheduler } from "../../harness/schedule.ts";
import { TestClock } from "../../harness/test-clock.ts";

const minute = 60_000;
const hour = 60 * minute;

function unreachable(): AppError {
  return new AppError("server-unreachable", ExitCode.database, "no connection", {
    hint: "Start it.",
  });
}

function job(
  expression: string,
  run: (run: JobRun) => Promise<void>,
  kind: JobWork["kind"] = "backup",
): JobWork {
  return {
    kind,
    slots: slotsOf(expression, "UTC", "test"),
    async run(given) {
      await run(given);
      return { message: "done" };
    },
  };
}

/** Until the service or the time ends it. */
async function untilEnded({ signal }: JobRun): Promise<void> {
  await new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(new Error("ended")), { once: true });
  });
}

suite("the scheduler's clock", () => {
  let folder: string;
  let clock: TestClock;
  let claims: LocalClaims;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    clock = new TestClock("2026-01-01T00:00:30Z");
    claims = new LocalClaims();
  });
  afterEach(() => rm(folder, { recursive: true }));

  const records = () => Array.fromAsync(readJournal(folder, "schedule"));

  test("that was years ahead at the start and is set right does not put off the slots for years", async () => {
    clock = new TestClock("2040-06-01T00:00:30Z");
    const ran: string[] = [];
    const work = job("0 * * * *", async ({ slot }) => void ran.push(slot.toISOString()));
    const { events, stop } = startScheduler({ jobs: [work], clock, claims, folder });
    await clock.pass(minute, minute);
    await clock.set("2026-01-01T02:30:00Z");
    await clock.pass(hour, 10 * minute);
    await stop();
    assert.deepEqual(ran, ["2026-01-01T03:00:00.000Z"]);
    assert.match(String(events("clock was set back")[0]?.from), /^2040-06-01T/);
  });

  test("that comes to a slot while the journal is read makes one run of it and of what was missed", async () => {
    clock = new TestClock("2026-01-01T02:59:59Z");
    const ran: string[] = [];
    const work = job("0 * * * *", async ({ slot }) => void ran.push(slot.toISOString()));
    class SlowHistory extends SlotHistory {
      override async newest() {
        await clock.set("2026-01-01T03:00:01Z");
        return await super.newest(clock.now());
      }
    }
    const journal = openJournal(folder, { secrets: [], warn: assert.fail });
    const history = new SlowHistory(journal, "db", assert.fail);
    await (await history.begin("backup", new Date("2026-01-01T01:00:00Z"), work.slots)).done({});
    const { events, stop } = startScheduler({ jobs: [work], clock, claims, folder, history });
    await clock.pass(minute, 10_000);
    await stop();
    assert.deepEqual(ran, ["2026-01-01T03:00:00.000Z"]);
    assert.equal(events("catching up").length, 1);
    assert.deepEqual(events("skipped"), []);
    const slots = (await records()).map(({ event, details }) => [event, details?.slot]);
    assert.deepEqual(slots.slice(2), [
      ["started", "2026-01-01T03:00:00.000Z"],
      ["done", "2026-01-01T03:00:00.000Z"],
    ]);
  });

  test("that jumps ahead makes one run for all slots that passed, and says how many others there were", async () => {
    const ran: string[] = [];
    const work = job("* * * * *", async ({ slot }) => void ran.push(slot.toISOString()));
    const { events, stop } = startScheduler({ jobs: [work], clock, claims, folder });
    await clock.pass(10_000);
    await clock.set("2026-01-01T00:10:10Z");
    await stop();
    assert.deepEqual(ran, ["2026-01-01T00:10:00.000Z"]);
    const [skipped] = events("skipped");
    assert.equal(skipped?.slot, "2026-01-01T00:01:00.000Z");
    assert.match(String(skipped?.why), /^9 more came before anybody looked/);
  });

  test("that jumps ahead by a year during a run costs two lines, and not half a million", async () => {
    const gate = Promise.withResolvers<void>();
    const work = job("* * * * *", () => gate.promise);
    const { events, stop } = startScheduler({ jobs: [work], clock, claims, folder });
    await clock.pass(40_000, 10_000);
    await clock.set("2027-01-01T00:00:10Z");
    gate.resolve();
    await clock.pass(1000);
    await stop();
    const skipped = events("skipped").map(({ slot }) => slot);
    assert.deepEqual(skipped, ["2026-01-01T00:02:00.000Z", "2027-01-01T00:00:00.000Z"]);
    assert.ok((await records()).length < 10);
  });

  test("while a job waits to be tried again others have their turn, and it says that it failed", async () => {
    const done: string[] = [];
    let down = true;
    const backup = job("0 1 * * *", async () => {
      if (down) throw unreachable();
      done.push("backup");
    });
    const verify = job("10 1 * * *", async () => void done.push("verify"), "verify");
    const options = { clock, claims, folder, retryPausesMs: [hour] };
    const { scheduler, ends, events, stop } = startScheduler({
      ...options,
      jobs: [backup, verify],
    });
    await clock.pass(75 * minute, minute);
    assert.deepEqual(done, ["verify"]);
    const [view] = scheduler.view().jobs;
    assert.equal(view?.running, undefined);
    assert.deepEqual([view?.last?.result, view?.last?.hint], ["failed", "Start it."]);
    assert.ok(view?.next !== undefined && +view.next < Date.parse("2026-01-01T03:00:00Z"));
    down = false;
    await clock.pass(2 * hour, 10 * minute);
    await stop();
    assert.deepEqual(done, ["verify", "backup"]);
    assert.equal(events("failed").length, 1);
    assert.deepEqual(
      ends.map(({ job: kind, failure }) => [kind, failure]),
      [
        ["verify", undefined],
        ["backup", undefined],
      ],
    );
  });

  test("a server that is down for hours is tried again all that time; its failure is told once", async () => {
    let attempts = 0;
    const work = job("0 1 * * *", async () => {
      attempts += 1;
      throw unreachable();
    });
    const options = { clock, claims, folder, retryPausesMs: [minute, hour] };
    const { ends, stop } = startScheduler({ ...options, jobs: [work] });
    await clock.pass(12 * hour, 5 * minute);
    assert.ok(attempts >= 7, `${attempts} attempts in twelve hours`);
    assert.equal(ends.length, 1);
    assert.ok(attempts < 30);
    await clock.pass(12 * hour + 30 * minute, 5 * minute);
    assert.equal(ends.length, 1, "not once more for the same slot");
    await stop();
  });

  test("a time-out that no timer can have ends nothing", async () => {
    const { events, ends, stop } = startScheduler({
      jobs: [job("* * * * *", async () => new Promise((resolve) => setTimeout(resolve, 50)))],
      clock,
      claims,
      folder,
      timeoutMinutes: 100_000,
    });
    await clock.pass(40_000, 10_000);
    const patience = performance.now() + 10_000;
    while (ends.length === 0 && performance.now() < patience) await clock.pass(1);
    await stop();
    assert.deepEqual(events("failed"), []);
    assert.equal(ends.length, 1);
  });

  test("what is done although the service ends is done, and what is not is stopped and no failure", async () => {
    const done = job("* * * * *", async (run) => untilEnded(run).catch(() => undefined));
    const first = startScheduler({ jobs: [done], clock, claims, folder });
    await clock.pass(40_000, 10_000);
    await first.stop();
    assert.equal(first.events("done").length, 1);
    const second = startScheduler({ jobs: [job("* * * * *", untilEnded)], clock, claims, folder });
    await clock.pass(minute, 10_000);
    await second.stop();
    assert.deepEqual(
      [second.ends, second.events("failed"), second.events("stopped").length],
      [[], [], 1],
    );
    const events = (await records()).map(({ event, exitCode }) => [event, exitCode]);
    assert.deepEqual(events, [
      ["started", undefined],
      ["done", 0],
      ["started", undefined],
      ["interrupted", 130],
    ]);
    const third = startScheduler({
      jobs: [job("* * * * *", async () => {})],
      clock,
      claims,
      folder,
    });
    await clock.pass(100);
    await third.stop();
    assert.equal(third.events("catching up")[0]?.why, "its last run did not end well");
    assert.equal(third.ends.length, 1);
  });

  test("a notice that hangs does not keep the service from ending", async () => {
    const given: AbortSignal[] = [];
    const { stop } = startScheduler({
      jobs: [job("* * * * *", async () => {})],
      clock,
      claims,
      folder,
      onEnd: async (_end, signal) => {
        given.push(signal);
        await new Promise<void>((resolve) =>
          signal.addEventListener("abort", () => resolve(), { once: true }),
        );
      },
    });
    await clock.pass(40_000, 10_000);
    assert.equal(given.length, 1);
    const began = performance.now();
    await stop();
    assert.ok(performance.now() - began < 20_000);
  });

  test("ending while a run waits to be tried again is at once, and the next start catches up", async () => {
    const work = job("0 1 * * *", async () => {
      throw unreachable();
    });
    const first = startScheduler({ jobs: [work], clock, claims, folder, retryPausesMs: [hour] });
    await clock.pass(65 * minute, minute);
    const began = performance.now();
    await first.stop();
    assert.ok(performance.now() - began < 20_000);
    const second = startScheduler({
      jobs: [job("0 1 * * *", async () => {})],
      clock,
      claims,
      folder,
    });
    await clock.pass(100);
    await second.stop();
    assert.equal(second.events("catching up")[0]?.slot, "2026-01-01T01:00:00.000Z");
    assert.equal(second.ends.length, 1);
  });

  test("a claim that went with its connection is taken again, while the job goes on", async () => {
    const gate = Promise.withResolvers<void>();
    const work = job("0 1 * * *", () => gate.promise);
    const { events, ends, stop } = startScheduler({ jobs: [work], clock, claims, folder });
    await clock.pass(61 * minute, minute);
    claims.loseAll();
    claims.failure = unreachable();
    await clock.pass(minute, minute);
    claims.failure = undefined;
    await clock.pass(minute, minute);
    gate.resolve();
    await clock.pass(100);
    await stop();
    assert.equal(claims.claimed.length, 2);
    assert.equal(events("claimed again").length, 1);
    assert.equal(ends.length, 1);
  });

  test("a claim whose lost session the server still takes for alive is waited for, while the job goes on", async () => {
    const gate = Promise.withResolvers<void>();
    const work = job("0 1 * * *", () => gate.promise);
    const { events, ends, stop } = startScheduler({ jobs: [work], clock, claims, folder });
    await clock.pass(61 * minute, minute);
    claims.taken.set("backup 2026-01-01T01:00:00.000Z", "our own dead session");
    claims.takenPid = 7;
    claims.loseAll();
    await clock.pass(minute, 5_000);
    assert.deepEqual([events("failed"), events("claimed again")], [[], []]);
    claims.taken.clear();
    await clock.pass(minute, 5_000);
    assert.equal(events("claimed again").length, 1);
    gate.resolve();
    await clock.pass(100);
    await stop();
    assert.equal(ends.length, 1);
    assert.deepEqual(events("failed"), []);
  });

  test("a run ends when another replica got the claim that it has lost", async () => {
    const work = job("0 1 * * *", untilEnded);
    const { events, ends, stop } = startScheduler({
      jobs: [work],
      clock,
      claims,
      folder,
      retryPausesMs: [1000],
    });
    await clock.pass(61 * minute, minute);
    claims.taken.set("backup 2026-01-01T01:00:00.000Z", "the other one");
    claims.loseAll();
    await clock.pass(minute, 5000);
    await stop();
    assert.deepEqual(
      events("failed").map(({ code, message }) => [code, message]),
      [["claim-lost", "the slot was taken over: the other one has it"]],
    );
    assert.equal(events("skipped")[0]?.why, "the other one has it");
    assert.deepEqual(ends, []);
  });

  test("a slot that waits for another job is claimed at its time, or left to the replica that has it", async () => {
    const gate = Promise.withResolvers<void>();
    const verified: string[] = [];
    const jobs = [
      job("0 1 * * *", () => gate.promise),
      job("10,40 1 * * *", async ({ slot }) => void verified.push(slot.toISOString()), "verify"),
    ];
    const { events, stop } = startScheduler({ jobs, clock, claims, folder });
    claims.taken.set("verify 2026-01-01T01:10:00.000Z", "the other one");
    await clock.pass(75 * minute, minute);
    assert.equal(events("skipped")[0]?.why, "the other one has it");
    // It would have given it back by now.
    claims.taken.clear();
    await clock.pass(30 * minute, minute);
    assert.ok(claims.claimed.includes("verify 2026-01-01T01:40:00.000Z"));
    gate.resolve();
    await clock.pass(minute, minute);
    await stop();
    assert.deepEqual(verified, ["2026-01-01T01:40:00.000Z"]);
  });

  test("a missed slot that is still taken by what has died is waited for, until the next slot", async () => {
    const key = "backup 2026-01-01T00:00:00.000Z";
    const ran: string[] = [];
    const work = job("0 * * * *", async ({ slot }) => void ran.push(slot.toISOString()));
    const journal = openJournal(folder, { secrets: [], warn: assert.fail });
    const before = new SlotHistory(journal, "db", assert.fail);
    await before.begin("backup", new Date("2026-01-01T00:00:00Z"), work.slots);
    claims.taken.set(key, "the dead one");
    const first = startScheduler({ jobs: [work], clock, claims, folder });
    await clock.pass(5 * minute, 10_000);
    assert.deepEqual([ran, first.events("skipped"), first.ends], [[], [], []]);
    assert.deepEqual(
      first.events("waiting").map(({ slot, why }) => [slot, why]),
      [["2026-01-01T00:00:00.000Z", "the dead one has it"]],
    );
    assert.equal((await records()).length, 1, "nothing is written down of it");
    claims.taken.clear();
    await clock.pass(minute, 10_000);
    await first.stop();
    assert.deepEqual(ran, ["2026-01-01T00:00:00.000Z"]);
    assert.equal(first.ends[0]?.seconds, 0, "without the time that it has waited");

    await before.begin("backup", new Date("2026-01-01T01:00:00Z"), work.slots);
    await clock.set("2026-01-01T01:10:00Z");
    claims.taken.set("backup 2026-01-01T01:00:00.000Z", "the dead one");
    const second = startScheduler({ jobs: [work], clock, claims, folder });
    await clock.pass(51 * minute, 10_000);
    await second.stop();
    assert.deepEqual(
      second.events("skipped").map(({ slot }) => slot),
      ["2026-01-01T01:00:00.000Z"],
    );
    assert.deepEqual(ran.slice(1), ["2026-01-01T02:00:00.000Z"]);
  });

  test("a missed slot that was taken is not done again when who had it has written that it is done", async () => {
    const slot = new Date("2026-01-01T00:00:00Z");
    const ran: string[] = [];
    const work = job("0 * * * *", async () => void ran.push("once more"));
    const journal = openJournal(folder, { secrets: [], warn: assert.fail });
    const other = await new SlotHistory(journal, "db", assert.fail).begin(
      "backup",
      slot,
      work.slots,
    );
    claims.taken.set("backup 2026-01-01T00:00:00.000Z", "the other one");
    const { events, stop } = startScheduler({ jobs: [work], clock, claims, folder });
    await clock.pass(minute, 10_000);
    await other.done({});
    claims.taken.clear();
    await clock.pass(minute, 10_000);
    await stop();
    assert.deepEqual(ran, []);
    assert.equal(events("skipped")[0]?.why, "it was done meanwhile");
  });

  test("a claim that cannot be had is a failure in the journal", async () => {
    claims.failure = unreachable();
    const work = job("0 1 * * *", async () => {});
    const { events, stop } = startScheduler({ jobs: [work], clock, claims, folder });
    await clock.pass(61 * minute, minute);
    await stop();
    assert.ok(events("failed").length >= 1);
    const [begun, failed] = await records();
    assert.deepEqual([begun?.event, failed?.event, failed?.exitCode], ["started", "failed", 7]);
    assert.equal(failed?.subject, "backup");
  });

  test("a journal whose lines cannot be written for an unheard-of reason ends nothing", async () => {
    const journal = openJournal(folder, { secrets: [], warn: assert.fail });
    journal.begin = () => Promise.reject(new TypeError("unheard of"));
    const warnings: string[] = [];
    const history = new SlotHistory(journal, "db", (text) => warnings.push(text));
    const gate = Promise.withResolvers<void>();
    const work = job("* * * * *", () => gate.promise);
    const { ends, stop } = startScheduler({ jobs: [work], clock, claims, folder, history });
    await clock.pass(3 * minute, 10_000);
    gate.resolve();
    await clock.pass(100);
    await stop();
    assert.equal(ends.length, 1);
    assert.match(warnings.join("\n"), /unheard of/);
  });
});
