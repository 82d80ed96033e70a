import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { AppError, ExitCode } from "../errors.ts";
import { storageError } from "../storage/local-file.ts";

const windowBytes = 256 * 1024;
const pendingBytes = 256 * 1024;
const wordsPerKey = 4;

/**
 * The rows of one table in a temporary file, in the order in which the document has them, and their
 * keys in memory: 32 bytes a row. They are read back in the order of their keys.
 */
export class StateSpool {
  readonly #path: string;
  readonly #file: FileHandle;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #size = 0;
  #count = 0;
  #words = new Uint32Array(wordsPerKey * 256);
  #offsets = new Float64Array(256);
  #lengths = new Uint32Array(256);
  #order: Uint32Array | undefined;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  static async open(folder: string, name: string): Promise<StateSpool> {
    const path = join(folder, name);
    return new StateSpool(path, await open(path, "wx+", 0o600));
  }

  get count(): number {
    return this.#count;
  }

  add(key: string, text: string): void {
    const bytes = Buffer.from(text);
    if (this.#count === this.#lengths.length) this.#enlarge();
    this.#words.set(keyWords(key), wordsPerKey * this.#count);
    this.#offsets[this.#count] = this.#size;
    this.#lengths[this.#count] = bytes.length;
    this.#count += 1;
    this.#size += bytes.length;
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    this.#order = undefined;
  }

  /** Writes what was added, when it is enough to be worth it. */
  async settle(all = false): Promise<void> {
    if (this.#pendingBytes < (all ? 1 : pendingBytes)) return;
    const bytes = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    try {
      for (let done = 0; done < bytes.length; ) {
        done += (await this.#file.write(bytes, done)).bytesWritten;
      }
    } catch (error) {
      throw storageError(error, this.#path, {
        taken: (path) => new AppError("temp-file", ExitCode.storage, `"${path}" exists already`),
        elsewhere: "temporary files elsewhere with BACKUP_TEMP_DIR",
        choose: "another place for temporary files with BACKUP_TEMP_DIR",
      });
    }
  }

  /** The numbers of two rows, from 0, that have the same key. */
  duplicate(): readonly [number, number] | undefined {
    const order = this.#sorted();
    for (let i = 1; i < order.length; i += 1) {
      const [a = 0, b = 0] = [order[i - 1], order[i]];
      if (compareWords(this.#words, a, this.#words, b) === 0) return a < b ? [a, b] : [b, a];
    }
    return undefined;
  }

  has(key: string): boolean {
    const order = this.#sorted();
    const wanted = Uint32Array.from(keyWords(key));
    let low = 0;
    for (let high = order.length; low < high; ) {
      const middle = (low + high) >>> 1;
      const compared = compareWords(this.#words, order[middle] ?? 0, wanted, 0);
      if (compared === 0) return true;
      if (compared < 0) low = middle + 1;
      else high = middle;
    }
    return false;
  }

  /** Every row's text, by key or as the document has them. */
  async *read(sorted: boolean): AsyncGenerator<string> {
    await this.settle(true);
    const order = sorted ? this.#sorted() : undefined;
    let window: Buffer = Buffer.alloc(0);
    let start = 0;
    for (let i = 0; i < this.#count; i += 1) {
      const row = order?.[i] ?? i;
      const [offset = 0, length = 0] = [this.#offsets[row], this.#lengths[row]];
      if (offset < start || offset + length > start + window.length) {
        // Keys often run with the file or against it, so a window reaches to both sides.
        start = Math.max(0, Math.min(offset - windowBytes / 2, this.#size - windowBytes));
        const end = Math.max(offset + length, Math.min(start + windowBytes, this.#size));
        window = await this.#readAt(start, end - start);
      }
      yield window.toString("utf8", offset - start, offset - start + length);
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #readAt(start: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await this.#file.read(bytes, done, length - done, start + done);
      if (bytesRead === 0) throw new Error(`${this.#path} is shorter than what was written`);
      done += bytesRead;
    }
    return bytes;
  }

  #sorted(): Uint32Array {
    if (this.#order !== undefined) return this.#order;
    const order = new Uint32Array(this.#count);
    let ascending = true;
    for (let i = 0; i < order.length; i += 1) {
      order[i] = i;
      if (ascending && i > 0) ascending = compareWords(this.#words, i - 1, this.#words, i) <= 0;
    }
    if (!ascending) {
      order.sort((a, b) => compareWords(this.#words, a, this.#words, b) || a - b);
    }
    this.#order = order;
    return order;
  }

  #enlarge(): void {
    const capacity = this.#lengths.length * 2;
    const words = new Uint32Array(wordsPerKey * capacity);
    const offsets = new Float64Array(capacity);
    const lengths = new Uint32Array(capacity);
    words.set(this.#words);
    offsets.set(this.#offsets);
    lengths.set(this.#lengths);
    this.#words = words;
    this.#offsets = offsets;
    this.#lengths = lengths;
  }
}

/** A UUID or a bigint as four words that sort as PostgreSQL sorts it. */
function keyWords(key: string): readonly [number, number, number, number] {
  if (key.length === 36) {
    const hex = key.replaceAll("-", "");
    const word = (at: number) => Number.parseInt(hex.slice(at, at + 8), 16);
    return [word(0), word(8), word(16), word(24)];
  }
  const shifted = BigInt(key) + 2n ** 63n;
  return [Number(shifted >> 32n), Number(shifted & 0xffffffffn), 0, 0];
}

function compareWords(left: Uint32Array, i: number, right: Uint32Array, j: number): number {
  for (let word = 0; word < wordsPerKey; word += 1) {
    const a = left[wordsPerKey * i + word] ?? 0;
    const b = right[wordsPerKey * j + word] ?? 0;
    if (a !== b) return a < b ? -1 : 1;
  }
  return 0;
}
