import { gzipSync } from "node:zlib";
import { type BackupId, sidecarName } from "../../src/backup/backup-name.ts";

/** A backup's objects by their keys: manifest, dump, roles, files. */
export type StoredSet = ReadonlyMap<string, Buffer>;

/** What somebody has done to one stored object. */
export interface Damage {
  readonly what: string;
  readonly key: string;
  /** Undefined when the object was removed. */
  readonly bytes: Buffer | undefined;
}

type Random = () => number;
type Change = (
  bytes: Buffer,
  random: Random,
  other: Buffer,
) => readonly [string, Buffer | undefined];

const below = (end: number, random: Random) => Math.floor(random() * end);
/** What age seals as a whole, with its tag. */
const ageChunk = 65_536 + 16;
const appendices: readonly Buffer[] = [
  Buffer.alloc(512),
  Buffer.from("x"),
  Buffer.from("\n"),
  gzipSync(""), // behind a gzip file it changes nothing
];

const flip: Change = (bytes, random) => {
  const [at, bit] = [below(bytes.length, random), below(8, random)];
  const flipped = Buffer.from(bytes);
  flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << bit), at);
  return [`bit ${bit} of byte ${at} flipped`, flipped];
};

const cut: Change = (bytes, random) => {
  const length = below(bytes.length, random);
  return [`cut at ${length}`, bytes.subarray(0, length)];
};

/** Where a layer ends a piece of its own: a reader may take that for the end of all. */
const cutAtBoundary: Change = (bytes, random) => {
  const boundaries = boundariesOf(bytes);
  const length = boundaries[below(boundaries.length, random)] ?? 0;
  return [`cut at the boundary ${length}`, bytes.subarray(0, length)];
};

const exchangePieces: Change = (bytes, random) => {
  const boundaries = boundariesOf(bytes);
  const size = 16 * (1 + below(256, random));
  const start = () => boundaries[below(boundaries.length, random)] ?? 0;
  const [a, b] = [start(), start()].sort((one, two) => one - two);
  if (a === undefined || b === undefined || b - a < size || b + size > bytes.length) {
    return flip(bytes, random, bytes);
  }
  const swapped = Buffer.from(bytes);
  bytes.copy(swapped, a, b, b + size);
  bytes.copy(swapped, b, a, a + size);
  return swapped.equals(bytes)
    ? flip(bytes, random, bytes)
    : [`${size} bytes at ${a} and ${b} exchanged`, swapped];
};

const pieceOfOther: Change = (bytes, random, other) => {
  const boundaries = boundariesOf(bytes).filter((at) => at < other.length);
  const at = boundaries[below(boundaries.length, random)] ?? 0;
  const mixed = Buffer.concat([bytes.subarray(0, at), other.subarray(at)]);
  return mixed.equals(bytes)
    ? flip(bytes, random, other)
    : [`from ${at} on that of another backup`, mixed];
};

const append: Change = (bytes, random) => {
  const choice = below(appendices.length + 1, random);
  const more = appendices[choice] ?? bytes.subarray(-1 - below(bytes.length, random));
  return [`${more.length} bytes appended`, Buffer.concat([bytes, more])];
};

const otherFile: Change = (bytes, random, other) =>
  other.equals(bytes) ? flip(bytes, random, other) : ["that of another backup", other];

const empty: Change = () => ["emptied", Buffer.alloc(0)];
const remove: Change = () => ["removed", undefined];

/** Damages to the stored bytes, in the order in which they are dealt out. */
const ofBytes: readonly Change[] = [flip, cut, cutAtBoundary, append, exchangePieces, pieceOfOther];
const ofParts: readonly Change[] = [...ofBytes, flip, otherFile, remove, empty];

const ofText: readonly Change[] = [
  flip,
  edited("rows", /"rows": (\d+)/, (_, rows) => `"rows": ${Number(rows) + 1}`),
  cut,
  edited("sha256", /"sha256": "(.)/, (_, digit) => `"sha256": "${digit === "0" ? 1 : 0}`),
  otherFile,
  edited("rawBytes", /"rawBytes": (\d+)/, (_, bytes) => `"rawBytes": ${bytes}0`),
  edited("encryption", /"encryption": "\w+"/, () => '"encryption": "other"'),
  edited("database", /"database": "/, () => '"database": "x'),
  edited("parts", /"parts": \[\s*\{[^}]*\},?/, () => '"parts": ['),
];

function edited(
  what: string,
  pattern: RegExp,
  change: (match: string, ...groups: string[]) => string,
): Change {
  return (bytes, random, other) => {
    const text = bytes.toString("utf8");
    const changed = text.replace(pattern, change);
    return changed === text
      ? flip(bytes, random, other)
      : [`${what} edited`, Buffer.from(changed, "utf8")];
  };
}

/**
 * Damages to a whole set, as many as wanted: every fourth to its manifest, of the others every
 * second to the dump.
 *
 * @param other another backup of the same form
 */
export function* damagesOfSet(
  id: BackupId,
  set: StoredSet,
  other: StoredSet,
  random: Random,
): Generator<Damage> {
  const manifest = sidecarName(id, "manifest");
  const parts = [...set.keys()].filter((key) => key !== manifest);
  const dump = parts.filter((key) => !/\.(globals|files)\./.test(key));
  const beside = parts.filter((key) => !dump.includes(key));
  for (let i = 0; ; i += 1) {
    const [keys, changes] =
      i % 4 === 3 ? [[manifest], ofText] : [i % 2 === 0 ? dump : beside, ofParts];
    const key = keys[below(keys.length, random)] ?? manifest;
    const change = changes[Math.floor(i / 4 + (i % 4) * 3) % changes.length] ?? flip;
    yield damaged(key, change, set, other, random);
  }
}

/** Damages to a dump that has no manifest, as many as wanted. */
export function* damagesOfDump(
  key: string,
  set: StoredSet,
  other: StoredSet,
  random: Random,
): Generator<Damage> {
  const changes = [flip, cut, cutAtBoundary, flip, append];
  for (let i = 0; ; i += 1) {
    yield damaged(key, changes[i % changes.length] ?? flip, set, other, random);
  }
}

function damaged(
  key: string,
  change: Change,
  set: StoredSet,
  others: StoredSet,
  random: Random,
): Damage {
  const bytes = set.get(key) ?? Buffer.alloc(0);
  const suffix = key.slice(key.indexOf("."));
  const other = [...others].find(([name]) => name.endsWith(suffix))?.[1] ?? Buffer.alloc(0);
  const [what, made] = change(bytes, random, other);
  return { what: `${key}: ${what}`, key, bytes: made };
}

/** Of age's chunks, of gzip's members, else of the blocks of ciphers and archives. */
function boundariesOf(bytes: Buffer): readonly number[] {
  const found: number[] = [];
  if (bytes.subarray(0, 19).equals(Buffer.from("age-encryption.org/"))) {
    const mark = bytes.indexOf("\n---");
    const payload = bytes.indexOf("\n", mark + 1) + 1 + 16;
    for (let at = payload; at < bytes.length; at += ageChunk) found.push(at);
  } else if (bytes[0] === 0x1f) {
    const member = Buffer.from([0x1f, 0x8b, 0x08]);
    for (let at = 0; at >= 0; at = bytes.indexOf(member, at + 1)) found.push(at);
  } else {
    const block = bytes[0] === 0x53 ? 16 : 512;
    for (let at = 0; at < bytes.length; at += block) found.push(at);
  }
  return found;
}
