import assert from "node:assert/strict";
import { suite, test } from "node:test";
import * as fc from "fast-check";
import { AppError, ExitCode } from "../../../src/errors.ts";
import { pauseBefore } from "../../../src/service/retries.ts";
import { countSlots, slotsOf } from "../../../src/service/slots.ts";

const berlin = (expression: string) => slotsOf(expression, "Europe/Berlin", "BACKUP_SCHEDULE");

function timesOf(expression: string, from: string, to: string): readonly string[] {
  const slots = berlin(expression);
  const times: string[] = [];
  for (
    let at = slots.nextAfter(new Date(from));
    at !== undefined && at <= new Date(to);
    at = slots.nextAfter(at)
  ) {
    times.push(at.toISOString().slice(0, 16));
  }
  return times;
}

suite("the slots of a schedule", () => {
  test("where an hour is missing come once all the same", () => {
    assert.deepEqual(timesOf("30 2 * * *", "2026-03-28T00:00Z", "2026-03-31T00:00Z"), [
      "2026-03-28T01:30",
      "2026-03-29T01:00",
      "2026-03-30T00:30",
    ]);
  });

  test("where an hour comes twice come once, and every hour when they go through all", () => {
    assert.deepEqual(timesOf("30 2 * * *", "2026-10-24T00:00Z", "2026-10-27T00:00Z"), [
      "2026-10-24T00:30",
      "2026-10-25T00:30",
      "2026-10-26T01:30",
    ]);
    assert.equal(timesOf("0 * * * *", "2026-10-24T22:00Z", "2026-10-25T22:00Z").length, 24);
  });

  test("are one a day, whatever the hour, zone and year", () => {
    void fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 23 }),
        fc.integer({ min: 0, max: 59 }),
        fc.constantFrom("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"),
        fc.integer({ min: 2024, max: 2030 }),
        (hour, minute, timezone, year) => {
          const slots = slotsOf(`${minute} ${hour} * * *`, timezone, "BACKUP_SCHEDULE");
          const from = new Date(Date.UTC(year, 0, 1));
          const days = 365 + (year % 4 === 0 ? 1 : 0);
          const to = new Date(+from + days * 86_400_000);
          const count = countSlots(slots, from, to);
          assert.ok(Math.abs(count - days) <= 1, `${count} slots in ${days} days`);
        },
      ),
      { numRuns: 30 },
    );
  });

  test("look back as they look forward", () => {
    void fc.assert(
      fc.property(fc.date({ min: new Date("2024-01-01"), max: new Date("2030-01-01") }), (time) => {
        if (Number.isNaN(+time)) return;
        const slots = berlin("15 */6 * * *");
        const next = slots.nextAfter(time);
        const last = slots.lastBy(time);
        assert.ok(last !== undefined && next !== undefined && last <= time && next > time);
        assert.deepEqual(slots.nextAfter(last), next);
      }),
      { numRuns: 100 },
    );
  });

  test("that cannot be are refused with the variable: exit 2", () => {
    for (const expression of ["61 * * * *", "x", "0 0 30 2 *"]) {
      assert.throws(() => berlin(expression), { exitCode: 2, message: /BACKUP_SCHEDULE/ });
    }
  });
});

suite("a failed attempt", () => {
  const failed = (exitCode: ExitCode) => new AppError("x", exitCode, "x");
  const now = new Date("2026-01-01T02:00:00Z");

  test("is repeated with pauses that grow, until the next slot comes", () => {
    const pause = (attempt: number, next?: Date) =>
      pauseBefore(failed(ExitCode.database), attempt, now, next, [1000, 2000], 0.5);
    assert.deepEqual([pause(1), pause(2), pause(3), pause(30)], [1000, 2000, 2000, 2000]);
    assert.equal(pause(1, new Date(+now + 900)), undefined);
  });

  test("that took too long each time is not repeated for ever", () => {
    const late = new AppError("timed-out", ExitCode.database, "x");
    const pause = (attempt: number) =>
      pauseBefore(late, attempt, now, undefined, [1000, 2000], 0.5);
    assert.deepEqual([pause(1), pause(2), pause(3)], [1000, 2000, undefined]);
  });

  test("is not repeated when it cannot mend itself", () => {
    for (const exitCode of [ExitCode.usage, ExitCode.refused, ExitCode.key]) {
      assert.equal(pauseBefore(failed(exitCode), 1, now, undefined), undefined);
    }
  });
});
