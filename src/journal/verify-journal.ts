import { journalPath } from "./journal-file.ts";
import { journalLines } from "./journal-lines.ts";
import { type ChainEnd, chainStart, type JournalRecord, parseLine } from "./journal-record.ts";

/**
 * - `altered`: the line's hash does not fit its text;
 * - `broken-link`: the line does not follow the one before it, though its number does;
 * - `missing`: lines are missing before it;
 * - `out-of-order`: its number is not above the one before it: doubled or moved;
 * - `damaged`: the line is no record, and one is missing in its place;
 * - `torn`: the line was cut short by a crash. Nothing else is missing, so this is no tampering.
 */
export interface JournalFinding {
  readonly kind: "altered" | "broken-link" | "missing" | "out-of-order" | "damaged" | "torn";
  /** `warning`: the journal holds all the same. */
  readonly level: "problem" | "warning";
  /** Of the file, from 1. */
  readonly line: number;
  readonly message: string;
}

export interface JournalVerification {
  readonly path: string;
  /** Whole records. */
  readonly records: number;
  readonly findings: readonly JournalFinding[];
  /** How many findings there are; only the first hundred are kept. */
  readonly problems: number;
  readonly warnings: number;
  /** Of the last whole line: kept elsewhere, it shows later whether lines were cut off the end. */
  readonly head: ChainEnd;
}

const mostFindings = 100;

/**
 * Reads the whole journal and checks every hash, link and number. Lines that were cut off cleanly
 * from the end cannot be noticed, but by the `head` of an earlier verification.
 *
 * @throws {AppError} exit 8 when it cannot be read
 */
export async function verifyJournal(folder: string): Promise<JournalVerification> {
  const path = journalPath(folder);
  const findings: JournalFinding[] = [];
  const counts = { problem: 0, warning: 0 };
  const add = (finding: JournalFinding) => {
    counts[finding.level] += 1;
    if (findings.length < mostFindings) findings.push(finding);
  };
  let records = 0;
  let last: ChainEnd = chainStart;
  /** Lines that are no records, since the last record; what follows tells what they were. */
  let damaged: number[] = [];
  const judgeDamaged = (missing: number) => {
    for (const [at, line] of damaged.entries()) add(damage(line, at < missing));
    damaged = [];
  };
  for await (const { number: line, text, ended } of journalLines(path)) {
    const parsed = text === undefined ? ({ kind: "damaged" } as const) : parseLine(text);
    if (parsed.kind === "damaged" || (parsed.kind === "altered" && !ended)) {
      damaged.push(line);
      continue;
    }
    const { record } = parsed;
    const missing = Math.max(0, record.seq - last.seq - 1);
    const explained = Math.min(missing, damaged.length);
    judgeDamaged(missing);
    if (parsed.kind === "altered") {
      add({
        kind: "altered",
        level: "problem",
        line,
        message: `line ${line} (record ${record.seq}) was altered: its hash does not fit its text`,
      });
    } else records += 1;
    for (const finding of linkFindings(line, record, last, missing, explained)) add(finding);
    last = { seq: record.seq, hash: record.hash };
  }
  judgeDamaged(0);
  return {
    path,
    records,
    findings,
    problems: counts.problem,
    warnings: counts.warning,
    head: last,
  };
}

function damage(line: number, inPlaceOfRecord: boolean): JournalFinding {
  return inPlaceOfRecord
    ? {
        kind: "damaged",
        level: "problem",
        line,
        message: `line ${line} is no record, and one is missing in its place`,
      }
    : {
        kind: "torn",
        level: "warning",
        line,
        message: `line ${line} was cut short, as by a crash; no other record is missing there`,
      };
}

function linkFindings(
  line: number,
  record: JournalRecord,
  last: ChainEnd,
  missing: number,
  explained: number,
): readonly JournalFinding[] {
  const problem = (kind: JournalFinding["kind"], message: string): readonly JournalFinding[] => [
    { kind, level: "problem", line, message },
  ];
  if (record.seq <= last.seq) {
    return problem(
      "out-of-order",
      `line ${line} has record ${record.seq} behind record ${last.seq}: it was doubled or moved`,
    );
  }
  if (missing > explained) {
    const [from, to] = [last.seq + 1, record.seq - 1];
    const which = from === to ? `record ${from} is` : `records ${from} to ${to} are`;
    return problem("missing", `${which} missing before line ${line}`);
  }
  if (missing === 0 && record.prev !== last.hash) {
    return problem(
      "broken-link",
      `line ${line} (record ${record.seq}) does not follow the one before it: that one was replaced`,
    );
  }
  return [];
}
