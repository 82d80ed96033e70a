import { statfs } from "node:fs/promises";
import { maskSecrets } from "../config/secrets.ts";
import type { Store } from "../storage/store.ts";
import { readDrills } from "./drill-reports.ts";
import { JournalReader } from "./journal-summary.ts";
import { PlaceReader } from "./place-reader.ts";
import type { ScheduleView } from "./schedule-view.ts";
import type { DiskStatus, ServiceStatus } from "./service-status.ts";
import { statusOf } from "./status.ts";

export interface StatusOptions {
  /** BACKUP_DIR: the journal and the drills' reports lie in it. */
  readonly folder: string;
  /** The same as those of `list`. */
  readonly stores: readonly Store[];
  readonly database: string;
  readonly timezone: string;
  readonly rpoHours: number;
  readonly rtoHours: number;
  /** Masked in all that a status says: `config.secrets`. */
  readonly secrets: readonly string[];
  /** What the scheduler of this process tells about itself. */
  readonly schedule?: (() => ScheduleView | undefined) | undefined;
  /** How long a place may take to answer before what is known of it is shown; 3,000 by default. */
  readonly patienceMs?: number | undefined;
  readonly clock?: (() => Date) | undefined;
}

export interface StatusReader {
  /** How things stand; at most a few seconds old. */
  read(): Promise<ServiceStatus>;
}

const cachedMs = 2_000;
/** A run that ends is seen at once, by the journal; this is for what others do to a place. */
const localFreshMs = 10_000;
/** A listing of S3 costs a request for each backup. */
const s3FreshMs = 60_000;

/** Reads the status again and again, with what was read before at hand. */
export function openStatusReader(options: StatusOptions): StatusReader {
  const { folder, database, timezone, clock = () => new Date(), patienceMs = 3_000 } = options;
  const journal = new JournalReader(folder, database, timezone);
  const places = options.stores.map(
    (store) =>
      new PlaceReader(store, {
        database,
        freshMs: store.kind === "s3" ? s3FreshMs : localFreshMs,
        patienceMs,
      }),
  );
  const readNow = async (): Promise<ServiceStatus> => {
    const now = clock();
    const version = await journal.version();
    const [summary, drills, disk, ...readings] = await Promise.all([
      journal.read(now),
      readDrills(folder, database),
      diskOf(folder),
      ...places.map((place) => place.read(now, version)),
    ]);
    const { rpoHours, rtoHours } = options;
    const status = statusOf({
      now,
      database,
      timezone,
      rpoHours,
      rtoHours,
      places: readings,
      journal: summary,
      drills,
      disk,
      schedule: options.schedule?.(),
    });
    return masked(status, options.secrets);
  };
  let cached: { readonly until: number; readonly status: Promise<ServiceStatus> } | undefined;
  return {
    async read() {
      if (cached === undefined || performance.now() > cached.until) {
        // While it is being read, everybody waits for the same.
        const made = { until: Number.POSITIVE_INFINITY, status: readNow() };
        cached = made;
        made.status.then(
          () => {
            made.until = performance.now() + cachedMs;
          },
          () => {
            cached = undefined;
          },
        );
      }
      return await cached.status;
    },
  };
}

async function diskOf(folder: string): Promise<DiskStatus | null> {
  try {
    const { bavail, blocks, bsize } = await statfs(folder);
    return { path: folder, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  } catch {
    return null;
  }
}

function masked<T>(value: T, secrets: readonly string[]): T {
  if (typeof value === "string") return maskSecrets(value, secrets) as T;
  if (Array.isArray(value)) return value.map((item) => masked(item, secrets)) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, masked(item, secrets)]),
  ) as T;
}
