import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { openJournal } from "../../../src/journal/journal.ts";
import { appendRecords } from "../../../src/journal/journal-file.ts";
import { recentOperations } from "../../../src/journal/recent-operations.ts";
import { thisProcess } from "../../../src/postgres/process-identity.ts";
import { readDrills } from "../../../src/service/drill-reports.ts";
import { JournalReader } from "../../../src/service/journal-summary.ts";
import { statusOf } from "../../../src/service/status.ts";
import { emptySources } from "../../harness/status-states.ts";

suite("the summary of a journal", () => {
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const journal = () => openJournal(folder, { secrets: [], warn: assert.fail });
  const now = new Date();
  const summary = () => new JournalReader(folder, "nkudo", "UTC").read(now);

  /** What another host has begun into this journal, so long ago. */
  async function begunElsewhere(run: string, hours: number): Promise<void> {
    const at = new Date(+now - hours * 3_600_000).toISOString();
    const other = { who: "root@db2", pid: 7, host: "db2" };
    const record = { at, run, event: "started" as const, operation: "backup", ...other };
    const holder = { ...(await thisProcess()), user: "test", operation: "journal", since: at };
    await appendRecords(folder, [record], holder);
  }

  test("takes restores of the whole database in its place for a measure, and no others", async () => {
    const restored = async (details: Readonly<Record<string, unknown>>) => {
      const entry = await journal().begin("restore", { database: "nkudo" });
      await entry.done({ details });
    };
    await restored({ mode: "swap", onlyFiles: true });
    await restored({ mode: "into", into: "look", beside: "nkudo", restoreSeconds: 2 });
    assert.equal((await summary()).lastRestore, undefined);
    await restored({ mode: "swap", restoreSeconds: 4000 });
    await restored({ mode: "swap", onlyFiles: true });
    assert.equal((await summary()).lastRestore?.seconds, 4000);
  });

  test("has a run of another host as running for a day, and no failure of it until then", async () => {
    await begunElsewhere("old", 25);
    await begunElsewhere("new", 23);
    const journal = await summary();
    assert.deepEqual(
      journal.runs.map(({ started, result, elsewhere }) => [started?.run, result, elsewhere]),
      [
        ["new", "running", "db2"],
        ["old", "unfinished", undefined],
      ],
    );
    const listed = await recentOperations(folder, { limit: 2 });
    assert.deepEqual(
      listed.map(({ result }) => result),
      ["running", "unfinished"],
    );
    const { running, failures } = statusOf({ ...emptySources, now, journal });
    assert.deepEqual(
      running.map(({ operation, host, seconds }) => [operation, host, seconds]),
      [["backup", "db2", 23 * 3600]],
    );
    assert.equal(failures.length, 1, "of the old one");
  });

  test("has a run of another host as cut short once the same has begun again", async () => {
    await begunElsewhere("old", 2);
    await begunElsewhere("new", 1);
    const { runs } = await summary();
    assert.deepEqual(
      runs.map(({ started, result }) => [started?.run, result]),
      [
        ["new", "running"],
        ["old", "unfinished"],
      ],
    );
  });

  test("an export of which a part has failed is no success", async () => {
    const what = { database: "nkudo", subject: "every tenant" };
    await (await journal().begin("export", what)).done();
    const whole = (await summary()).lastSuccess.get("export");
    await (await journal().begin("export", what)).done({ exitCode: 4 });
    const { lastSuccess, counts } = await summary();
    assert.deepEqual(lastSuccess.get("export"), whole);
    assert.deepEqual(counts, [
      { operation: "export", result: "done", count: 1 },
      { operation: "export", result: "failed", count: 1 },
    ]);
  });

  test("has nothing of another database that has the same folder", async () => {
    const did = async (operation: string, database: string | undefined, details = {}) => {
      const entry = await journal().begin(operation, { database, details });
      await entry.done({ details });
    };
    for (const operation of ["schedule", "backup", "verify", "export", "restore", "drill"]) {
      await did(operation, "other", { restoreSeconds: 1 });
    }
    const failed = await journal().begin("export", { database: "other", subject: "acme" });
    await failed.failed(new Error("no"));
    const none = await summary();
    assert.deepEqual([none.runs, none.counts, none.lastRestore], [[], [], undefined]);
    assert.equal(none.records, 14, "of the whole journal it is said whether it holds");
    await did("verify", "nkudo");
    await did("prune", undefined);
    await did("restore", "look", { into: "look", beside: "nkudo" });
    const into = { database: "look", details: { into: "look", beside: "nkudo" } };
    await (await journal().begin("restore", into)).failed(new Error("no"));
    const { runs } = await summary();
    assert.deepEqual(
      runs.map(({ ended }) => [ended?.operation, ended?.event]),
      [
        ["restore", "failed"],
        ["restore", "done"],
        ["prune", "done"],
        ["verify", "done"],
      ],
    );
  });

  test("and the reports of drills are of the database, or of none", async () => {
    await mkdir(join(folder, "drills"));
    const reports = [{ database: "nkudo" }, { database: "other" }, {}];
    for (const [day, of] of reports.entries()) {
      const report = { startedAt: `2026-03-0${day + 1}T05:00:00Z`, passed: true, ...of };
      const path = join(folder, "drills", `drill_2026030${day + 1}_050000.json`);
      await writeFile(path, JSON.stringify(report));
    }
    assert.deepEqual(
      (await readDrills(folder, "nkudo")).map(({ at }) => at.slice(8, 10)),
      ["03", "01"],
    );
  });
});
