import { AppError, ExitCode } from "../errors.ts";

/** One entry of an archive; what it says is checked for its form, not for its intent. */
export interface TarEntry {
  /** Without a slash at its end. */
  readonly name: string;
  readonly kind: "file" | "folder" | "symlink";
  /** Of a file's content; 0 for the others. */
  readonly bytes: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Date;
  /** Of a symbolic link. */
  readonly target?: string;
  /** Of a file; what is not read of it is passed over. */
  readonly content: AsyncIterable<Uint8Array>;
}

const block = 512;
const maxPaxBytes = 1 << 20;
const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * The entries of a tar archive as `packFiles` writes it, one after the other. Stricter than
 * tar-stream, which takes an archive without its end for whole, and any kind of entry: what
 * packFiles never writes (hard links, devices, global headers, sparse files) is refused.
 *
 * @param name how messages call the archive
 * @throws {AppError} exit 3 when it is cut short, corrupt, or holds what it may not
 */
export async function* readTar(
  bytes: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<TarEntry> {
  const reader = new BlockReader(bytes, name);
  try {
    let pax: ReadonlyMap<string, string> = new Map();
    for (;;) {
      const header = await reader.take(block);
      if (isZero(header)) {
        if (pax.size > 0) throw corruptArchive(name, "an entry's headers are not whole");
        await expectEnd(reader, name);
        return;
      }
      const fields = parseHeader(header, name);
      if (fields.type === "x") {
        if (pax.size > 0 || fields.size > maxPaxBytes) {
          throw corruptArchive(name, "the header of an entry cannot be read");
        }
        pax = parsePax(await reader.take(fields.size), name);
        await reader.skip(padding(fields.size));
        continue;
      }
      const entry = entryOf(fields, pax, name);
      pax = new Map();
      let left = entry.bytes;
      async function* content(): AsyncGenerator<Uint8Array> {
        while (left > 0) {
          const chunk = await reader.upTo(left);
          left -= chunk.length;
          yield chunk;
        }
      }
      yield { ...entry, content: content() };
      await reader.skip(left + padding(entry.bytes));
    }
  } finally {
    await reader.close();
  }
}

/** Two blocks of zeros end an archive; more zeros may fill it up, anything else may not follow. */
async function expectEnd(reader: BlockReader, name: string): Promise<void> {
  if (!isZero(await reader.take(block))) {
    throw corruptArchive(name, "it goes on after its end");
  }
  for (;;) {
    const rest = await reader.any();
    if (rest === undefined) return;
    if (!isZero(rest)) throw corruptArchive(name, "it goes on after its end");
  }
}

interface HeaderFields {
  readonly type: string;
  readonly name: string;
  readonly target: string;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
}

function parseHeader(header: Buffer, name: string): HeaderFields {
  let sum = 8 * 32;
  for (const [at, byte] of header.entries()) if (at < 148 || at >= 156) sum += byte;
  if (sum !== numberAt(header, 148, 8)) {
    throw corruptArchive(name, "the checksum of an entry's header does not hold");
  }
  if (header.toString("latin1", 257, 263) !== "ustar\0") {
    throw corruptArchive(name, "an entry's header has another format than ustar");
  }
  const prefix = textAt(header, 345, 155);
  const size = numberAt(header, 124, 12);
  if (!Number.isSafeInteger(size) || size < 0) {
    throw corruptArchive(name, "an entry has no size that can be read");
  }
  return {
    type: String.fromCharCode(header[156] || 0x30),
    name: (prefix === "" ? "" : `${prefix}/`) + textAt(header, 0, 100),
    target: textAt(header, 157, 100),
    size,
    mode: numberAt(header, 100, 8),
    uid: numberAt(header, 108, 8),
    gid: numberAt(header, 116, 8),
    mtime: numberAt(header, 136, 12),
  };
}

/** `LENGTH KEY=VALUE\n`, where the length counts all of it. */
function parsePax(bytes: Buffer, name: string): ReadonlyMap<string, string> {
  const records = new Map<string, string>();
  let at = 0;
  while (at < bytes.length) {
    const space = bytes.indexOf(0x20, at);
    const digits = space < 0 ? "" : bytes.toString("latin1", at, space);
    const end = at + Number(digits);
    if (!/^\d{1,7}$/.test(digits) || end > bytes.length || bytes[end - 1] !== 0x0a) {
      throw corruptArchive(name, "an entry's pax header cannot be read");
    }
    let record: string;
    try {
      record = decoder.decode(bytes.subarray(space + 1, end - 1));
    } catch {
      throw corruptArchive(name, "an entry's pax header is not UTF-8");
    }
    const equals = record.indexOf("=");
    if (equals < 1) throw corruptArchive(name, "an entry's pax header cannot be read");
    records.set(record.slice(0, equals), record.slice(equals + 1));
    at = end;
  }
  const unknown = [...records.keys()].filter((key) => !knownPax.has(key));
  if (unknown.length > 0) {
    throw corruptArchive(
      name,
      `an entry has a pax header "${unknown[0]}", which has no place here`,
    );
  }
  return records;
}

const knownPax = new Set(["path", "linkpath", "uid", "gid", "mtime"]);

function entryOf(
  fields: HeaderFields,
  pax: ReadonlyMap<string, string>,
  archive: string,
): Omit<TarEntry, "content"> {
  const written = pax.get("path") ?? fields.name;
  const name = written.replace(/\/$/, "");
  const refuse = (why: string) =>
    new AppError(
      "refused-entry",
      ExitCode.invalidInput,
      `${archive} holds ${why}: ${JSON.stringify(written)}`,
      {
        hint: "pgtenant never writes such an entry; the archive is corrupt or was forged. Take another copy.",
        data: { entry: written },
      },
    );
  const kind = ({ "0": "file", "2": "symlink", "5": "folder" } as const)[fields.type];
  if (kind === undefined) {
    const foreign = { "1": "a hard link", "3": "a device", "4": "a device", "6": "a named pipe" };
    throw refuse(foreign[fields.type as "1"] ?? "an entry of an unknown kind");
  }
  if (kind !== "file" && fields.size !== 0) throw refuse("a folder or link with content");
  if (kind === "file" && written.endsWith("/")) throw refuse("a file with a folder's name");
  const numberOf = (key: string, otherwise: number) => {
    const value = Number(pax.get(key) ?? otherwise);
    if (!Number.isFinite(value)) throw refuse(`an entry with a ${key} that is no number`);
    return value;
  };
  const target = pax.get("linkpath") ?? fields.target;
  if (kind === "symlink" && (target === "" || target.includes("\0"))) {
    throw refuse("a link without a target");
  }
  const mtime = new Date(Math.round(numberOf("mtime", fields.mtime) * 1000));
  if (Number.isNaN(mtime.getTime())) throw refuse("an entry with a time that cannot be");
  return {
    name,
    kind,
    bytes: fields.size,
    mode: fields.mode & 0o7777,
    uid: ownerOf(numberOf("uid", fields.uid), refuse),
    gid: ownerOf(numberOf("gid", fields.gid), refuse),
    mtime,
    ...(kind === "symlink" ? { target } : {}),
  };
}

function ownerOf(id: number, refuse: (why: string) => AppError): number {
  if (Number.isInteger(id) && id >= 0 && id < 2 ** 32 - 1) return id;
  throw refuse("an entry with an owner that cannot be");
}

/** Octal digits, or base 256 for what is larger than they can say. */
function numberAt(header: Buffer, at: number, length: number): number {
  if (header[at] === 0x80) {
    let value = 0;
    for (const byte of header.subarray(at + 1, at + length)) value = value * 256 + byte;
    return value;
  }
  const digits = header.toString("latin1", at, at + length).replace(/[\0 ]+$/, "");
  return /^ *[0-7]*$/.test(digits) ? Number.parseInt(digits.trim() || "0", 8) : Number.NaN;
}

function textAt(header: Buffer, at: number, length: number): string {
  const field = header.subarray(at, at + length);
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end < 0 ? length : end);
}

