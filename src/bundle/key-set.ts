import { randomBytes } from "node:crypto";

/**
 * Makes 64-bit fingerprints of tuples of texts. The seed is a new one each time, so that nobody
 * can prepare two tuples with the same one.
 */
export class Fingerprint {
  readonly #seed = randomBytes(8);
  high = 0;
  low = 0;

  /** Sets `high` and `low`, each 32 bits; never both 0. */
  of(parts: readonly string[]): this {
    let a = this.#seed.readInt32LE(0);
    let b = this.#seed.readInt32LE(4);
    for (const part of parts) {
      a = Math.imul(a ^ part.length, 0x9e3779b1);
      for (let i = 0; i < part.length; i += 1) {
        const unit = part.charCodeAt(i);
        a = Math.imul(a ^ unit, 0x9e3779b1);
        b = Math.imul(b ^ unit, 0x5f356495);
      }
      b = Math.imul(b ^ part.length ^ 0x10000, 0x5f356495);
    }
    a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
    b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
    this.high = a >>> 0;
    this.low = b >>> 0;
    if (this.high === 0 && this.low === 0) this.low = 1;
    return this;
  }
}

/**
 * A set of fingerprints in 13 to 27 bytes each. Two different tuples count as one with a
 * probability of about n² / 2^65: for a million rows, one in thirty-seven million.
 */
export class KeySet {
  #slots = new Uint32Array(2 * 1024);
  #size = 0;

  /** @returns false when it was there already */
  add(high: number, low: number): boolean {
    if (!insert(this.#slots, high, low)) return false;
    this.#size += 1;
    if (this.#size * 10 > this.#slots.length * 3) this.#grow();
    return true;
  }

  has(high: number, low: number): boolean {
    const slots = this.#slots;
    const mask = slots.length / 2 - 1;
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const slotHigh = slots[2 * slot];
      const slotLow = slots[2 * slot + 1];
      if (slotHigh === high && slotLow === low) return true;
      if (slotHigh === 0 && slotLow === 0) return false;
    }
  }

  #grow(): void {
    const old = this.#slots;
    const slots = new Uint32Array(old.length * 2);
    for (let i = 0; i < old.length; i += 2) {
      const high = old[i] ?? 0;
      const low = old[i + 1] ?? 0;
      if (high !== 0 || low !== 0) insert(slots, high, low);
    }
    this.#slots = slots;
  }
}

function insert(slots: Uint32Array, high: number, low: number): boolean {
  const mask = slots.length / 2 - 1;
  for (let slot = low & mask; ; slot = (slot + 1) & mask) {
    const slotHigh = slots[2 * slot];
    const slotLow = slots[2 * slot + 1];
    if (slotHigh === high && slotLow === low) return false;
    if (slotHigh === 0 && slotLow === 0) {
      slots[2 * slot] = high;
      slots[2 * slot + 1] = low;
      return true;
    }
  }
}

/** Fingerprints that wait, each with the number of the row it comes from. */
export class WaitingKeys {
  #entries = new Uint32Array(3 * 256);
  #length = 0;

  add(high: number, low: number, row: number): void {
    if (this.#length + 3 > this.#entries.length) {
      const larger = new Uint32Array(this.#entries.length * 2);
      larger.set(this.#entries);
      this.#entries = larger;
    }
    this.#entries.set([high, low, row], this.#length);
    this.#length += 3;
  }

  *[Symbol.iterator](): Generator<readonly [high: number, low: number, row: number]> {
    for (let i = 0; i < this.#length; i += 3) {
      yield [this.#entries[i] ?? 0, this.#entries[i + 1] ?? 0, this.#entries[i + 2] ?? 0];
    }
  }
}
