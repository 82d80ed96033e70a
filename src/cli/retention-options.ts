import type { Argv } from "yargs";
import type { RetentionPolicy } from "../backup/retention.ts";
import type { Config } from "../config/config.ts";
import { wholeNumber } from "./program-options.ts";

/** What retention keeps, as it was typed. */
export interface RetentionArguments {
  "keep-days"?: string | undefined;
  "keep-last"?: string | undefined;
  "keep-daily"?: string | undefined;
  "keep-weekly"?: string | undefined;
  "keep-monthly"?: string | undefined;
  "keep-yearly"?: string | undefined;
}

const rules = [
  ["keep-last", "the last N backups", "BACKUP_KEEP_LAST"],
  ["keep-daily", "the last backup of each of N days", "BACKUP_KEEP_DAILY"],
  ["keep-weekly", "the last backup of each of N weeks", "BACKUP_KEEP_WEEKLY"],
  ["keep-monthly", "the last backup of each of N months", "BACKUP_KEEP_MONTHLY"],
  ["keep-yearly", "the last backup of each of N years", "BACKUP_KEEP_YEARLY"],
] as const;

export function withRetentionOptions<T>(yargs: Argv<T>): Argv<T & RetentionArguments> {
  const withDays = yargs.option("keep-days", {
    alias: "k",
    type: "string",
    requiresArg: true,
    describe: "keep backups of so many days before the newest good one",
    defaultDescription: "BACKUP_RETENTION_DAYS, else 30",
  });
  return rules.reduce<Argv<T & RetentionArguments>>(
    (inner, [name, what, variable]) =>
      inner.option(name, {
        type: "string",
        requiresArg: true,
        describe: `keep ${what}`,
        defaultDescription: variable,
      }) as Argv<T & RetentionArguments>,
    withDays,
  );
}

type Given = { readonly [Rule in keyof RetentionPolicy]?: string | undefined };

/**
 * Flags over the environment, rule by rule; what any rule keeps stays. The default of 30 days is
 * for those who say nothing: it does not stand beside a number that was given by a flag.
 *
 * @throws {AppError} exit 2 for a flag that is not a whole number of at least 1
 */
export function policyOf(args: Given, { backup }: Readonly<Config>): RetentionPolicy {
  const { keep } = backup;
  const flags = {
    keepDays: wholeNumber("keep-days", args.keepDays),
    keepLast: wholeNumber("keep-last", args.keepLast),
    keepDaily: wholeNumber("keep-daily", args.keepDaily),
    keepWeekly: wholeNumber("keep-weekly", args.keepWeekly),
    keepMonthly: wholeNumber("keep-monthly", args.keepMonthly),
    keepYearly: wholeNumber("keep-yearly", args.keepYearly),
  };
  const noFlag = Object.values(flags).every((value) => value === undefined);
  const daysApply = noFlag || !backup.retentionDaysByDefault;
  return {
    keepDays: flags.keepDays ?? (daysApply ? backup.retentionDays : undefined),
    keepLast: flags.keepLast ?? keep.last,
    keepDaily: flags.keepDaily ?? keep.daily,
    keepWeekly: flags.keepWeekly ?? keep.weekly,
    keepMonthly: flags.keepMonthly ?? keep.monthly,
    keepYearly: flags.keepYearly ?? keep.yearly,
  };
}
