import { Cron } from "croner";
import { AppError, ExitCode } from "../errors.ts";

/** The times of a cron expression, its slots: whole seconds, each an instant. */
export interface Slots {
  readonly expression: string;
  readonly timezone: string;
  /** The latest slot that is not after `time`. */
  lastBy(time: Date): Date | undefined;
  /** The first slot after `time`; undefined when there is none any more. */
  nextAfter(time: Date): Date | undefined;
}

/**
 * Reads a cron expression of five fields, of six with seconds in front, or `@daily` and its like.
 *
 * Where the clocks change: a slot that names its hours (`30 2`, `0 2,14`, `0 *`+`/2`) comes once
 * a day, at the first moment after a gap, and at the first of two equal local times. What goes
 * through all hours (`0 *`) follows elapsed time: every hour, also the one that comes twice.
 *
 * @param variable named in messages: `BACKUP_SCHEDULE`
 * @throws {AppError} exit 2 for what is no cron expression or has no time to come
 */
export function slotsOf(expression: string, timezone: string, variable: string): Slots {
  let cron: Cron;
  try {
    cron = new Cron(withNamedHours(expression.trim()), {
      timezone,
      paused: true,
      mode: "5-or-6-parts",
      fixedTimeRule: "no-wildcard",
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.replace(/^CronPattern: /, "") : "";
    throw unusable(variable, expression, `cannot be read: ${why}`, cause);
  }
  const nextAfter = (time: Date) => cron.nextRun(time) ?? undefined;
  if (nextAfter(new Date()) === undefined) {
    throw unusable(variable, expression, "names a time that never comes");
  }
  return {
    expression,
    timezone,
    nextAfter,
    // A run in the very second of the reference is left out by croner unless milliseconds follow.
    lastBy: (time) => cron.previousRuns(1, new Date(+time + 1))[0],
  };
}

/** How many slots lie after `from` and not after `to`; counted up to `limit`. */
export function countSlots(slots: Slots, from: Date, to: Date, limit = 1_000): number {
  let count = 0;
  for (let at = slots.nextAfter(from); at !== undefined && at <= to; at = slots.nextAfter(at)) {
    count += 1;
    if (count === limit) break;
  }
  return count;
}

/**
 * Croner takes a step for elapsed time, which leaves `0 *`+`/2` without its slot in a gap and
 * doubles it an hour later in the year; written as a list it is one of named hours.
 */
function withNamedHours(expression: string): string {
  const fields = expression.split(/\s+/);
  if (fields.length < 5) return expression;
  const at = fields.length - 4;
  const hours = fields[at] ?? "*";
  if (/^(\*|\?|\*\/1)$/.test(hours)) return expression;
  const units = [60, 60, 24].slice(-(at + 1));
  return fields
    .map((field, index) => {
      const unit = units[index];
      return unit === undefined ? field : field.split(",").map(listOf(unit)).join(",");
    })
    .join(" ");
}

function listOf(unit: number): (part: string) => string {
  return (part) => {
    const match = /^(?:[*?]|(\d+)-(\d+))(?:\/(\d+))?$/.exec(part);
    if (match === null) return part;
    const [, from = "0", to = String(unit - 1), step = "1"] = match;
    // What is out of range is for croner to refuse.
    if (Number(step) < 1 || Number(to) >= unit || Number(from) > Number(to)) return part;
    const values: number[] = [];
    for (let value = Number(from); value <= Number(to); value += Number(step)) values.push(value);
    return values.join(",");
  };
}

function unusable(variable: string, expression: string, why: string, cause?: unknown): AppError {
  return new AppError(
    "invalid-schedule",
    ExitCode.usage,
    `the schedule "${expression}" of ${variable} ${why}`,
    {
      hint: "Write five fields, minute, hour, day, month and weekday, such as 0 2 * * * for every day at two.",
      data: { variable },
      ...(cause === undefined ? {} : { cause }),
    },
  );
}
