import { type CatalogueEntry, timeOf } from "./catalogue.ts";
import type { RetentionPolicy } from "./retention.ts";

type BucketRule = "keepLast" | "keepDaily" | "keepWeekly" | "keepMonthly" | "keepYearly";

const words: Readonly<Record<BucketRule, string>> = {
  keepLast: "last",
  keepDaily: "daily",
  keepWeekly: "weekly",
  keepMonthly: "monthly",
  keepYearly: "yearly",
};

/** What two backups share of which a rule keeps only the newer one. */
const bucketOf: Readonly<Record<BucketRule, (time: Date, at: number) => string>> = {
  keepLast: (_, at) => String(at),
  keepDaily: (time) => time.toISOString().slice(0, 10),
  keepWeekly: isoWeek,
  keepMonthly: (time) => time.toISOString().slice(0, 7),
  keepYearly: (time) => time.toISOString().slice(0, 4),
};

export function bucketRules(
  policy: RetentionPolicy,
): readonly (readonly [BucketRule, number | undefined])[] {
  return (Object.keys(words) as BucketRule[]).map((rule) => [rule, policy[rule]] as const);
}

/**
 * What the counting rules keep, as restic counts: from the newest on, the first of each bucket,
 * until the number is reached. While it is not, the oldest backup stays as well, so that what is
 * kept reaches back as far as possible.
 *
 * @param good the newest first
 */
export function keepersOf(
  good: readonly CatalogueEntry[],
  policy: RetentionPolicy,
): readonly { readonly entry: CatalogueEntry; readonly reason: string }[] {
  return bucketRules(policy).flatMap(([rule, most]) => {
    const kept: { entry: CatalogueEntry; reason: string }[] = [];
    let last: string | undefined;
    for (const [at, entry] of good.entries()) {
      if (kept.length >= (most ?? 0)) break;
      const bucket = bucketOf[rule](new Date(timeOf(entry)), at);
      const first = bucket !== last;
      if (!first && at < good.length - 1) continue;
      last = bucket;
      const which = first
        ? `${words[rule]} ${kept.length + 1} of ${most}`
        : `oldest ${words[rule]}`;
      kept.push({ entry, reason: which });
    }
    return kept;
  });
}

/** The ISO year and week: `2026-W01` begins on Monday, 29 December 2025. */
function isoWeek(time: Date): string {
  const day = new Date(Date.UTC(time.getUTCFullYear(), time.getUTCMonth(), time.getUTCDate()));
  // A week belongs to the year of its Thursday.
  day.setUTCDate(day.getUTCDate() + 4 - (day.getUTCDay() || 7));
  const year = day.getUTCFullYear();
  const week = Math.ceil(((+day - Date.UTC(year, 0, 1)) / 86_400_000 + 1) / 7);
  return `${year}-W${String(week).padStart(2, "0")}`;
}
