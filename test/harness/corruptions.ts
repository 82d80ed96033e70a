import assert from "node:assert/strict";
import { AppError } from "../../src/errors.ts";
import { compressed, layoutOf, type StoredForm } from "./sample-bundle.ts";
import { readWholeBundle } from "./tenant-bundle.ts";

/** Numbers in [0, 1) that are the same for the same seed: mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A bundle's lines in the JSON Lines layout, taken apart so that they can be put together wrong. */
export interface Parts {
  readonly header: string;
  readonly sections: readonly Section[];
  readonly trailer: string;
  /** What stands behind the trailer. */
  readonly after?: string;
}

interface Section {
  readonly start: string;
  readonly rows: readonly string[];
  readonly end: string;
}

export function takeApart(jsonl: Buffer): Parts {
  const lines = jsonl.toString("utf8").split("\n").slice(0, -1);
  const sections: { start: string; rows: string[]; end: string }[] = [];
  for (const line of lines.slice(1, -1)) {
    const open = sections.at(-1);
    if (line.startsWith('{"$table":')) sections.push({ start: line, rows: [], end: "" });
    else if (open === undefined) throw new Error("a row outside of any section");
    else if (line.startsWith('{"$end":')) open.end = line;
    else open.rows.push(line);
  }
  return { header: lines[0] ?? "", sections, trailer: lines.at(-1) ?? "" };
}

/** The parts as a file of this form. */
export function putTogether(parts: Parts, form: StoredForm): Buffer {
  const text = layoutOf(form) === "json" ? asDocument(parts) : asLines(parts);
  return compressed(form, Buffer.from(text + (parts.after ?? "")));
}

function asLines({ header, sections, trailer }: Parts): string {
  const lines = [header, ...sections.flatMap((s) => [s.start, ...s.rows, s.end]), trailer];
  return lines
    .filter((line) => line !== "")
    .map((line) => `${line}\n`)
    .join("");
}

function asDocument({ header, sections, trailer }: Parts): string {
  const tables = sections.map(({ start, rows }) => {
    const name = start.slice('{"$table":'.length, -1);
    return `${name}:[\n${rows.map((row, i) => `${row}${i < rows.length - 1 ? "," : ""}\n`).join("")}]`;
  });
  const ends = sections
    .filter(({ end }) => end !== "")
    .map(({ end }) => end.slice('{"$end":'.length, -1));
  const closing = trailer === "" ? "" : `${trailer.slice(1)}\n`;
  return `${header.slice(0, -1)},\n"tables":{\n${tables.join(",\n")}\n},\n"$end":[\n${ends.join(",\n")}\n],\n${closing}`;
}

export interface Corruption {
  readonly what: string;
  readonly parts: Parts;
}

/** The parts with something dropped, doubled, swapped or edited, in every section. */
export function* structuralCorruptions(parts: Parts): Generator<Corruption> {
  const { sections } = parts;
  const rearranged = (what: string, changed: readonly Section[]): Corruption => ({
    what,
    parts: { ...parts, sections: changed },
  });
  for (const [i, section] of sections.entries()) {
    const replaced = (what: string, changed: Partial<Section>) =>
      rearranged(`${what} of ${section.start}`, sections.with(i, { ...section, ...changed }));
    const { rows, end } = section;
    yield rearranged(`${section.start} dropped`, sections.toSpliced(i, 1));
    yield rearranged(`${section.start} doubled`, sections.toSpliced(i, 0, section));
    const next = sections[i + 1];
    if (next !== undefined) {
      yield rearranged(`${section.start} swapped`, sections.with(i, next).with(i + 1, section));
      yield replaced("the name taken", { start: next.start });
    }
    yield replaced("the end dropped", { end: "" });
    yield replaced("the count edited", {
      end: end.replace(/"rows":\d+/, `"rows":${rows.length + 1}`),
    });
    yield replaced("the hash edited", {
      end: end.replace(/"sha256":"(.)/, (_, digit) => `"sha256":"${digit === "0" ? "1" : "0"}`),
    });
    yield replaced("a row invented", { rows: [...rows, '{"id":999,"body":null}'] });
    const [first, second] = rows;
    if (first === undefined) continue;
    yield replaced("the first row dropped", { rows: rows.slice(1) });
    yield replaced("the last row dropped", { rows: rows.slice(0, -1) });
    yield replaced("the first row doubled", { rows: [first, ...rows] });
    yield replaced("a row edited", { rows: [`${first.slice(0, -1)} }`, ...rows.slice(1)] });
    if (second !== undefined) {
      yield replaced("two rows swapped", { rows: [second, first, ...rows.slice(2)] });
    }
  }
  yield {
    what: "the header doubled",
    parts: { ...parts, header: `${parts.header}\n${parts.header}` },
  };
  yield { what: "the header dropped", parts: { ...parts, header: "" } };
  yield {
    what: "the header edited",
    parts: { ...parts, header: parts.header.replace('"createdAt":"2', '"createdAt":"3') },
  };
  yield { what: "the trailer dropped", parts: { ...parts, trailer: "" } };
  yield {
    what: "the trailer's count edited",
    parts: { ...parts, trailer: parts.trailer.replace(/"rows":\d+/, '"rows":1000000') },
  };
  for (const after of ["garbage", "\n", "{}\n", `${parts.trailer}\n`, `${asLines(parts)}`]) {
    yield { what: `${JSON.stringify(after.slice(0, 20))} appended`, parts: { ...parts, after } };
  }
}

/** What the reader says of a bundle, or undefined when it takes it. */
export async function refusal(bytes: Uint8Array): Promise<AppError | undefined> {
  try {
    await readWholeBundle(bytes);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof AppError, error instanceof Error ? error.stack : String(error));
    return error;
  }
}

/** Where in a bundle something is wrong, as messages say it. */
const place =
  /line \d+|section \d+|section "|table "|before its first section|\d bytes|is empty|not a pgtenant bundle/;

/** Asserts that the reader refuses a bundle with exit code 3, a place and a hint. */
export async function assertRefused(bytes: Uint8Array, what: string): Promise<void> {
  const error = await refusal(bytes);
  assert.ok(error !== undefined, `${what}: was accepted`);
  assert.equal(error.exitCode, 3, `${what}: ${error.message}`);
  assert.match(error.message, place, what);
  assert.ok(error.hint, what);
}

/**
 * Flips bits at random. Each flip must be refused, or must not matter, as some bits of a gzip
 * header do not: then the bundle reads as before.
 *
 * @returns how many did not matter
 */
export async function assertFlipsRefused(
  bytes: Buffer,
  flips: number,
  random: () => number,
): Promise<number> {
  const original = await readWholeBundle(bytes);
  let harmless = 0;
  for (let i = 0; i < flips; i += 1) {
    const at = Math.floor(random() * bytes.length);
    const bit = Math.floor(random() * 8);
    const flipped = Buffer.from(bytes);
    flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << bit), at);
    const what = `bit ${bit} of byte ${at}`;
    const error = await refusal(flipped);
    if (error === undefined) {
      assert.deepEqual(await readWholeBundle(flipped), original, what);
      harmless += 1;
    } else {
      // A flip in the first bytes may make something else of the file, even an encrypted one.
      assert.equal(error.exitCode, 3, `${what}: ${error.message}`);
    }
  }
  return harmless;
}
