import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { policyOf } from "../../../src/cli/retention-options.ts";
import { resolveConfig } from "../../../src/config/config.ts";

const none = {
  keepDays: undefined,
  keepLast: undefined,
  keepDaily: undefined,
  keepWeekly: undefined,
  keepMonthly: undefined,
  keepYearly: undefined,
};

const policy = (
  args: Parameters<typeof policyOf>[0],
  environment: Readonly<Record<string, string>> = {},
) => policyOf(args, resolveConfig({}, environment));

suite("the retention policy of a command line", () => {
  test("is the guide's 30 days when nothing is said", () => {
    assert.deepEqual(policy({}), { ...none, keepDays: 30 });
  });

  test("is what the environment says, the days beside the numbers", () => {
    const environment = { BACKUP_KEEP_MONTHLY: "12", BACKUP_KEEP_LAST: "3" };
    assert.deepEqual(policy({}, environment), {
      ...none,
      keepDays: 30,
      keepLast: 3,
      keepMonthly: 12,
    });
  });

  test("has flags over the environment, rule by rule", () => {
    const environment = { BACKUP_RETENTION_DAYS: "7", BACKUP_KEEP_MONTHLY: "12" };
    assert.deepEqual(policy({ keepDays: "14" }, environment), {
      ...none,
      keepDays: 14,
      keepMonthly: 12,
    });
    assert.deepEqual(policy({ keepMonthly: "2" }, environment), {
      ...none,
      keepDays: 7,
      keepMonthly: 2,
    });
  });

  test("has no days that nobody asked for beside a number that somebody did", () => {
    assert.deepEqual(policy({ keepLast: "2" }), { ...none, keepLast: 2 });
    assert.deepEqual(policy({ keepLast: "2", keepDays: "1" }), {
      ...none,
      keepDays: 1,
      keepLast: 2,
    });
  });

  for (const value of ["", "0", "-1", "1.5", "two", "1e3", "0x10", " ", "9999999999"]) {
    test(`is refused for "${value}": exit 2`, () => {
      for (const [rule, flag] of [
        ["keepDays", "--keep-days"],
        ["keepLast", "--keep-last"],
        ["keepDaily", "--keep-daily"],
        ["keepWeekly", "--keep-weekly"],
        ["keepMonthly", "--keep-monthly"],
        ["keepYearly", "--keep-yearly"],
      ] as const) {
        assert.throws(() => policy({ [rule]: value }), {
          exitCode: 2,
          message: `${flag} "${value}" is not a whole number of at least 1`,
        });
      }
      for (const variable of ["BACKUP_RETENTION_DAYS", "BACKUP_KEEP_DAILY"]) {
        // An empty number of a rule that nobody has to give is one that nobody gave.
        if (variable === "BACKUP_KEEP_DAILY" && value === "") continue;
        assert.throws(() => policy({}, { [variable]: value }), { exitCode: 2 }, variable);
      }
    });
  }
});
