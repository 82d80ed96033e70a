import { lateFrom } from "../backup/recovery-point.ts";
import type { BackupStatus, Check, DrillStatus } from "./service-status.ts";
import { ageWords, timeWords } from "./words.ts";

/** A drill is due each week, and may be a day late. */
const proofSeconds = 8 * 86_400;
/** The guide's checklist is a quarterly one. */
const measureSeconds = 100 * 86_400;

const secondsSince = (time: string, now: Date) => (+now - Date.parse(time)) / 1000;

/** How much would be lost now. */
export function rpoCheck(
  newest: Pick<BackupStatus, "createdAt"> | undefined,
  targetSeconds: number,
  now: Date,
): Check {
  const target = timeWords(targetSeconds);
  if (newest === undefined) {
    const sentence = `No good backup is known. At most ${target} may be lost.`;
    return { state: "unknown", seconds: null, targetSeconds, at: null, sentence };
  }
  const seconds = Math.max(0, secondsSince(newest.createdAt, now));
  const limit = lateFrom(targetSeconds);
  const common = { seconds, targetSeconds, at: newest.createdAt };
  if (seconds > limit) {
    const sentence = `The newest good backup is ${ageWords(seconds)} old. At most ${target} may be lost.`;
    return { ...common, state: "late", sentence };
  }
  const sentence =
    seconds > targetSeconds
      ? `The newest good backup is ${ageWords(seconds)} old. A run takes its time, so that it counts as late from ${timeWords(limit)} on.`
      : `The newest good backup is ${ageWords(seconds)} old. At most ${target} may be lost.`;
  return { ...common, state: "ok", sentence };
}

/** A restore that was measured, by a drill or in earnest. */
export interface Measure {
  readonly at: string;
  readonly seconds: number;
  readonly by: "drill" | "restore";
}

/** How long a restore takes. */
export function rtoCheck(
  measure: Measure | undefined,
  lastDrill: DrillStatus | undefined,
  targetSeconds: number,
  now: Date,
): Check {
  const target = timeWords(targetSeconds);
  const common = { seconds: measure?.seconds ?? null, targetSeconds, at: measure?.at ?? null };
  const failed = lastDrill?.passed === false && (measure?.at ?? "") <= lastDrill.at;
  if (failed) {
    const why = lastDrill.problem === null ? "" : `: ${lastDrill.problem}`;
    const ago = ageWords(secondsSince(lastDrill.at, now));
    return { ...common, state: "late", sentence: `The latest drill, ${ago} ago, failed${why}.` };
  }
  if (measure === undefined) {
    const sentence = `No restore was measured yet. At most ${target} are promised.`;
    return { ...common, state: "unknown", sentence };
  }
  const age = secondsSince(measure.at, now);
  const said = `A ${measure.by === "drill" ? "drill" : "restore"} took ${timeWords(measure.seconds)}, ${ageWords(age)} ago.`;
  if (measure.seconds > targetSeconds) {
    return { ...common, state: "late", sentence: `${said} At most ${target} are promised.` };
  }
  return age > measureSeconds
    ? { ...common, state: "unknown", sentence: `${said} A drill is due each quarter.` }
    : { ...common, state: "ok", sentence: `${said} At most ${target} are promised.` };
}

/** When it was last seen that a backup can be read to its end. */
export function verifiedCheck(proofs: readonly BackupStatus[], now: Date): Check {
  const targetSeconds = proofSeconds;
  const [latest] = proofs
    .filter(({ proof }) => proof !== null && proof.kind !== "stored")
    .sort((a, b) => Date.parse(b.proof?.at ?? "") - Date.parse(a.proof?.at ?? ""));
  if (latest?.proof == null) {
    const stored = proofs.some(({ proof }) => proof !== null);
    const sentence = stored
      ? "Only stored bytes were compared; no backup was read to its last row yet."
      : "No backup was verified yet.";
    return { state: "unknown", seconds: null, targetSeconds, at: null, sentence };
  }
  const { at, kind } = latest.proof;
  const seconds = Math.max(0, secondsSince(at, now));
  const what = kind === "drill" ? "restored in a drill" : "read to its last row";
  const said = `A backup was last ${what} ${ageWords(seconds)} ago.`;
  return seconds > targetSeconds
    ? { state: "late", seconds, targetSeconds, at, sentence: `${said} It is due each week.` }
    : { state: "ok", seconds, targetSeconds, at, sentence: said };
}
