import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { emptySummary } from "../../../src/service/journal-summary.ts";
import { statusOf } from "../../../src/service/status.ts";
import {
  emptySources,
  failedRun,
  goodBackup,
  goodSources,
  hoursAgo,
  now,
  placeWith,
  recordAt,
  stateOf,
  states,
} from "../../harness/status-states.ts";

const stateWords = (name: string) => {
  const { promise, rpo, rto, verified } = stateOf(name);
  return [promise.state, rpo.state, rto.state, verified.state];
};

suite("status", () => {
  test("says that the promise is kept when backup, restore and proof are", () => {
    assert.deepEqual(stateWords("good"), ["kept", "ok", "ok", "ok"]);
    const { promise, rpo, rto, backups, failures } = stateOf("good");
    assert.equal(
      promise.sentence,
      "The promise is kept: at most 24 h can be lost, and a restore takes 42 min.",
    );
    assert.deepEqual([promise.remarks, promise.advice, failures], [[], null, []]);
    assert.equal(
      rpo.sentence,
      "The newest good backup is 7 h 30 min old. At most 24 h may be lost.",
    );
    assert.equal(rto.sentence, "A drill took 42 min, 5 days ago. At most 4 h are promised.");
    assert.deepEqual([rpo.seconds, rpo.targetSeconds, rto.seconds], [27_000, 86_400, 2520]);
    const drilled = backups.find(({ id }) => id === "backup_20260315_020000");
    assert.deepEqual(drilled?.proof, { at: "2026-03-15T05:10:00.000Z", kind: "drill" });
    assert.deepEqual(drilled?.places, ["/var/backups/n-kudo", "s3://n-kudo-backups/production"]);
    assert.equal(backups.length, 30);
    assert.equal(backups[20]?.places.length, 1);
  });

  test("says that it is broken when the newest backup is too old, and which place is silent", () => {
    const { promise, rpo, places } = stateOf("late");
    assert.equal(promise.state, "broken");
    assert.equal(promise.sentence, "The promise is broken: the newest good backup is 3 days old.");
    assert.equal(promise.advice, "Run pgtenant backup, and pgtenant doctor if that fails.");
    assert.match(
      promise.remarks.join(),
      /s3:\/\/n-kudo-backups\/production cannot be read: could not/,
    );
    assert.equal(rpo.state, "late");
    assert.deepEqual(
      places.map(({ state, readAt, backups }) => [state, readAt, backups]),
      [
        ["read", "2026-03-20T09:30:00.000Z", 30],
        ["unreachable", "2026-03-20T06:30:00.000Z", 14],
      ],
    );
  });

  test("counts a backup as late an hour after the day, since a run takes its time", () => {
    const after = (hours: number) =>
      statusOf({ ...emptySources, places: [placeWith([goodBackup(hoursAgo(hours))])] }).rpo;
    assert.equal(after(24).state, "ok");
    assert.equal(after(24.9).state, "ok");
    assert.match(after(24.9).sentence, /counts as late from 25 h on/);
    assert.equal(after(25.1).state, "late");
  });

  test("takes no backup from the future for the newest", () => {
    const entries = [goodBackup(hoursAgo(-48)), goodBackup(hoursAgo(30))];
    const { rpo, promise } = statusOf({ ...emptySources, places: [placeWith(entries)] });
    assert.equal(rpo.seconds, 30 * 3600);
    assert.equal(promise.state, "broken");
  });

  test("names the latest failure with its hint, until a later run goes well", () => {
    const { promise, failures, calendar } = stateOf("failed");
    assert.equal(promise.sentence, "The promise is kept, but the latest backup failed.");
    assert.match(promise.advice ?? "", /^Is the server running/);
    assert.deepEqual(
      failures.map(({ message, resolved }) => [message, resolved]),
      [
        ['could not connect to "db.internal:5432": connection refused', false],
        ["there is no space left on the disk", true],
      ],
    );
    assert.equal(calendar.at(-1)?.state, "failed");
  });

  test("gives a hint for a failure whose line has none, by its exit code", () => {
    const ended = recordAt(hoursAgo(1), {
      event: "failed",
      exitCode: 7,
      details: { error: { code: "x", message: "it broke" } },
    });
    const runs = [{ started: undefined, ended, result: "failed" as const }];
    const { failures } = statusOf({ ...emptySources, journal: { ...emptySummary, runs } });
    assert.equal(failures[0]?.hint, "Run pgtenant doctor; it says what the database lacks.");
  });

  test("tells of a job that failed before the journal could hear of it", () => {
    const sources = states.good?.() ?? emptySources;
    const failed = states.failed?.().schedule;
    const { failures, promise } = statusOf({ ...sources, schedule: failed });
    assert.equal(failures.length, 1);
    assert.equal(failures[0]?.hint, "Is the server running?");
    assert.equal(promise.sentence, "The promise is kept, but the latest backup failed.");
  });

  test("says of a failure what the command or else the service wrote down, once, and of a stop nothing", () => {
    const slot = (event: "failed" | "interrupted" | "done", hours: number, more = {}) => ({
      started: recordAt(hoursAgo(hours), { operation: "schedule", subject: "tenants" }),
      ended: recordAt(hoursAgo(hours - 0.01), {
        operation: "schedule",
        subject: "tenants",
        event,
        details: { error: { code: "x", message: "the server is away" } },
        ...more,
      }),
      result: event,
    });
    const error = { error: { code: "x", message: "no such tenant" } };
    const command = {
      started: recordAt(hoursAgo(3.005), { operation: "export" }),
      ended: recordAt(hoursAgo(3), { operation: "export", event: "failed", details: error }),
      result: "failed" as const,
    };
    const stopped = slot("interrupted", 1, { exitCode: 130 });
    const passed = slot("done", 0.5, { details: { skipped: "the other one has it" } });
    const runs = [passed, stopped, slot("failed", 2), command, slot("failed", 3.01)];
    const { failures } = statusOf({ ...emptySources, journal: { ...emptySummary, runs } });
    assert.deepEqual(
      failures.map(({ operation, message, resolved }) => [operation, message, resolved]),
      [
        ["tenants", "the server is away", false],
        ["export", "no such tenant", false],
      ],
    );
  });

  test("a failure before there was a command stays while the next attempt is at work", () => {
    const at = (secondsAgo: number, changes = {}) =>
      recordAt(hoursAgo(secondsAgo / 3600), {
        operation: "schedule",
        subject: "backup",
        ...changes,
      });
    const details = { error: { code: "x", message: "the server is away" } };
    const failed = {
      started: at(30),
      ended: at(29, { event: "failed", details }),
      result: "failed" as const,
    };
    const next = { started: at(14), ended: undefined, result: "running" as const };
    const command = {
      started: at(13, { operation: "backup", subject: undefined }),
      ended: undefined,
      result: "running" as const,
    };
    const runs = [command, next, failed];
    const { failures, promise } = statusOf({
      ...emptySources,
      journal: { ...emptySummary, runs },
    });
    assert.deepEqual(
      failures.map(({ message, resolved }) => [message, resolved]),
      [["the server is away", false]],
    );
    assert.equal(promise.sentence, "The promise is broken: there is no good backup.");
  });

  test("a tenant that could not be exported is not resolved by another one, but by an export of all", () => {
    const error = { error: { code: "x", message: "no" } };
    const ended = (subject: string, event: "done" | "failed", exitCode: number) => ({
      started: undefined,
      ended: recordAt(hoursAgo(1), {
        operation: "export",
        subject,
        event,
        exitCode,
        ...(event === "failed" ? { details: error } : {}),
      }),
      result: event,
    });
    const resolved = (...runs: readonly ReturnType<typeof ended>[]) =>
      statusOf({ ...emptySources, journal: { ...emptySummary, runs } }).failures.map(
        ({ subject, resolved }) => [subject, resolved],
      );
    const failed = ended("acme", "failed", 7);
    const all = "every tenant";
    assert.deepEqual(resolved(ended("globex", "done", 0), failed), [["acme", false]]);
    assert.deepEqual(resolved(ended("acme", "done", 0), failed), [["acme", true]]);
    assert.deepEqual(resolved(ended(all, "done", 4), failed), [["acme", false]]);
    assert.deepEqual(resolved(ended(all, "done", 0), failed), [["acme", true]]);
    const last = {
      slot: hoursAgo(2),
      startedAt: hoursAgo(2),
      endedAt: hoursAgo(2),
      result: "failed" as const,
      message: "not written down",
      hint: undefined,
    };
    const tenants = { kind: "tenants" as const, schedule: "0 2 * * *", timezone: "UTC" };
    const jobs = [{ ...tenants, next: undefined, running: undefined, last }];
    const ofJob = (run: ReturnType<typeof ended>) =>
      statusOf({
        ...emptySources,
        journal: {
          ...emptySummary,
          runs: [run],
          lastSuccess: new Map([["export", run.ended]]),
        },
        schedule: { startedAt: hoursAgo(9), jobs },
      }).failures[0]?.resolved;
    assert.deepEqual(
      [ofJob(ended("globex", "done", 0)), ofJob(ended(all, "done", 0))],
      [false, true],
    );
    const allFailed = ended(all, "failed", 7);
    assert.deepEqual(resolved(ended("acme", "done", 0), allFailed), [[all, false]]);
    assert.deepEqual(resolved(ended(all, "done", 0), allFailed), [[all, true]]);
  });

  test("has a run that S3 missed as failed there, and no dry run as failed", () => {
    const failed = [{ place: "s3://bucket", error: "the bucket is gone" }];
    const done = recordAt(hoursAgo(2), { details: { failed } });
    const dry = recordAt(hoursAgo(1), {
      operation: "restore",
      event: "failed",
      details: { error: { code: "internal", message: "" } },
    });
    const runs = [
      { started: undefined, ended: dry, result: "failed" as const },
      { started: undefined, ended: done, result: "done" as const },
    ];
    const { failures } = statusOf({ ...emptySources, journal: { ...emptySummary, runs } });
    assert.deepEqual(
      failures.map(({ message, resolved }) => [message, resolved]),
      [["the backup is not in s3://bucket: the bucket is gone", false]],
    );
  });

  test("says that the latest backup is not in every place", () => {
    const sources = goodSources();
    const failed = [{ place: "s3://bucket", error: "the bucket is gone" }];
    const done = recordAt(hoursAgo(2), { details: { failed } });
    const runs = [{ started: undefined, ended: done, result: "done" as const }];
    const { promise } = statusOf({ ...sources, journal: { ...sources.journal, runs } });
    assert.equal(
      promise.sentence,
      "The promise is kept, but the latest backup is not in every place.",
    );
    assert.match(promise.advice ?? "", /^The other copy is good/);
  });

  test("is broken when the latest drill failed, whatever was measured before", () => {
    const sources = goodSources();
    const failed = {
      at: "2026-03-19T05:00:00.000Z",
      passed: false,
      rtoSeconds: null,
      backup: null,
      problem: 'the table "public.sites" is missing',
    };
    const { promise, rto } = statusOf({ ...sources, drills: [failed, ...sources.drills] });
    assert.equal(promise.sentence, "The promise is broken: the latest drill failed.");
    assert.match(rto.sentence, /failed: the table "public.sites" is missing/);
  });

  test("is broken when a restore takes longer than promised", () => {
    const sources = goodSources();
    const { promise } = statusOf({ ...sources, rtoHours: 0.5 });
    assert.equal(promise.sentence, "The promise is broken: a restore takes 42 min.");
  });

  test("takes a restore in earnest for a measure too, the latest of them", () => {
    const sources = goodSources();
    const lastRestore = { at: hoursAgo(3).toISOString(), seconds: 4000 };
    const journal = { ...sources.journal, lastRestore };
    const { rto } = statusOf({ ...sources, journal });
    assert.equal(rto.seconds, 4000);
    assert.match(rto.sentence, /^A restore took 1 h 7 min, 3 h ago/);
  });

  test("calls backups without any proof unproved, and says how to prove them", () => {
    const { promise } = statusOf({
      ...emptySources,
      places: [placeWith([goodBackup(hoursAgo(2))])],
    });
    assert.equal(promise.state, "unproven");
    assert.equal(
      promise.advice,
      "Run pgtenant drill: it restores beside the database, checks everything, and measures how long it takes.",
    );
    assert.deepEqual(promise.remarks, [
      "No restore was measured yet. At most 4 h are promised.",
      "No backup was verified yet.",
    ]);
  });

  test("shows the running job with its progress, once", () => {
    const sources = states.running?.() ?? emptySources;
    const started = recordAt(hoursAgo(0.05), { event: "started" });
    const other = recordAt(hoursAgo(0.5), { event: "started", operation: "restore" });
    const runs = [started, other].map((record) => ({
      started: record,
      ended: undefined,
      result: "running" as const,
    }));
    const { running } = statusOf({ ...sources, journal: { ...sources.journal, runs } });
    assert.deepEqual(
      running.map(({ operation, seconds, step, done, total }) => [
        operation,
        seconds,
        step,
        done,
        total,
      ]),
      [
        ["backup", 180, "dump", 3.4e9, 8.1e9],
        ["restore", 1800, null, null, null],
      ],
    );
  });

  test("shows what runs on another host beside what runs here, and says where", () => {
    const sources = states.running?.() ?? emptySources;
    const begun = (operation: string, subject?: string) => ({
      started: recordAt(hoursAgo(0.1), {
        event: "started",
        operation,
        ...(subject && { subject }),
      }),
      ended: undefined,
      result: "running" as const,
      elsewhere: "db2",
    });
    const runs = [begun("backup"), begun("schedule", "backup")];
    const { running } = statusOf({ ...sources, journal: { ...sources.journal, runs } });
    assert.deepEqual(
      running.map(({ operation, host }) => [operation, host]),
      [
        ["backup", null],
        ["backup", "db2"],
      ],
    );
  });

  test("is empty without any backup, and unknown while a place has not answered", () => {
    assert.deepEqual(stateWords("empty"), ["empty", "unknown", "unknown", "unknown"]);
    assert.equal(stateOf("empty").promise.advice, "Run pgtenant backup.");
    const waiting = placeWith([], "s3://bucket", {
      state: "waiting",
      catalogue: undefined,
      readAt: undefined,
    });
    const { promise } = statusOf({ ...emptySources, places: [placeWith([]), waiting] });
    assert.equal(promise.state, "unknown");
    assert.match(promise.sentence, /s3:\/\/bucket has not answered yet/);
  });

  test("is broken when backups were tried and none is good", () => {
    const runs = [failedRun(hoursAgo(2), "no such database", "Create it.")];
    const journal = { ...emptySummary, runs, firstDay: "2026-03-20" };
    const { promise } = statusOf({ ...emptySources, journal });
    assert.equal(promise.sentence, "The promise is broken: there is no good backup.");
    assert.equal(promise.advice, "Create it.");
  });

  test("has thirty days in the schedules' time zone, with pruned backups from the journal", () => {
    const entries = [goodBackup(new Date("2026-03-18T23:30:00Z"))];
    const { calendar } = statusOf({
      ...emptySources,
      timezone: "Europe/Berlin",
      places: [placeWith(entries)],
      journal: {
        ...emptySummary,
        firstDay: "2026-03-15",
        days: new Map([
          ["2026-03-15", { done: 1, failed: 0 }],
          ["2026-03-16", { done: 0, failed: 2 }],
          ["2026-03-19", { done: 1, failed: 0 }],
        ]),
      },
    });
    assert.equal(calendar.length, 30);
    assert.deepEqual(
      calendar.slice(-7).map(({ day, state, good, failed }) => [day, state, good, failed]),
      [
        ["2026-03-14", "before", 0, 0],
        ["2026-03-15", "good", 1, 0],
        ["2026-03-16", "failed", 0, 2],
        ["2026-03-17", "none", 0, 0],
        ["2026-03-18", "none", 0, 0],
        ["2026-03-19", "good", 1, 0],
        ["2026-03-20", "none", 0, 0],
      ],
    );
    assert.equal(now.toISOString().slice(0, 10), "2026-03-20");
  });
});
