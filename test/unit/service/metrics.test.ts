import assert from "node:assert/strict";
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { AppError, ExitCode } from "../../../src/errors.ts";
import { openJournal } from "../../../src/journal/journal.ts";
import { JournalReader } from "../../../src/service/journal-summary.ts";
import { metricsText } from "../../../src/service/metrics.ts";
import { writeMetricsFile } from "../../../src/service/metrics-file.ts";
import type { ServiceStatus } from "../../../src/service/service-status.ts";
import { openStatusReader } from "../../../src/service/status-reader.ts";
import { putBackup, verificationOf } from "../../harness/backup-entries.ts";
import { memoryStore } from "../../harness/memory-store.ts";
import { checkMetrics, withoutPromtool } from "../../harness/promtool.ts";
import { stateOf, states } from "../../harness/status-states.ts";

/** The value of one series. */
function seriesValue(text: string, series: string): number | undefined {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

suite("metrics", () => {
  let folder = "";
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  after(() => rm(folder, { recursive: true }));

  test("have the guide's two names, and the promise in seconds", async () => {
    const text = await metricsText(stateOf("good"));
    const expected = {
      backup_last_success_timestamp: Date.parse("2026-03-20T02:00:00Z") / 1000,
      backup_file_size_bytes: 1.31e9,
      pgtenant_backup_duration_seconds: 350,
      'pgtenant_operations_total{operation="backup",result="done"}': 30,
      'pgtenant_operations_total{operation="backup",result="failed"}': 2,
      'pgtenant_last_success_timestamp_seconds{operation="backup"}':
        Date.parse("2026-03-20T02:00:00Z") / 1000,
      pgtenant_last_verified_timestamp_seconds: Date.parse("2026-03-20T03:00:00Z") / 1000,
      pgtenant_last_drill_timestamp_seconds: Date.parse("2026-03-15T05:10:00Z") / 1000,
      pgtenant_last_drill_passed: 1,
      pgtenant_rpo_seconds: 27_000,
      pgtenant_rpo_target_seconds: 86_400,
      pgtenant_rto_seconds: 2520,
      pgtenant_rto_target_seconds: 14_400,
      pgtenant_promise_kept: 1,
      pgtenant_s3_failures_total: 0,
      'pgtenant_place_reachable{place="s3://n-kudo-backups/production"}': 1,
      pgtenant_backup_dir_free_bytes: 212e9,
      pgtenant_journal_intact: 1,
      'pgtenant_job_running{job="backup"}': 0,
      'pgtenant_next_run_timestamp_seconds{job="drill"}': Date.parse("2026-03-22T05:00:00Z") / 1000,
    };
    for (const [series, value] of Object.entries(expected)) {
      assert.equal(seriesValue(text, series), value, series);
    }
    assert.match(text, /^pgtenant_build_info\{version="\d+\.\d+\.\d+"\} 1$/m);
    const running = await metricsText(stateOf("running"));
    assert.equal(seriesValue(running, 'pgtenant_job_running{job="backup"}'), 1);
  });

  test("without a backup make the guide's alerts fire, and claim nothing they cannot know", async () => {
    const empty = await metricsText(stateOf("empty"));
    assert.equal(seriesValue(empty, "backup_last_success_timestamp"), 0);
    assert.equal(seriesValue(empty, "backup_file_size_bytes"), 0);
    assert.match(empty, /^pgtenant_rpo_seconds \+Inf$/m);
    assert.equal(seriesValue(empty, "pgtenant_last_drill_timestamp_seconds"), 0);
    assert.equal(seriesValue(empty, "pgtenant_last_drill_passed"), undefined);
    assert.equal(seriesValue(empty, "pgtenant_rto_seconds"), undefined);
    const status = stateOf("empty");
    const unknown = { ...status, promise: { ...status.promise, state: "unknown" as const } };
    const silent = await metricsText(unknown);
    assert.equal(seriesValue(silent, "backup_last_success_timestamp"), undefined);
    assert.equal(seriesValue(silent, "pgtenant_rpo_seconds"), undefined);
  });

  test("pass promtool check metrics in every state", {
    skip: withoutPromtool() ?? false,
  }, async () => {
    for (const name of Object.keys(states)) {
      const { code, said } = checkMetrics(await metricsText(stateOf(name)));
      assert.deepEqual([code, said], [0, ""], name);
    }
  });

  test("are the same after a restart: manifests, sidecars, journal and reports tell them", async () => {
    const place = join(folder, "restart");
    const journal = openJournal(place, { secrets: [], warn: assert.fail });
    const failed = [{ place: "s3://bucket", error: "gone" }];
    await (await journal.begin("backup", { database: "nkudo" })).done({ details: { failed } });
    const broken = new AppError("x", ExitCode.storage, "could not write s3://bucket/x", {});
    await (await journal.begin("backup", { database: "nkudo" })).failed(broken);
    await (await journal.begin("restore", { database: "nkudo" })).done();
    await mkdir(join(place, "drills"));
    const report = { createdAt: "2026-03-11T05:00:00Z", passed: true, rtoSeconds: 61 };
    await writeFile(join(place, "drills", "drill_20260311_050000.json"), JSON.stringify(report));
    await writeFile(join(place, "drills", "drill_20260312_050000.json"), "{ half");
    const store = memoryStore(place);
    const id = "backup_20260310_020000";
    putBackup(store, id, { durationSeconds: 12 });
    store.put(`${id}.verified.json`, JSON.stringify(verificationOf(id)));
    const read = async () =>
      await metricsText(
        await openStatusReader({
          folder: place,
          stores: [store],
          database: "nkudo",
          timezone: "UTC",
          rpoHours: 24,
          rtoHours: 4,
          secrets: [],
          clock: () => new Date("2026-03-12T00:00:00Z"),
        }).read(),
      );
    const text = await read();
    const stable = (metrics: string) => metrics.replace(/^pgtenant_backup_dir_free.*$/m, "");
    assert.equal(stable(text), stable(await read()));
    const at = Date.parse("2026-03-10T02:00:00Z") / 1000;
    assert.equal(seriesValue(text, "backup_last_success_timestamp"), at);
    assert.equal(seriesValue(text, "backup_file_size_bytes"), "the dumpthe roles".length);
    assert.equal(seriesValue(text, "pgtenant_backup_duration_seconds"), 12);
    assert.equal(seriesValue(text, "pgtenant_last_verified_timestamp_seconds"), at);
    assert.equal(seriesValue(text, "pgtenant_last_drill_passed"), 1);
    assert.equal(seriesValue(text, "pgtenant_s3_failures_total"), 2);
    const series = 'pgtenant_operations_total{operation="backup",result="failed"}';
    assert.equal(seriesValue(text, series), 1);
    assert.equal(seriesValue(text, "pgtenant_journal_intact"), 1);

    const path = join(place, "journal.jsonl");
    await writeFile(path, (await readFile(path, "utf8")).replace("s3://bucket/x", "s3://bucket/y"));
    assert.equal(seriesValue(await read(), "pgtenant_journal_intact"), 0);
  });

  test("leave out what only the journal tells while it cannot be read", async () => {
    const place = join(folder, "unread");
    const journal = openJournal(place, { secrets: [], warn: assert.fail });
    const broken = new AppError("x", ExitCode.storage, "could not write s3://bucket/x", {});
    await (await journal.begin("backup", { database: "nkudo" })).failed(broken);
    await (await journal.begin("restore", { database: "nkudo" })).done({
      details: { restoreSeconds: 61 },
    });
    const open = () =>
      openStatusReader({
        folder: place,
        stores: [memoryStore(place)],
        database: "nkudo",
        timezone: "UTC",
        rpoHours: 24,
        rtoHours: 4,
        secrets: [],
        clock: () => new Date("2026-03-12T00:00:00Z"),
      });
    const ofJournal = /^pgtenant_(operations_total|last_success|s3_failures|journal_intact)/m;
    assert.match(await metricsText(await open().read()), ofJournal);
    const reader = new JournalReader(place, "nkudo", "UTC");
    const now = new Date();
    const before = await reader.read(now);
    const version = await reader.version();
    const path = join(place, "journal.jsonl");
    await rename(path, join(place, "kept"));
    // Also an administrator cannot read these.
    for (const unreadable of [() => symlink("journal.jsonl", path), () => mkdir(path)]) {
      await unreadable();
      const status = await open().read();
      assert.doesNotMatch(await metricsText(status), ofJournal);
      assert.match(status.journal.problem ?? "", /cannot be read \(E/);
      assert.match(status.promise.remarks.join(), /The journal ".*" cannot be read/);
      const { intact, problem, ...rest } = await reader.read(now);
      assert.deepEqual([intact, problem], [undefined, status.journal.problem]);
      const { intact: _, problem: __, ...known } = before;
      assert.deepEqual(rest, known, "what was known is still known");
      await rm(path, { recursive: true });
    }
    await symlink("journal.jsonl", path);
    assert.equal(await reader.version(), version);
    await rm(path);
    await rename(join(place, "kept"), path);
    const again = await metricsText(await open().read());
    assert.equal(seriesValue(again, "pgtenant_journal_intact"), 1);
    assert.equal(seriesValue(again, "pgtenant_s3_failures_total"), 1);
  });

  test("do not wait for a place that is slow, and tell of it what was read before", async () => {
    const store = memoryStore("s3://bucket", "s3");
    putBackup(store, "backup_20260310_020000");
    const list = store.list;
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    let slow = true;
    store.list = async function* (prefix) {
      if (slow) await gate;
      yield* list(prefix);
    };
    let time = Date.parse("2026-03-10T12:00:00Z");
    const open = () =>
      openStatusReader({
        folder: join(folder, "none"),
        stores: [store],
        database: "nkudo",
        timezone: "UTC",
        rpoHours: 24,
        rtoHours: 4,
        secrets: [],
        patienceMs: 50,
        clock: () => new Date(time),
      });
    const begun = performance.now();
    const waiting = await open().read();
    assert.ok(performance.now() - begun < 20_000, "the page does not wait");
    assert.equal(waiting.promise.state, "unknown");
    assert.equal(waiting.places[0]?.state, "waiting");
    slow = false;
    const reader = open();
    assert.equal((await reader.read()).places[0]?.state, "read");
    slow = true;
    time += 120_000;
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    const stale: ServiceStatus = await reader.read();
    assert.deepEqual(
      stale.places.map(({ state, readAt, backups }) => [state, readAt, backups]),
      [["stale", "2026-03-10T12:00:00.000Z", 1]],
    );
    assert.equal(stale.promise.state, "unproven");
    release();
  });

  test("are left in a file that is replaced as a whole and everybody may read", async () => {
    const path = join(folder, "pgtenant.prom");
    await writeFile(path, "old", { mode: 0o600 });
    await writeMetricsFile(path, stateOf("good"));
    assert.match(await readFile(path, "utf8"), /^backup_last_success_timestamp \d+$/m);
    assert.equal((await stat(path)).mode & 0o777, 0o644);
    await writeMetricsFile(path, stateOf("running"));
    assert.doesNotMatch(await readFile(path, "utf8"), /pgtenant_job_running/, "for a moment only");
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.includes("prom")),
      ["pgtenant.prom"],
    );
    await assert.rejects(
      writeMetricsFile(join(folder, "no", "such.prom"), stateOf("good")),
      (error: AppError) => error.exitCode === ExitCode.storage,
    );
  });
});
