import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { inspect } from "node:util";
import fc from "fast-check";
import { backupIdAt } from "../../../src/backup/backup-name.ts";
import { type BackupState, type CatalogueEntry, timeOf } from "../../../src/backup/catalogue.ts";
import { planRetention, type RetentionPolicy } from "../../../src/backup/retention.ts";
import { entryOf, pendingOf, pinOf, verificationOf } from "../../harness/backup-entries.ts";

const dayMs = 24 * 3_600_000;
const now = new Date("2026-03-15T12:00:00Z");

/** A backup of so many days ago. */
function daysAgo(days: number, changes: Partial<CatalogueEntry> = {}): CatalogueEntry {
  return entryOf(backupIdAt(new Date(+now - days * dayMs)), changes);
}

function kept(backups: readonly CatalogueEntry[], policy: RetentionPolicy, at = now) {
  return planRetention(backups, policy, at)
    .filter((decision) => decision.keep)
    .map((decision) => decision.backup);
}

function keptIds(ids: readonly string[], policy: RetentionPolicy): readonly string[] {
  return kept(
    ids.map((id) => entryOf(id)),
    policy,
  ).map((entry) => entry.id);
}

suite("retention for any backups, clock and policy", () => {
  const states: readonly BackupState[] = [
    "good",
    "corrupt",
    "missing-parts",
    "pending",
    "incomplete",
    "foreign",
    "other-database",
  ];
  const rule = fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined });
  const policies = fc
    .record({
      keepDays: rule,
      keepLast: rule,
      keepDaily: rule,
      keepWeekly: rule,
      keepMonthly: rule,
      keepYearly: rule,
    })
    .filter((policy) => Object.values(policy).some((value) => value !== undefined));
  // Hours around `now`, from two years back to a month ahead: dense, so that buckets are shared.
  const hours = fc.oneof(
    fc.integer({ min: -60, max: 60 }),
    fc.integer({ min: -24 * 30, max: 24 * 60 }),
    fc.integer({ min: 0, max: 24 * 730 }),
  );
  const weighted = fc.oneof(
    { weight: 6, arbitrary: fc.constant<BackupState>("good") },
    { weight: 4, arbitrary: fc.constantFrom(...states) },
  );
  const entry = fc
    .record({
      hours,
      state: weighted,
      verification: fc.constantFrom("none", "good", "stored", "failed"),
      verifiedHours: hours,
      pinned: fc.integer({ min: 0, max: 9 }),
      unknown: fc.integer({ min: 0, max: 3 }),
      startedHours: hours,
    })
    .map((made): CatalogueEntry => {
      const id = backupIdAt(new Date(+now - made.hours * 3_600_000));
      const failed = made.verification === "failed";
      // As the catalogue has it: a failed verification makes a good one corrupt.
      const state = failed && made.state === "good" ? "corrupt" : made.state;
      const time = (ago: number) => new Date(+now - ago * 3_600_000).toISOString();
      const unfinished = state === "pending" || state === "incomplete";
      return entryOf(id, {
        state,
        database:
          state === "foreign" || (state === "corrupt" && made.unknown === 0)
            ? undefined
            : state === "other-database"
              ? "nkudo_test"
              : "nkudo",
        ...(made.verification === "none"
          ? {}
          : {
              verified: verificationOf(id, {
                at: time(made.verifiedHours),
                result: failed ? "failed" : "good",
                checked: made.verification === "stored" ? "stored" : "all",
              }),
            }),
        ...(made.pinned === 0 ? { pinned: pinOf(id) } : {}),
        ...(unfinished ? { pending: pendingOf(id, { startedAt: time(made.startedHours) }) } : {}),
      });
    });
  const sets = fc.uniqueArray(entry, { selector: ({ id }) => id, maxLength: 40 });
  const clocks = fc.oneof(
    fc.constant(now),
    fc.integer({ min: -400, max: 4000 }).map((days) => new Date(+now + days * dayMs)),
  );

  function property(
    promise: (
      removed: ReadonlySet<CatalogueEntry>,
      backups: readonly CatalogueEntry[],
      clock: Date,
      policy: RetentionPolicy,
    ) => void,
  ): void {
    fc.assert(
      fc.property(sets, policies, clocks, (backups, policy, clock) => {
        const plan = planRetention(backups, policy, clock);
        const removed = new Set(plan.filter(({ keep }) => !keep).map(({ backup }) => backup));
        promise(removed, backups, clock, policy);
      }),
      { numRuns: 1000 },
    );
  }

  const goodOf = (backups: readonly CatalogueEntry[], clock: Date) =>
    backups
      .filter(({ state }) => state === "good")
      .filter((backup) => timeOf(backup) <= +clock)
      .sort((a, b) => timeOf(b) - timeOf(a));

  test("never removes the newest good backup", () => {
    property((removed, backups, clock) => {
      const [newest] = goodOf(backups, clock);
      if (newest !== undefined) assert.ok(!removed.has(newest));
    });
  });

  test("never removes the last verified good one, whichever way it is counted", () => {
    property((removed, backups, clock) => {
      const verified = goodOf(backups, clock).filter((b) => b.verified?.result === "good");
      const whole = verified.filter((backup) => backup.verified?.checked === "all");
      const at = (backup: CatalogueEntry) => Date.parse(backup.verified?.at ?? "");
      const latest = Math.max(...verified.map(at));
      for (const backup of [verified[0], whole[0]]) {
        if (backup !== undefined) assert.ok(!removed.has(backup));
      }
      if (verified.length > 0) {
        assert.ok(verified.some((backup) => at(backup) === latest && !removed.has(backup)));
      }
    });
  });

  test("never removes pinned ones, foreign files, other databases' and those of nobody knows whom", () => {
    property((removed) => {
      for (const backup of removed) {
        assert.equal(backup.pinned, undefined);
        assert.notEqual(backup.state, "foreign");
        assert.equal(backup.database, "nkudo");
      }
    });
  });

  test("never removes what is dated in the future", () => {
    property((removed, _, clock) => {
      for (const backup of removed) assert.ok(timeOf(backup) <= +clock);
    });
  });

  test("never removes a run that began less than a day ago", () => {
    property((removed, _, clock) => {
      for (const { state, pending } of removed) {
        assert.notEqual(state, "pending");
        if (state !== "incomplete") continue;
        assert.ok(+clock - Date.parse(pending?.startedAt ?? "") > dayMs);
      }
    });
  });

  test("where no backup is good, removes nothing but runs that never ended", () => {
    property((removed, backups, clock) => {
      if (goodOf(backups, clock).length > 0) return;
      for (const { state } of removed) assert.equal(state, "incomplete");
    });
  });

  test("removes nothing within the days that precede the newest good backup, however late it is", () => {
    property((removed, backups, clock, { keepDays }) => {
      const [newest] = goodOf(backups, clock);
      if (newest === undefined || keepDays === undefined) return;
      for (const backup of removed) {
        if (backup.state === "incomplete") continue;
        assert.ok(timeOf(backup) < timeOf(newest) - keepDays * dayMs);
      }
    });
  });

  test("takes away no more when the clock jumps ahead and no backup is made", () => {
    property((removed, backups, clock, policy) => {
      const noFuture = backups.filter((backup) => timeOf(backup) <= +clock);
      const later = planRetention(noFuture, policy, new Date(+clock + 5000 * dayMs));
      for (const { backup, keep } of later) {
        if (backup.state !== "incomplete" && backup.state !== "pending" && !keep) {
          assert.ok(removed.has(backup));
        }
      }
    });
  });

  test("is the same once more when what was to go is gone", () => {
    property((removed, backups, clock, policy) => {
      const left = backups.filter((backup) => !removed.has(backup));
      // The oldest rule of a bucket may move on to another one, never take one more away.
      const again = planRetention(left, policy, clock).filter(({ keep }) => !keep);
      assert.deepEqual(again, []);
    });
  });

  test("a damaged backup takes no good one's place", () => {
    property((removed, backups, clock, policy) => {
      const sound = backups.filter(({ state }) => state !== "corrupt" && state !== "missing-parts");
      const plan = planRetention(sound, policy, clock);
      for (const { backup, keep } of plan) assert.equal(!keep, removed.has(backup));
    });
  });

  test("keeps as many good ones as the rules of numbers say, if there are so many", () => {
    property((removed, backups, clock, policy) => {
      const good = goodOf(backups, clock);
      const left = good.filter((backup) => !removed.has(backup));
      const { keepLast = 0 } = policy;
      assert.deepEqual(left.slice(0, keepLast), good.slice(0, keepLast));
      const days = (list: readonly CatalogueEntry[]) => new Set(list.map((b) => b.id.slice(0, 15)));
      const wanted = Math.min(policy.keepDaily ?? 0, days(good).size);
      assert.ok(days(left).size >= wanted);
      const months = (list: readonly CatalogueEntry[]) =>
        new Set(list.map((b) => b.id.slice(0, 13)));
      assert.ok(months(left).size >= Math.min(policy.keepMonthly ?? 0, months(good).size));
    });
  });
});

