import { type FileHandle, open } from "node:fs/promises";

/*
 * The custom format of pg_dump: a head, a table of contents, then the data of its entries in
 * blocks. An entry says where its data stands, unless pg_dump wrote to a pipe and could not go
 * back to say so. Then each connection of a parallel pg_restore looks for the data of each
 * table, a row at a time, from the beginning of the file.
 */

const magic = Buffer.from("PGDMP");
const customFormat = 1;
/** The versions whose entries are read here; others are left as they are. */
const oldestVersion = 0x010e /* 1.14, PostgreSQL 12 */;
const newestVersion = 0x0110 /* 1.16, PostgreSQL 17 */;
const withCompressionName = 0x010f;
const withRelationKind = 0x0110;

const offsetUnknown = 1;
const offsetKnown = 2;
const dataBlock = 1;
const largeObjectsBlock = 3;

/**
 * Writes into an archive of the custom format where the data of its entries stands, as pg_dump
 * itself does when it writes to a file.
 *
 * @returns how many entries were given their place; 0 for a file that is not such an archive or not
 *   read to its end, which stays as it is: pg_restore then searches, or says what is wrong with it
 */
export async function addOffsets(path: string): Promise<number> {
  const file = await open(path, "r+");
  try {
    const cursor = new Cursor(file);
    const unplaced = await readContents(cursor);
    if (unplaced === undefined || unplaced.size === 0) return 0;
    const found = await findData(cursor, unplaced);
    for (const { position, offset } of found ?? []) {
      const bytes = Buffer.alloc(1 + cursor.offsetBytes);
      bytes[0] = offsetKnown;
      bytes.writeUIntLE(offset, 1, Math.min(6, cursor.offsetBytes));
      await file.write(bytes, 0, bytes.length, position);
    }
    return found?.length ?? 0;
  } finally {
    await file.close();
  }
}

/** By entry: where in the file its offset belongs. */
async function readContents(cursor: Cursor): Promise<ReadonlyMap<number, number> | undefined> {
  const head = await cursor.take(magic.length + 6);
  if (head === undefined || !head.subarray(0, magic.length).equals(magic)) return undefined;
  const [major = 0, minor = 0, , intBytes = 0, offsetBytes = 0, format] = head.subarray(
    magic.length,
  );
  const version = major * 256 + minor;
  if (version < oldestVersion || version > newestVersion || format !== customFormat) {
    return undefined;
  }
  if (intBytes !== 4 || offsetBytes !== 8) return undefined;
  if (version >= withCompressionName) await cursor.take(1);
  else await cursor.int();
  for (let i = 0; i < 7; i += 1) await cursor.int(); // when it was made
  for (let i = 0; i < 3; i += 1) await cursor.skipText(); // database, server, pg_dump
  const unplaced = new Map<number, number>();
  const count = (await cursor.int()) ?? 0;
  for (let entry = 0; entry < count; entry += 1) {
    const id = await cursor.int();
    if (id === undefined) return undefined;
    await cursor.int(); // whether it has data
    for (let i = 0; i < 4; i += 1) await cursor.skipText(); // two oids, tag, kind
    await cursor.int(); // section
    for (let i = 0; i < 6; i += 1) await cursor.skipText(); // three statements, schema, tablespace, access method
    if (version >= withRelationKind) await cursor.int();
    for (let i = 0; i < 2; i += 1) await cursor.skipText(); // owner, and an old flag
    while (await cursor.skipText()); // what it depends on, to the first NULL
    const position = cursor.position;
    const place = await cursor.take(1 + offsetBytes);
    if (place === undefined) return undefined;
    if (place[0] === offsetUnknown) unplaced.set(id, position);
  }
  return unplaced;
}

interface Place {
  /** Where the offset belongs. */
  readonly position: number;
  readonly offset: number;
}

async function findData(
  cursor: Cursor,
  unplaced: ReadonlyMap<number, number>,
): Promise<readonly Place[] | undefined> {
  const found: Place[] = [];
  for (;;) {
    const offset = cursor.position;
    const kind = (await cursor.take(1))?.[0];
    if (kind === undefined) return found;
    const id = await cursor.int();
    const position = id === undefined ? undefined : unplaced.get(id);
    if (position === undefined) return undefined;
    found.push({ position, offset });
    if (kind === dataBlock) {
      if (!(await cursor.skipChunks())) return undefined;
    } else if (kind === largeObjectsBlock) {
      for (let oid = await cursor.int(); oid !== 0; oid = await cursor.int()) {
        if (oid === undefined || !(await cursor.skipChunks())) return undefined;
      }
    } else {
      return undefined;
    }
  }
}

const windowBytes = 1 << 20;
const intSize = 5 /* a sign, and four bytes from the lowest */;

/** Reads a file from its beginning; what is skipped is not read where it can be helped. */
class Cursor {
  readonly offsetBytes = 8;
  readonly #file: FileHandle;
  readonly #window = Buffer.allocUnsafe(windowBytes);
  /** Where in the file the window begins. */
  #start = 0;
  #filled = 0;
  #at = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  get position(): number {
    return this.#start + this.#at;
  }

  /** Valid until the next call; undefined when the file has not so many more. */
  async take(bytes: number): Promise<Buffer | undefined> {
    if (this.#filled - this.#at < bytes && !(await this.#fill(bytes))) return undefined;
    this.#at += bytes;
    return this.#window.subarray(this.#at - bytes, this.#at);
  }

  async int(): Promise<number | undefined> {
    const bytes = await this.take(intSize);
    return bytes === undefined ? undefined : intOf(bytes, 0);
  }

  /** @returns false for a NULL, which has no text, and at the end of the file */
  async skipText(): Promise<boolean> {
    const length = await this.int();
    if (length === undefined || length < 0) return false;
    this.#at += length;
    return true;
  }

  /** Skips chunks of data with their lengths, to an empty one. False when the file ends before. */
  async skipChunks(): Promise<boolean> {
    for (;;) {
      // A chunk is a row in many archives: there is no time to wait for each.
      while (this.#filled - this.#at >= intSize) {
        const length = intOf(this.#window, this.#at);
        this.#at += intSize;
        if (length === 0) return true;
        if (length < 0) return false;
        this.#at += length;
      }
      if (!(await this.#fill(intSize))) return false;
    }
  }

  async #fill(bytes: number): Promise<boolean> {
    this.#start += this.#at;
    this.#at = 0;
    this.#filled = 0;
    while (this.#filled < bytes) {
      const { bytesRead } = await this.#file.read(
        this.#window,
        this.#filled,
        windowBytes - this.#filled,
        this.#start + this.#filled,
      );
      if (bytesRead === 0) return false;
      this.#filled += bytesRead;
    }
    return true;
  }
}

function intOf(bytes: Buffer, at: number): number {
  const value = bytes.readUInt32LE(at + 1);
  return bytes[at] === 0 ? value : -value;
}
