import { livenessOf } from "../postgres/process-identity.ts";
import type { JournalRecord } from "./journal-record.ts";

/** What is to be thought of an operation whose end is not written down. */
export interface Unended {
  readonly result: "running" | "unfinished";
  /** It is taken for running, where its process cannot be looked for: another host or container. */
  readonly elsewhere: boolean;
}

/** No operation takes that long; one of another host that has begun before has died. */
const longestMs = 24 * 3_600_000;

/** Asked each time anew: a process dies without writing a line. */
export async function unended(started: JournalRecord, now = new Date()): Promise<Unended> {
  const liveness = await livenessOf(started);
  const elsewhere = liveness === "unknown" && +now - Date.parse(started.at) < longestMs;
  return { result: liveness === "alive" || elsewhere ? "running" : "unfinished", elsewhere };
}
