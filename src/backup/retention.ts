import { AppError, ExitCode } from "../errors.ts";
import { type CatalogueEntry, pendingGraceMs, timeOf } from "./catalogue.ts";
import { bucketRules, keepersOf } from "./retention-buckets.ts";

/** How many backups stay; a backup stays when any rule keeps it. A rule that is absent keeps none. */
export interface RetentionPolicy {
  /** Everything that is not older than this many days than the newest good backup. */
  readonly keepDays?: number | undefined;
  readonly keepLast?: number | undefined;
  /** The newest of a day, of an ISO week, of a month, of a year, all in UTC, for as many of them. */
  readonly keepDaily?: number | undefined;
  readonly keepWeekly?: number | undefined;
  readonly keepMonthly?: number | undefined;
  readonly keepYearly?: number | undefined;
}

export interface RetentionDecision {
  readonly backup: CatalogueEntry;
  readonly keep: boolean;
  /** Every reason to keep it, or why it goes; at least one. */
  readonly reasons: readonly string[];
}

const dayMs = 24 * 3_600_000;

/**
 * Decides for each backup of one store whether it stays; the newest first.
 *
 * Whatever the policy, the clock and the backups are, these stay: the newest good one, the last
 * verified good one, pinned ones, those dated in the future, files that are not ours, backups of
 * other databases or of nobody knows whom, and runs that began less than a day ago. Ages count
 * from the newest good backup, or from now if that is earlier: when backups have been failing
 * for weeks, the last good ones do not grow old; and where there is no good one at all,
 * everything stays but the remains of runs that never ended. The newest one is not taken for newer
 * than it is by the server's clock, which may be another machine's: that of this one may be ahead.
 *
 * @param backups the entries of a catalogue that was read for one database
 * @throws {AppError} exit 2 for a policy without any rule, or with a number that is none
 */
export function planRetention(
  backups: readonly CatalogueEntry[],
  policy: RetentionPolicy,
  now: Date,
): readonly RetentionDecision[] {
  checkPolicy(policy);
  const sorted = [...backups].sort((a, b) => timeOf(b) - timeOf(a));
  const good = sorted.filter((entry) => entry.state === "good" && timeOf(entry) <= +now);
  const reasons = new Map<CatalogueEntry, string[]>();
  const keep = (entry: CatalogueEntry | undefined, reason: string) => {
    if (entry !== undefined) reasons.set(entry, [...(reasons.get(entry) ?? []), reason]);
  };
  const [newest] = good;
  const reference =
    newest === undefined ? undefined : Math.min(+now, timeOf(newest), +newest.createdAt);
  keep(newest, "the newest good backup");
  protectVerified(good, keep);
  for (const entry of sorted) protect(entry, now, keep);
  for (const { entry, reason } of keepersOf(good, policy)) keep(entry, reason);
  return sorted.map((entry) => {
    keepByAge(entry, reference, policy, now, keep);
    const kept = reasons.get(entry);
    return kept === undefined
      ? { backup: entry, keep: false, reasons: [whyItGoes(entry, reference, policy)] }
      : { backup: entry, keep: true, reasons: kept };
  });
}

/** @throws {AppError} exit 2 for a policy without any rule, or with a number that is none */
export function checkPolicy(policy: RetentionPolicy): void {
  const rules = [["keepDays", policy.keepDays] as const, ...bucketRules(policy)];
  for (const [name, value] of rules) {
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new AppError(
        "invalid-retention",
        ExitCode.usage,
        `the retention rule ${name} cannot be ${value}`,
        { hint: "It must be a whole number, at least 1. Nothing was removed." },
      );
    }
  }
  if (rules.every(([, value]) => value === undefined)) {
    throw new AppError("empty-retention", ExitCode.usage, "no retention rule is given", {
      hint: "Say what stays, with --keep-days or BACKUP_RETENTION_DAYS for example. Nothing was removed.",
    });
  }
}

type Keep = (entry: CatalogueEntry | undefined, reason: string) => void;

/** Three meanings of "the last verified one", mostly the same backup: each is kept. */
function protectVerified(good: readonly CatalogueEntry[], keep: Keep): void {
  const verified = good.filter((entry) => entry.verified?.result === "good");
  const whole = verified.filter((entry) => entry.verified?.checked === "all");
  const verifiedAt = (entry: CatalogueEntry) => Date.parse(entry.verified?.at ?? "");
  const latest = verified.reduce<CatalogueEntry | undefined>(
    (last, entry) => (last === undefined || verifiedAt(entry) > verifiedAt(last) ? entry : last),
    undefined,
  );
  const reason = "the last verified good backup";
  for (const entry of new Set([verified[0], whole[0], latest])) keep(entry, reason);
}

/** What no policy reaches. */
function protect(entry: CatalogueEntry, now: Date, keep: Keep): void {
  if (entry.state === "foreign") keep(entry, "not written by pgtenant, by all that is known");
  if (entry.state === "other-database") keep(entry, `of another database, "${entry.database}"`);
  if (entry.pinned !== undefined) keep(entry, `pinned: ${entry.pinned.reason}`);
  if (timeOf(entry) > +now) keep(entry, "dated in the future");
  if (entry.state !== "foreign" && entry.database === undefined) {
    keep(entry, "damaged, and nobody can tell whose it is");
  }
  if (isUnfinished(entry)) {
    const startedAt = Date.parse(entry.pending?.startedAt ?? "");
    const young = !(+now - startedAt > pendingGraceMs);
    if (young || entry.state === "pending") keep(entry, "begun less than a day ago");
  }
}

function isUnfinished(entry: CatalogueEntry): boolean {
  return entry.state === "pending" || entry.state === "incomplete";
}

function isDamaged(entry: CatalogueEntry): boolean {
  return entry.state === "corrupt" || entry.state === "missing-parts";
}

/** A damaged backup is kept by nothing but its age: it takes no good one's place. */
function keepByAge(
  entry: CatalogueEntry,
  reference: number | undefined,
  { keepDays }: RetentionPolicy,
  now: Date,
  keep: Keep,
): void {
  if (entry.state !== "good" && !isDamaged(entry)) return;
  if (timeOf(entry) > +now) return;
  if (reference === undefined) keep(entry, "there is no good backup");
  else if (keepDays === undefined) {
    if (isDamaged(entry)) keep(entry, "damaged; only a number of days lets it go");
  } else if (timeOf(entry) >= reference - keepDays * dayMs) {
    keep(entry, `not older than ${days(keepDays)}`);
  }
}

function whyItGoes(
  entry: CatalogueEntry,
  reference: number | undefined,
  { keepDays }: RetentionPolicy,
): string {
  if (isUnfinished(entry)) return entry.problem ?? "begun and not completed";
  const age = Math.floor(((reference ?? Number.NaN) - timeOf(entry)) / dayMs);
  const older = `${days(age)} older than the newest good backup`;
  if (isDamaged(entry)) return `${older}, and damaged: ${entry.problem ?? entry.state}`;
  return keepDays === undefined
    ? `${older}; no rule keeps it`
    : `${older}; no rule keeps it longer`;
}

function days(number: number): string {
  if (number < 1) return "less than a day";
  return number === 1 ? "1 day" : `${number} days`;
}
