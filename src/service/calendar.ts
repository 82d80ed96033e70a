import type { DayStatus } from "./service-status.ts";
import { dayIn } from "./words.ts";

const shownDays = 30;
const dayMs = 86_400_000;

export interface CalendarSources {
  readonly now: Date;
  readonly timezone: string;
  /** When backups were made that are good. */
  readonly good: readonly string[];
  /** When backups were made that are damaged or incomplete. */
  readonly damaged: readonly string[];
  /** When runs failed, as far as the journal may not tell. */
  readonly failed: readonly string[];
  /** Ended runs by day; retention takes backups away, and these stay. */
  readonly runs: ReadonlyMap<string, { readonly done: number; readonly failed: number }>;
  readonly firstRunDay: string | undefined;
}

/** Thirty days up to today, the oldest first. */
export function calendarOf(sources: CalendarSources): readonly DayStatus[] {
  const { now, timezone, runs } = sources;
  const good = countDays(sources.good, timezone);
  const damaged = countDays(sources.damaged, timezone);
  const told = countDays(sources.failed, timezone);
  const first = [...good.keys(), ...damaged.keys(), ...told.keys(), sources.firstRunDay]
    .filter((day) => day !== undefined)
    .sort()[0];
  return lastDays(dayIn(timezone, now)).map((day) => {
    const run = runs.get(day) ?? { done: 0, failed: 0 };
    const there = good.get(day) ?? 0;
    const broken = damaged.get(day) ?? 0;
    // What the journal calls done may be damaged since; what is gone altogether was pruned.
    const made = Math.max(there, run.done - broken);
    const failed = Math.max(run.failed, broken, told.get(day) ?? 0);
    return { day, state: stateOf(day, made, failed, first), good: made, failed };
  });
}

function stateOf(
  day: string,
  good: number,
  failed: number,
  first: string | undefined,
): DayStatus["state"] {
  if (good > 0) return "good";
  if (failed > 0) return "failed";
  return first === undefined || day < first ? "before" : "none";
}

function lastDays(today: string): readonly string[] {
  // Counted in UTC, where every day has 24 hours.
  const end = Date.parse(`${today}T00:00:00Z`);
  return Array.from({ length: shownDays }, (_, index) =>
    new Date(end - (shownDays - 1 - index) * dayMs).toISOString().slice(0, 10),
  );
}

function countDays(times: readonly string[], timezone: string): Map<string, number> {
  const days = new Map<string, number>();
  for (const time of times) {
    const day = dayIn(timezone, new Date(time));
    days.set(day, (days.get(day) ?? 0) + 1);
  }
  return days;
}
