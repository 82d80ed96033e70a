import { AppError } from "../errors.ts";
import { type Journal, readJournal } from "../journal/journal.ts";
import type { JobKind } from "./schedule-view.ts";
import { countSlots, type Slots, slotsOf } from "./slots.ts";

/** The newest slot that the journal has of a job. */
export interface RecordedSlot {
  readonly slot: Date;
  /** By which it came, which may have been changed since. */
  readonly schedule: string;
  readonly timezone: string;
  /** How often a run of it was begun. */
  readonly begun: number;
  /** Whether one was done, or it was passed over for a reason. */
  readonly settled: boolean;
}

/** A run that was written down as begun. */
export interface SlotEntry {
  done(details: Readonly<Record<string, unknown>>): Promise<void>;
  failed(error: AppError): Promise<void>;
}

const operation = "schedule";
/** A slot whose runs end the service each time is given up after so many. */
const mostBegun = 3;
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
    const newest = new Map<string, RecordedSlot>();
    for await (const { subject, event, details, database } of readJournal(
      this.#journal.folder,
      operation,
    )) {
      const { slot: text, schedule, timezone } = details ?? {};
      const slot = new Date(String(text));
      if (subject === undefined || database !== this.#database) continue;
      if (!(+slot <= +now + aheadMs)) continue;
      const known = newest.get(subject);
      if (known !== undefined && +known.slot > +slot) continue;
      const same = +(known?.slot ?? Number.NaN) === +slot ? known : undefined;
      newest.set(subject, {
        slot,
        schedule: String(schedule),
        timezone: String(timezone),
        begun: (same?.begun ?? 0) + (event === "started" ? 1 : 0),
        settled: (same?.settled ?? false) || event === "done",
      });
    }
    return newest;
  }

  /** Writes down that a run begins. A journal that cannot be written does not stand in its way. */
  async begin(kind: JobKind, slot: Date, slots: Slots): Promise<SlotEntry> {
    const details = {
      slot: slot.toISOString(),
      schedule: slots.expression,
      timezone: slots.timezone,
    };
    const entry = await this.#attempt(() =>
      this.#journal.begin(operation, { database: this.#database, subject: kind, details }),
    );
    return {
      done: async (more) => {
        await this.#attempt(async () => entry?.done({ details: { ...details, ...more } }));
      },
      failed: async (error) => {
        await this.#attempt(async () => entry?.failed(error, { details }));
      },
    };
  }

  /** Writes down that a slot has no run, and why. */
  async pass(kind: JobKind, slot: Date, slots: Slots, why: string): Promise<void> {
    const entry = await this.begin(kind, slot, slots);
    await entry.done({ skipped: why });
  }

  async #attempt<T>(write: () => Promise<T>): Promise<T | undefined> {
    try {
      return await write();
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      this.#warn(`the journal was not written: ${error.message}`);
      return undefined;
    }
  }
}

/** A slot to catch up with at the start, for people with the reason. */
export interface MissedSlot {
  readonly slot: Date;
  readonly why: string;
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
  const last = slots.lastBy(now);
  if (last === undefined) return undefined;
  // By the schedule that held: a schedule that was changed has missed nothing before it held.
  const held = slotsThatHeld(recorded) ?? slots;
  const missed = countSlots(held, recorded.slot, now);
  if (missed > 0) {
    const why = missed === 1 ? "a slot was missed" : `${missed} slots were missed`;
    return { slot: last, why: `${why} while the service did not run` };
  }
  if (recorded.settled || recorded.begun >= mostBegun) return undefined;
  return { slot: recorded.slot, why: "its last run did not end well" };
}

function slotsThatHeld({ schedule, timezone }: RecordedSlot): Slots | undefined {
  try {
    return slotsOf(schedule, timezone, "the journal");
  } catch {
    return undefined;
  }
}
