import { hash } from "node:crypto";

export type JournalEvent = "started" | "done" | "failed" | "interrupted";

/**
 * One line of the journal. `hash` is its last member: the SHA-256, in lower-case hex, of the
 * line's own UTF-8 text without `,"hash":"…"` and without the line end, so of
 * `{"seq":…,…,"prev":"…"}`. `prev` is the hash of the last whole line before it, of the first
 * line 64 zeros. Nobody can alter, remove or insert a line without rewriting all that follow.
 */
export interface JournalRecord {
  /** 1 for the first line, then without gaps. */
  readonly seq: number;
  /** RFC 3339, UTC. */
  readonly at: string;
  /** The same for the lines of one operation. */
  readonly run: string;
  readonly event: JournalEvent;
  /** As the command is called: `backup`, `restore`, `prune`. */
  readonly operation: string;
  /** `user@host` */
  readonly who: string;
  readonly pid: number;
  /** With `pid`, `host` and `processSpace`, what tells whether the run is still there. */
  readonly processStart?: string;
  readonly processSpace?: string;
  readonly host: string;
  readonly database?: string;
  /** What it was done to: a backup's id, a tenant. */
  readonly subject?: string;
  readonly exitCode?: number;
  readonly seconds?: number;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly prev: string;
  readonly hash: string;
}

export type UnlinkedRecord = Omit<JournalRecord, "seq" | "prev" | "hash">;

/** The last whole line, which the next one follows. */
export interface ChainEnd {
  readonly seq: number;
  readonly hash: string;
}

export const chainStart: ChainEnd = { seq: 0, hash: "0".repeat(64) };

/** Longer lines are none of ours. */
export const longestLine = 64 * 1024;

const hashMember = /,"hash":"([0-9a-f]{64})"\}$/;

/** The next line, without its line end; details that are too long are left out, and that is said. */
export function recordLine(record: UnlinkedRecord, end: ChainEnd): string {
  const { details, ...rest } = record;
  const line = (shown: UnlinkedRecord["details"]) => {
    const { at, ...others } = rest;
    const text = JSON.stringify({
      seq: end.seq + 1,
      at,
      ...others,
      ...(shown === undefined ? {} : { details: shown }),
      prev: end.hash,
    });
    return `${text.slice(0, -1)},"hash":"${hashOf(text)}"}`;
  };
  const whole = line(details);
  return Buffer.byteLength(whole) < longestLine ? whole : line({ leftOut: "too long" });
}

/**
 * What a line is: a whole record; one whose hash does not fit its text (`altered`); or no record
 * at all (`damaged`), as a crash leaves it.
 */
export type ParsedLine =
  | { readonly kind: "record"; readonly record: JournalRecord }
  | { readonly kind: "altered"; readonly record: JournalRecord }
  | { readonly kind: "damaged" };

export function parseLine(line: string): ParsedLine {
  let record: unknown;
  try {
    record = JSON.parse(line);
  } catch {
    return { kind: "damaged" };
  }
  if (!isRecord(record)) return { kind: "damaged" };
  const [member, hash] = hashMember.exec(line) ?? [];
  const whole = member !== undefined && hashOf(`${line.slice(0, -member.length)}}`) === hash;
  return { kind: whole ? "record" : "altered", record };
}

function isRecord(value: unknown): value is JournalRecord {
  if (typeof value !== "object" || value === null) return false;
  const record = value as Partial<JournalRecord>;
  const { seq, at, run, event, operation, who, prev, hash } = record;
  return (
    Number.isSafeInteger(seq) &&
    [at, run, event, operation, who].every((member) => typeof member === "string") &&
    [prev, hash].every((member) => typeof member === "string" && /^[0-9a-f]{64}$/.test(member))
  );
}

function hashOf(text: string): string {
  return hash("sha256", text);
}