suite("retention", () => {
  test("by days keeps what is not older than them, and says why the others go", () => {
    const backups = [daysAgo(0), daysAgo(14), daysAgo(15)];
    assert.deepEqual(
      planRetention(backups, { keepDays: 14 }, now).map(({ keep, reasons }) => ({ keep, reasons })),
      [
        { keep: true, reasons: ["the newest good backup", "not older than 14 days"] },
        { keep: true, reasons: ["not older than 14 days"] },
        {
          keep: false,
          reasons: ["15 days older than the newest good backup; no rule keeps it longer"],
        },
      ],
    );
  });

  test("counts days from the last good backup, so that weeks of failures cost nothing", () => {
    const backups = [daysAgo(60), daysAgo(65), daysAgo(89), daysAgo(91)];
    assert.deepEqual(kept(backups, { keepDays: 30 }), backups.slice(0, 3));
  });

  test("makes no month of nights old by one that this machine's clock has dated, when the server's was right", () => {
    const nights = Array.from({ length: 30 }, (_, night) => daysAgo(night + 1));
    const ahead = new Date(+now + 365 * dayMs);
    const newest = entryOf(backupIdAt(ahead), { createdAt: now });
    assert.equal(kept([newest, ...nights], { keepDays: 14 }, ahead).length, 1 + 14);
  });

  test("keeps the newest of each day, week, month and year", () => {
    const ids = [
      "backup_20260315_020000",
      "backup_20260314_140000",
      "backup_20260314_020000",
      "backup_20260309_020000", // Monday of the same week
      "backup_20260308_020000", // Sunday of the week before
      "backup_20260228_020000",
      "backup_20260131_020000",
      "backup_20251231_020000",
      "backup_20251230_020000",
      "backup_20241231_020000",
      "backup_20240101_020000",
    ];
    const at = (...positions: readonly number[]) => positions.map((position) => ids[position]);
    assert.deepEqual(keptIds(ids, { keepLast: 3 }), at(0, 1, 2));
    assert.deepEqual(keptIds(ids, { keepDaily: 3 }), at(0, 1, 3));
    assert.deepEqual(keptIds(ids, { keepWeekly: 2 }), at(0, 4));
    assert.deepEqual(keptIds(ids, { keepMonthly: 4 }), at(0, 5, 6, 7));
    assert.deepEqual(keptIds(ids, { keepYearly: 3 }), at(0, 7, 9));
    assert.deepEqual(keptIds(ids, { keepDaily: 2, keepYearly: 2 }), at(0, 1, 7));
  });

  test("counts weeks as ISO does, over the turn of a year", () => {
    // Monday, 29 December 2025, to Sunday, 4 January 2026, are one week.
    const ids = [
      "backup_20260105_020000",
      "backup_20260104_020000",
      "backup_20251229_020000",
      "backup_20251228_020000",
    ];
    assert.deepEqual(keptIds(ids, { keepWeekly: 3 }), [ids[0], ids[1], ids[3]]);
  });

  test("keeps the oldest as long as a number is not reached", () => {
    const ids = [
      "backup_20260315_120000",
      "backup_20260315_110000",
      "backup_20260315_100000",
    ] as const;
    assert.deepEqual(keptIds(ids, { keepDaily: 1 }), [ids[0]]);
    assert.deepEqual(keptIds(ids, { keepDaily: 7 }), [ids[0], ids[2]]);
    const plan = planRetention(
      ids.map((id) => entryOf(id)),
      { keepDaily: 7 },
      now,
    );
    assert.deepEqual(plan.at(-1)?.reasons, ["oldest daily"]);
  });

  test("by days lets damaged ones go, and names what is wrong with them", () => {
    const damaged = daysAgo(40, { state: "missing-parts", problem: 'the file "x" is missing' });
    const fresh = daysAgo(3, { state: "corrupt", problem: "cut short" });
    const plan = planRetention([daysAgo(0), fresh, damaged], { keepDays: 30 }, now);
    assert.deepEqual(
      plan.map(({ keep }) => keep),
      [true, true, false],
    );
    assert.deepEqual(plan[2]?.reasons, [
      '40 days older than the newest good backup, and damaged: the file "x" is missing',
    ]);
    assert.deepEqual(kept([daysAgo(0), damaged], { keepLast: 1 }).length, 2);
  });

  test("never counts a damaged backup as the newest", () => {
    const backups = [daysAgo(0, { state: "corrupt" }), daysAgo(1), daysAgo(2)];
    assert.deepEqual(kept(backups, { keepLast: 1 }), backups.slice(0, 2));
  });

  for (const policy of [
    {},
    { keepDays: undefined },
    { keepLast: undefined, keepYearly: undefined },
  ]) {
    test(`without any rule is refused: ${inspect(policy)}`, () => {
      assert.throws(() => planRetention([daysAgo(0), daysAgo(99)], policy, now), {
        code: "empty-retention",
        exitCode: 2,
        message: "no retention rule is given",
      });
    });
  }

  for (const value of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    test(`with ${value} as a number is refused`, () => {
      for (const rule of ["keepDays", "keepLast", "keepDaily", "keepYearly"]) {
        assert.throws(() => planRetention([daysAgo(99)], { keepLast: 1, [rule]: value }, now), {
          code: "invalid-retention",
          exitCode: 2,
          message: `the retention rule ${rule} cannot be ${value}`,
        });
      }
    });
  }
});