function padding(size: number): number {
  return (block - (size % block)) % block;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** What an archive ends with that is not as packFiles wrote it. */
export function corruptArchive(name: string, why: string): AppError {
  return new AppError("corrupt-archive", ExitCode.invalidInput, `${name} is corrupt: ${why}`, {
    hint: "Take another copy of the backup; pgtenant verify tells whether a copy is whole.",
  });
}

/** Reads exact numbers of bytes from chunks of any size. */
class BlockReader {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #name: string;
  #chunk: Uint8Array = new Uint8Array();
  #read = 0;

  constructor(source: AsyncIterable<Uint8Array>, name: string) {
    this.#source = source[Symbol.asyncIterator]();
    this.#name = name;
  }

  /** At least one byte, or undefined at the end. */
  async any(): Promise<Uint8Array | undefined> {
    while (this.#chunk.length === 0) {
      const next = await this.#source.next();
      if (next.done === true) return undefined;
      this.#chunk = next.value;
    }
    const chunk = this.#chunk;
    this.#chunk = new Uint8Array();
    this.#read += chunk.length;
    return chunk;
  }

  /** Between one byte and `most` bytes. */
  async upTo(most: number): Promise<Uint8Array> {
    const chunk = await this.any();
    if (chunk === undefined) {
      throw new AppError(
        "corrupt-archive",
        ExitCode.invalidInput,
        `${this.#name} is cut short: it ends after ${this.#read} bytes, without its end mark`,
        {
          hint: "Take another copy of the backup; pgtenant verify tells whether a copy is whole.",
        },
      );
    }
    if (chunk.length <= most) return chunk;
    this.#chunk = chunk.subarray(most);
    this.#read -= chunk.length - most;
    return chunk.subarray(0, most);
  }

  async take(length: number): Promise<Buffer> {
    const taken = Buffer.alloc(length);
    let at = 0;
    while (at < length) {
      const chunk = await this.upTo(length - at);
      taken.set(chunk, at);
      at += chunk.length;
    }
    return taken;
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) left -= (await this.upTo(left)).length;
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }
}
