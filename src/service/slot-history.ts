import type { AppError } from "../errors.ts";
import { type Journal, readJournal } from "../journal/journal.ts";
import type { JournalEvent } from "../journal/journal-record.ts";
import { failureOf } from "./retries.ts";
import type { JobKind } from "./schedule-view.ts";
import { countSlots, type Slots, slotsOf } from "./slots.ts";

/** What the journal has of a job. */
export interface RecordedSlot {
  /** The newest that was run, or passed over. */
  readonly slot: Date;
  /** By which it came, which may have been changed since. */
  readonly schedule: string;
  readonly timezone: string;
  /** Whether the newest run is still to be made: it has failed, or was cut short. */
  readonly open: boolean;
}

/** A run that was written down as begun. */
export interface SlotEntry {
  done(details: Readonly<Record<string, unknown>>): Promise<void>;
  failed(error: AppError): Promise<void>;
  /** The service was ended, and the run with it. */
  stopped(): Promise<void>;
}

/** Why a slot has no run. */
export interface PassedSlot {
  readonly why: string;
  /** Whether a run of this service was in its way, whose end is what counts then. */
  readonly behindRun: boolean;
}

const operation = "schedule";
/** A slot whose runs end the service each time is given up after so many. */
const mostCrashes = 3;
/** More than this ahead of the clock, the clock was wrong when it was written down. */
const aheadMs = 60_000;

/**
 * Which slots ran, in the journal: its lines are durable, several services may write them into one
 * folder, and `pgtenant history` shows them. It is read once, at the start.
 */
export class SlotHistory {
  readonly #journal: Journal;
  readonly #database: string;
  readonly #warn: (text: string) => void;

  constructor(journal: Journal, database: string, warn: (text: string) => void) {
    this.#journal = journal;
    this.#database = database;
    this.#warn = warn;
  }

  /** @throws {AppError} exit 8 when the journal cannot be read */
  async newest(now: Date): Promise<ReadonlyMap<string, RecordedSlot>> {
    const newest = new Map<string, Seen>();
    for await (const { subject, event, details, database } of readJournal(
      this.#journal.folder,
      operation,
    )) {
      const { slot: text, schedule, timezone, behindRun, skipped } = details ?? {};
      const slot = new Date(String(text));
      if (subject === undefined || database !== this.#database) continue;
      if (!(+slot <= +now + aheadMs)) continue;
      const known = newest.get(subject);
      const seen =
        known === undefined || slot >= known.slot
          ? { slot, schedule: String(schedule), timezone: String(timezone), run: known?.run }
          : known;
      newest.set(
        subject,
        behindRun === true
          ? seen
          : { ...seen, run: runAfter(seen.run, slot, skipped === undefined ? event : "passed") },
      );
    }
    return new Map(
      [...newest].map(([subject, { run, ...rest }]) => {
        const open = run !== undefined && !isSettled(run) && run.crashes < mostCrashes;
        return [subject, { ...rest, open }];
      }),
    );
  }

  /** Writes down that a run begins. A journal that cannot be written does not stand in its way. */
  async begin(
    kind: JobKind,
    slot: Date,
    slots: Slots,
    more: Readonly<Record<string, unknown>> = {},
  ): Promise<SlotEntry> {
    const details = {
      slot: slot.toISOString(),
      schedule: slots.expression,
      timezone: slots.timezone,
      ...more,
    };
    const entry = await this.#attempt(() =>
      this.#journal.begin(operation, { database: this.#database, subject: kind, details }),
    );
    return {
      done: async (result) => {
        await this.#attempt(async () => entry?.done({ details: { ...details, ...result } }));
      },
      failed: async (error) => {
        await this.#attempt(async () => entry?.failed(error, { details }));
      },
      stopped: async () => {
        await this.#attempt(async () => entry?.interrupted({ details }));
      },
    };
  }

  /** Writes down that a slot has no run, and why. */
  async pass(kind: JobKind, slot: Date, slots: Slots, { why, behindRun }: PassedSlot) {
    const more = { skipped: why, ...(behindRun ? { behindRun } : {}) };
    const entry = await this.begin(kind, slot, slots, more);
    await entry.done({});
  }

  /** Writes down a failure before there was a run. */
  async fail(kind: JobKind, slot: Date, slots: Slots, error: AppError): Promise<void> {
    const entry = await this.begin(kind, slot, slots);
    await entry.failed(error);
  }

  async #attempt<T>(write: () => Promise<T>): Promise<T | undefined> {
    try {
      return await write();
    } catch (error) {
      // Whatever it is: the job is worth more than the line about it.
      this.#warn(`the journal was not written: ${failureOf(error).message}`);
      return undefined;
    }
  }
}

interface Seen extends Pick<RecordedSlot, "slot" | "schedule" | "timezone"> {
  readonly run: SeenRun | undefined;
}

/** All attempts at a slot. */
interface SeenRun {
  readonly slot: Date;
  readonly done: boolean;
  /** Whether one was begun, here or by another service that writes into this folder. */
  readonly begun: boolean;
  /** Those that were begun and have no end: they died with the service. */
  readonly crashes: number;
  /** Those that were begun and have neither failed nor been done: they have died, or were stopped. */
  readonly cut: number;
  /** Whether it was passed over. */
  readonly passed: boolean;
}

/**
 * A slot that one service has passed over may be what another one, that writes into this folder as
 * well, has died with; where none was cut short, somebody elsewhere has it.
 */
function isSettled({ done, begun, passed, cut }: SeenRun): boolean {
  return done || !begun || (passed && cut === 0);
}

function runAfter(
  known: SeenRun | undefined,
  slot: Date,
  event: JournalEvent | "passed",
): SeenRun | undefined {
  if (known !== undefined && known.slot > slot) return known;
  const run =
    known !== undefined && +known.slot === +slot
      ? known
      : { slot, done: false, begun: false, crashes: 0, cut: 0, passed: false };
  if (event === "passed") return { ...run, passed: true };
  const ended = event === "done" || event === "failed" ? -1 : 0;
  return {
    ...run,
    done: run.done || event === "done",
    begun: true,
    crashes: run.crashes + (event === "started" ? 1 : -1),
    cut: run.cut + (event === "started" ? 1 : ended),
  };
}

/** A slot to catch up with at the start, for people with the reason. */
export interface MissedSlot {
  readonly slot: Date;
  readonly why: string;
  /** A run of it was begun here, and has not ended well. */
  readonly begun: boolean;
}

/**
 * What is to be caught up with after a time in which the service did not run: the latest slot, once,
 * however many were missed.
 */
export function missedSlot(
  slots: Slots,
  recorded: RecordedSlot,
  now: Date,
): MissedSlot | undefined {
  // By the schedule that held: a schedule that was changed has missed nothing before it held.
  const held = slotsThatHeld(recorded) ?? slots;
  const missed = countSlots(held, recorded.slot, now);
  if (missed > 0) {
    const why = missed === 1 ? "a slot was missed" : `${missed} slots were missed`;
    const last = [slots, held].flatMap((one) => one.lastBy(now) ?? []).sort((a, b) => +b - +a)[0];
    return { slot: last ?? now, why: `${why} while the service did not run`, begun: false };
  }
  if (!recorded.open) return undefined;
  return { slot: recorded.slot, why: "its last run did not end well", begun: true };
}

function slotsThatHeld({ schedule, timezone }: RecordedSlot): Slots | undefined {
  try {
    return slotsOf(schedule, timezone, "the journal");
  } catch {
    return undefined;
  }
}
