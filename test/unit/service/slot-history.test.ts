import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { AppError, ExitCode } from "../../../src/errors.ts";
import { openJournal } from "../../../src/journal/journal.ts";
import { missedSlot, SlotHistory } from "../../../src/service/slot-history.ts";
import { slotsOf } from "../../../src/service/slots.ts";

const hourly = slotsOf("0 * * * *", "UTC", "test");
const at = (time: string) => new Date(`2026-01-01T${time}:00Z`);
const failure = new AppError("x", ExitCode.database, "x");

suite("what a service catches up with", () => {
  let folder: string;
  let history: SlotHistory;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    const journal = openJournal(folder, { secrets: [], warn: assert.fail });
    history = new SlotHistory(journal, "db", assert.fail);
  });
  afterEach(() => rm(folder, { recursive: true }));

  const missed = async (now: string, slots = hourly) => {
    const known = (await history.newest(at(now))).get("backup");
    return known === undefined ? undefined : missedSlot(slots, known, at(now));
  };

  test("is nothing after a run that was done, or that another replica has made", async () => {
    await (await history.begin("backup", at("01:00"), hourly)).done({});
    assert.equal(await missed("01:30"), undefined);
    const taken = { why: "the other one has it", behindRun: false };
    await (await history.begin("backup", at("02:00"), hourly)).failed(failure);
    await history.pass("backup", at("03:00"), hourly, taken);
    assert.equal(await missed("03:30"), undefined);
  });

  test("is a run that was cut short although a replica that shares the folder has passed it over", async () => {
    const taken = { why: "the other one has it", behindRun: false };
    const entry = await history.begin("backup", at("01:00"), hourly);
    await history.pass("backup", at("01:00"), hourly, taken);
    assert.deepEqual((await missed("01:30"))?.slot, at("01:00"));
    await entry.done({});
    assert.equal(await missed("01:30"), undefined);
    const stopped = await history.begin("backup", at("01:15"), hourly);
    await history.pass("backup", at("01:15"), hourly, taken);
    await stopped.stopped();
    assert.deepEqual((await missed("01:30"))?.slot, at("01:15"), "it was stopped");
    await (await history.begin("backup", at("01:45"), hourly)).failed(failure);
    await history.pass("backup", at("01:45"), hourly, taken);
    assert.equal(await missed("01:50"), undefined, "it has failed here, and another one has it");
    await history.pass("backup", at("02:00"), hourly, taken);
    assert.equal(await missed("02:30"), undefined, "that was only passed over");
    await history.begin("backup", at("02:00"), hourly);
    assert.deepEqual((await missed("02:30"))?.slot, at("02:00"), "whichever line comes first");
  });

  test("is a run that was cut short although later slots were passed over behind it", async () => {
    const entry = await history.begin("backup", at("01:00"), hourly);
    const behind = { why: "the run before it is still at work", behindRun: true };
    await history.pass("backup", at("02:00"), hourly, behind);
    await history.pass("backup", at("03:00"), hourly, behind);
    const caught = { slot: at("03:00"), why: "its last run did not end well", begun: true };
    assert.deepEqual(await missed("03:30"), caught, "it was killed");
    await entry.stopped();
    assert.deepEqual(await missed("03:30"), caught, "it was stopped");
    await (await history.begin("backup", at("03:00"), hourly)).done({});
    assert.equal(await missed("03:30"), undefined);
  });

  test("is a run that has failed or was stopped, however often, but one that ends the service thrice is not", async () => {
    for (const _ of [1, 2, 3, 4]) {
      await (await history.begin("backup", at("01:00"), hourly)).failed(failure);
      await (await history.begin("backup", at("01:00"), hourly)).stopped();
    }
    assert.deepEqual((await missed("01:30"))?.slot, at("01:00"));
    await history.begin("backup", at("01:00"), hourly);
    await history.begin("backup", at("01:00"), hourly);
    assert.deepEqual((await missed("01:30"))?.slot, at("01:00"));
    await history.begin("backup", at("01:00"), hourly);
    assert.equal(await missed("01:30"), undefined);
    assert.deepEqual((await missed("02:30"))?.slot, at("02:00"), "the next slot is another matter");
  });

  test("is counted by the schedule that held, and is never older than what was run", async () => {
    await (await history.begin("backup", at("01:00"), hourly)).done({});
    const yearly = slotsOf("0 0 1 1 *", "UTC", "test");
    assert.deepEqual(await missed("03:30", yearly), {
      slot: at("03:00"),
      why: "2 slots were missed while the service did not run",
      begun: false,
    });
  });

  test("is nothing that another database has missed, nor what a wrong clock wrote down", async () => {
    const journal = openJournal(folder, { secrets: [], warn: assert.fail });
    const other = new SlotHistory(journal, "other", assert.fail);
    await (await other.begin("backup", at("01:00"), hourly)).failed(failure);
    const ahead = new Date("2040-01-01T00:00:00Z");
    await (await history.begin("backup", ahead, hourly)).failed(failure);
    assert.equal(await missed("01:30"), undefined);
  });
});
