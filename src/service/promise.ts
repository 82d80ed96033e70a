import {
  type Check,
  type FailureStatus,
  isUnread,
  type JournalStatus,
  type PlaceStatus,
  type PromiseStatus,
} from "./service-status.ts";
import { timeWords } from "./words.ts";

export interface PromiseSources {
  readonly rpo: Check;
  readonly rto: Check;
  readonly verified: Check;
  readonly places: readonly PlaceStatus[];
  readonly failures: readonly FailureStatus[];
  /** A backup was tried, or remains of one are there. */
  readonly tried: boolean;
  /** The newest good backup lies there. */
  readonly newestIn: readonly string[];
  readonly journal: JournalStatus;
}

/** The first sentence of the page: whether the promise holds now, and else what to do. */
export function promiseOf(sources: PromiseSources): PromiseStatus {
  const remarks = remarksOf(sources);
  return { ...judge(sources), remarks };
}

function judge(sources: PromiseSources): Omit<PromiseStatus, "remarks"> {
  const { rpo, rto, verified, places, failures, tried } = sources;
  const open = failures.filter(({ operation, resolved }) => operation === "backup" && !resolved);
  const failing = open.find(({ partial }) => !partial);
  const [latest] = open;
  const runOne = "Run pgtenant backup, and pgtenant doctor if that fails.";
  if (rpo.state === "unknown") {
    const silent = places.find(({ state, readAt }) => state !== "read" && readAt === null);
    if (silent !== undefined) {
      const sentence = `Whether the promise is kept is not known: ${silent.place} ${silent.state === "waiting" ? "has not answered yet" : "cannot be read"}.`;
      return { state: "unknown", sentence, advice: silent.hint ?? "Look again in a minute." };
    }
    return tried
      ? {
          state: "broken",
          sentence: "The promise is broken: there is no good backup.",
          advice: failing?.hint ?? runOne,
        }
      : { state: "empty", sentence: "There is no backup yet.", advice: "Run pgtenant backup." };
  }
  if (rpo.state === "late") {
    const sentence = `The promise is broken: the newest good backup is ${timeWords(rpo.seconds ?? 0)} old.`;
    return { state: "broken", sentence, advice: failing?.hint ?? runOne };
  }
  if (rto.state === "late") {
    const slow = (rto.seconds ?? 0) > rto.targetSeconds;
    const sentence = slow
      ? `The promise is broken: a restore takes ${timeWords(rto.seconds ?? 0)}.`
      : "The promise is broken: the latest drill failed.";
    const advice = slow
      ? "Take --format custom or directory, and --jobs to restore with; then run pgtenant drill again."
      : "Read the drill's report; when its cause is gone, drill again: pgtenant drill.";
    return { state: "broken", sentence, advice };
  }
  if (rto.state === "ok" && verified.state === "ok") {
    const kept = `The promise is kept: at most ${timeWords(rpo.targetSeconds)} can be lost, and a restore takes ${timeWords(rto.seconds ?? 0)}.`;
    const partly = "The promise is kept, but the latest backup is not in every place.";
    const whole = latest === undefined ? kept : partly;
    const sentence =
      failing === undefined ? whole : "The promise is kept, but the latest backup failed.";
    return { state: "kept", sentence, advice: (failing ?? latest)?.hint ?? null };
  }
  const proveIt =
    rto.state === "ok"
      ? "Run pgtenant verify latest."
      : "Run pgtenant drill: it restores beside the database, checks everything, and measures how long it takes.";
  return {
    state: "unproven",
    sentence:
      failing === undefined
        ? "Backups are on time, but that they restore is not proved."
        : "The latest backup failed, and that the one before restores is not proved.",
    advice: failing?.hint ?? proveIt,
  };
}

/** What else an operator should know, the worst first. */
function remarksOf(sources: PromiseSources): readonly string[] {
  const { rpo, rto, verified, places, newestIn, journal } = sources;
  // Of an age that is too high the first sentence tells.
  const proofs = rpo.state === "unknown" ? [] : [rto, verified];
  const told = proofs.filter(({ state }) => state !== "ok");
  const lacking =
    newestIn.length === 0
      ? []
      : places.filter(({ state, place }) => state === "read" && !newestIn.includes(place));
  return [
    ...told.map(({ sentence }) => sentence),
    ...lacking.map(({ place }) => `The newest good backup is not in ${place}.`),
    ...places.flatMap(({ state, place, problem }) =>
      state === "unreachable" ? [`${place} cannot be read: ${problem ?? "nobody knows why"}.`] : [],
    ),
    ...journalRemarks(journal),
  ];
}

function journalRemarks(journal: JournalStatus): readonly string[] {
  const { problem } = journal;
  if (problem === null) return [];
  return isUnread(journal)
    ? [`${problem[0]?.toUpperCase()}${problem.slice(1)}.`]
    : [`The journal does not hold: ${problem}.`];
}
