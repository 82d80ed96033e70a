import type { ColumnDifference } from "../../tenant/diff-types.ts";
import { count } from "./units.ts";

export type ValueDifference = Exclude<ColumnDifference, { readonly secret: true }>;

/** A value around the place where it differs from its counterpart. */
export interface Excerpt {
  /** Undefined for NULL. */
  readonly parts:
    | { readonly before: string; readonly differs: string; readonly after: string }
    | undefined;
  /** `12,345 characters`, where not all of it is shown. */
  readonly length: string | undefined;
}

export interface ExcerptLimits {
  /** Values up to this length are shown as a whole. */
  readonly whole: number;
  /** How much is shown of what differs, and on each side of it. */
  readonly differs: number;
  readonly around: number;
}

export interface ValuePair {
  readonly live: Excerpt;
  readonly bundle: Excerpt;
  /** What has to be said about them, since it cannot be seen. */
  readonly remark: string | undefined;
}

/** Both values, shortened to where they differ. */
export function valuePair(difference: ValueDifference, limits: ExcerptLimits): ValuePair {
  const { live, bundle, liveLength, bundleLength, bytes } = difference;
  const cut = liveLength !== undefined || bundleLength !== undefined;
  const start = live === null || bundle === null ? 0 : sameAtStart(live, bundle);
  const end =
    live === null || bundle === null || cut ? 0 : sameAtEnd(live.slice(start), bundle.slice(start));
  const excerptOf = (text: string | null, length: number | undefined): Excerpt => {
    if (text === null) return { parts: undefined, length: undefined };
    const parts = excerpt(text, start, end, length !== undefined, limits);
    const shown = parts.before.length + parts.differs.length + parts.after.length;
    const whole = shown === text.length && length === undefined;
    return {
      parts,
      length: whole ? undefined : lengthText(text, length, bytes === true),
    };
  };
  return {
    live: excerptOf(live, liveLength),
    bundle: excerptOf(bundle, bundleLength),
    remark: live === bundle ? sameText(cut) : undefined,
  };
}

function sameText(cut: boolean): string {
  return cut ? "they differ further on" : "the same as text, but stored otherwise";
}

function excerpt(
  text: string,
  start: number,
  end: number,
  cut: boolean,
  limits: ExcerptLimits,
): { before: string; differs: string; after: string } {
  const before = text.slice(0, start);
  const differs = text.slice(start, text.length - end);
  const after = text.slice(text.length - end);
  if (text.length <= limits.whole && !cut) return { before, differs, after };
  return {
    before: lastOf(before, limits.around),
    differs: firstOf(differs, limits.differs, cut && end === 0),
    after: firstOf(after, limits.around, false),
  };
}

function lengthText(text: string, length: number | undefined, bytes: boolean): string {
  if (bytes) return `${count(length ?? (text.length - 2) / 2)} bytes`;
  return `${count(length ?? [...text].length)} characters`;
}

function firstOf(text: string, most: number, goesOn: boolean): string {
  if (text.length <= most) return goesOn ? `${text}…` : text;
  return `${text.slice(0, splitsPair(text, most) ? most - 1 : most)}…`;
}

function lastOf(text: string, most: number): string {
  if (text.length <= most) return text;
  const from = text.length - most;
  return `…${text.slice(splitsPair(text, from) ? from + 1 : from)}`;
}

function sameAtStart(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let at = 0;
  while (at < most && a.charCodeAt(at) === b.charCodeAt(at)) at += 1;
  return splitsPair(a, at) || splitsPair(b, at) ? at - 1 : at;
}

function sameAtEnd(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let same = 0;
  while (same < most && a.charCodeAt(a.length - 1 - same) === b.charCodeAt(b.length - 1 - same)) {
    same += 1;
  }
  return splitsPair(a, a.length - same) || splitsPair(b, b.length - same) ? same - 1 : same;
}

/** Between the two halves of one character. */
function splitsPair(text: string, at: number): boolean {
  const high = text.charCodeAt(at - 1);
  const low = text.charCodeAt(at);
  return high >= 0xd800 && high <= 0xdbff && low >= 0xdc00 && low <= 0xdfff;
}

const unseen = /[\p{Cc}\p{Cs}\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

/** Characters that cannot be seen, or that would move others, by a picture or their number. */
export function visibleText(text: string): string {
  return text.replace(unseen, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}
