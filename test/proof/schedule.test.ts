import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readJournal } from "../../src/journal/journal.ts";
import { spawnPgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import {
  childrenOf,
  dumpWaits,
  groupGone,
  holdUp,
  killServices,
  leftIn,
  type Service,
  startNamespaced,
  startService,
} from "../harness/service.ts";

const everySecond = "* * * * * *";
const everyMinute = "* * * * *";
const seed = { settings: { "seed.big": "off" } };

suite("the service by the real clock", () => {
  const databases: TestDatabase[] = [];
  let root: string;
  let count = 0;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  after(async () => {
    killServices();
    await rm(root, { recursive: true });
    for (const database of databases) await database.drop();
  });

  /** A database and a folder of a test's own. */
  async function place() {
    const database = await createDatabase("schedule proof", "n-kudo", seed);
    databases.push(database);
    return { database, folder: folderOf() };
  }

  function folderOf(): string {
    count += 1;
    return join(root, String(count));
  }

  function everyMinuteIn(folder: string, database: TestDatabase, more = {}): Service {
    const env = { BACKUP_DIR: folder, BACKUP_SCHEDULE: everyMinute, ...more };
    return startService({ url: database.url, env });
  }

  /** The runs of the slots, from the journal: those that were done, and those that were passed over. */
  async function slotsIn(folder: string) {
    const records = await Array.fromAsync(readJournal(folder, "schedule"));
    const ended = records.filter(({ event }) => event === "done");
    const keys = (passed: boolean) =>
      ended
        .filter(({ details }) => (details?.skipped !== undefined) === passed)
        .map(({ subject, details }) => `${subject} ${String(details?.slot)}`);
    return { done: keys(false), passed: keys(true) };
  }

  /** Operations of a kind that were done, from the journal. */
  async function doneIn(folder: string, operation: string): Promise<number> {
    const records = await Array.fromAsync(readJournal(folder, operation));
    return records.filter(({ event }) => event === "done").length;
  }

  async function threeSlotsRun(): Promise<void> {
    const { database, folder } = await place();
    const service = everyMinuteIn(folder, database);
    await service.until("done", 3, 220_000);
    await service.stop();
    const times = service.events("done").map(({ slot }) => Date.parse(String(slot)) / 60_000);
    const [first = 0] = times;
    assert.deepEqual(times, [first, first + 1, first + 2], "three whole minutes");
    const { done, passed } = await slotsIn(folder);
    assert.deepEqual([done.length, passed], [3, []]);
    assert.equal(await doneIn(folder, "backup"), 3);
  }

  async function oneDuringARunIsPassedOver(): Promise<void> {
    const { database, folder } = await place();
    const release = await holdUp(database);
    const service = everyMinuteIn(folder, database);
    const started = await service.until("started", 1, 150_000);
    const skipped = await service.until("skipped", 1, 150_000);
    assert.equal(skipped.why, "the run before it is still at work");
    assert.equal(Date.parse(String(skipped.slot)) - Date.parse(String(started.slot)), 60_000);
    await release();
    await service.until("done");
    await service.stop();
    assert.equal(await doneIn(folder, "backup"), 1);
    assert.deepEqual((await slotsIn(folder)).passed, [`backup ${String(skipped.slot)}`]);
  }

  async function stoppedInTheMiddleThenCaughtUpWithOnce(): Promise<void> {
    const { database, folder } = await place();
    const release = await holdUp(database);
    const first = everyMinuteIn(folder, database);
    const { slot } = await first.until("started", 1, 150_000);
    await dumpWaits(database);
    assert.ok(
      (await leftIn(folder)).some((name) => name.endsWith(".partial")),
      "in the middle",
    );
    await first.stop();
    await groupGone(first.pid);
    assert.deepEqual(await leftIn(folder), []);
    await release();
    const twoLater = Date.parse(String(slot)) + 2 * 60_000 + 3_000;
    await sleep(Math.max(0, twoLater - Date.now()));
    const second = everyMinuteIn(folder, database);
    const caught = await second.until("catching up");
    assert.equal(caught.why, "2 slots were missed while the service did not run");
    await second.until("done");
    await sleep(2_000);
    await second.stop();
    assert.equal(second.events("started").length, 1);
    assert.equal(await doneIn(folder, "backup"), 1);
  }

  async function twoReplicasShareTheSlots(): Promise<void> {
    const { database, folder } = await place();
    const folders = [folder, folderOf()];
    const more = { BACKUP_TENANT_SCHEDULE: everyMinute, BACKUP_TENANTS: "acme" };
    const replicas = folders.map((own) => everyMinuteIn(own, database, more));
    const ended = (service: Service) =>
      service.events("done").length + service.events("skipped").length;
    const deadline = performance.now() + 240_000;
    while (replicas.some((replica) => ended(replica) < 6)) {
      assert.ok(performance.now() < deadline, replicas.map((replica) => replica.text()).join("\n"));
      await sleep(200);
    }
    await Promise.all(replicas.map((replica) => replica.stop()));
    const slots = await Promise.all(folders.map(slotsIn));
    const done = slots.flatMap((own) => own.done);
    assert.equal(new Set(done).size, done.length, `each slot once: ${done.join(", ")}`);
    assert.ok(done.length >= 6, `three slots of two jobs: ${done.join(", ")}`);
    for (const { done: own, passed } of slots) {
      assert.equal(new Set([...own, ...passed]).size, own.length + passed.length);
    }
    const operations = await Promise.all(
      folders.flatMap((own) => [doneIn(own, "backup"), doneIn(own, "export")]),
    );
    assert.equal(
      operations.reduce((sum, one) => sum + one),
      done.length,
    );
  }

  async function aKilledReplicaLeavesTheNextSlotToTheOther(): Promise<void> {
    const { database, folder } = await place();
    const folders = [folder, folderOf()];
    const release = await holdUp(database);
    const replicas = folders.map((own) => everyMinuteIn(own, database));
    await dumpWaits(database);
    await Promise.any(replicas.map((replica) => replica.until("skipped")));
    const [busy, idle] = [
      replicas.find((replica) => replica.events("started").length > 0),
      replicas.find((replica) => replica.events("started").length === 0),
    ];
    assert.ok(busy !== undefined && idle !== undefined);
    busy.signal("SIGKILL");
    await busy.ended;
    await groupGone(busy.pid);
    for (const own of folders) assert.deepEqual(await leftIn(own), []);
    await release();
    await idle.until("done", 1, 150_000);
    await idle.stop();
  }

  async function asFirstProcessOfAContainer(context: { diagnostic(text: string): void }) {
    const { database, folder } = await place();
    const release = await holdUp(database);
    const env = { BACKUP_DIR: folder, BACKUP_SCHEDULE: everyMinute };
    const service = await startNamespaced({ url: database.url, env });
    if (service === undefined) {
      context.diagnostic("not run as the first process: this user cannot make a namespace");
      return await release();
    }
    await dumpWaits(database);
    await service.stop();
    assert.deepEqual(await leftIn(folder), []);
    await release();
  }

  test("three slots run; one during a run is passed over; SIGTERM in the middle leaves nothing half, also as the first process of a container; two missed slots are caught up with once; two replicas run each slot once, and a killed one leaves the next to the other", async (context) => {
    const results = await Promise.allSettled([
      threeSlotsRun(),
      oneDuringARunIsPassedOver(),
      stoppedInTheMiddleThenCaughtUpWithOnce(),
      twoReplicasShareTheSlots(),
      aKilledReplicaLeavesTheNextSlotToTheOther(),
      asFirstProcessOfAContainer(context),
    ]);
    const failures = results.flatMap((result) =>
      result.status === "rejected" ? [result.reason as Error] : [],
    );
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join("\n\n"));
  });

  test("killed, or signalled twice, it leaves no job behind, and nothing half in the folder", async () => {
    const ways = [["SIGKILL"], ["SIGTERM", "SIGTERM"]] as const;
    await Promise.all(
      ways.map(async (signals) => {
        const { database, folder } = await place();
        const release = await holdUp(database);
        const env = { BACKUP_DIR: folder, BACKUP_SCHEDULE: everySecond };
        const service = startService({ url: database.url, env });
        await dumpWaits(database);
        const [job] = await childrenOf(service.pid);
        assert.ok(job !== undefined, "no job was started");
        // One that does not end at the first signal, so that the second one finds the service there.
        if (signals.length > 1) process.kill(job, "SIGSTOP");
        try {
          const [first, again] = signals;
          service.signal(first);
          // Two that come before it has looked are one to it.
          const gone = service.ended.then(() => "gone");
          while (again !== undefined && (await Promise.race([gone, sleep(100)])) !== "gone") {
            service.signal(again);
          }
          assert.equal(await service.ended, again === undefined ? "SIGKILL" : 130);
        } finally {
          if (signals.length > 1) process.kill(job, "SIGCONT");
        }
        await groupGone(service.pid);
        assert.deepEqual(await leftIn(folder), [], signals.join());
        await release();
      }),
    );
  });

  test("a job that is killed is tried again, and while it waits the service ends at once", async () => {
    const { database, folder } = await place();
    const release = await holdUp(database);
    const env = { BACKUP_DIR: folder, BACKUP_SCHEDULE: "*/10 * * * * *" };
    const first = startService({ url: database.url, env });
    await first.until("started");
    first.signal("SIGTERM"); // so that there is something to catch up with
    await first.ended;
    const yearly = { ...env, BACKUP_SCHEDULE: "0 0 1 1 *" };
    const service = startService({ url: database.url, env: yearly });
    await dumpWaits(database);
    const children = await childrenOf(service.pid);
    assert.equal(children.length, 1);
    process.kill(children[0] ?? 0, "SIGKILL");
    const failed = await service.until("failed");
    assert.equal(failed.message, "its process was ended by SIGKILL");
    assert.ok(Number(failed.retryInSeconds) >= 15);
    const began = performance.now();
    await service.stop();
    assert.ok(performance.now() - began < 15_000);
    await release();
  });

  test("that nobody reads what it writes does not end it", async () => {
    const { database, folder } = await place();
    const child = spawnPgtenant(["schedule"], {
      url: database.url,
      env: {
        BACKUP_DIR: folder,
        BACKUP_SCHEDULE: "*/3 * * * * *",
        PGTENANT_HTTP_LISTEN: "off",
      },
    });
    child.stdout.destroy();
    child.stderr.destroy();
    const ended = once(child, "exit");
    const manifests = async () =>
      (await leftIn(folder)).filter((name) => name.endsWith(".manifest.json")).length;
    const deadline = performance.now() + 60_000;
    while ((await manifests()) < 2) {
      assert.ok(performance.now() < deadline && child.exitCode === null);
      await sleep(100);
    }
    child.kill("SIGTERM");
    assert.deepEqual(await ended, [0, null]);
  });
});
