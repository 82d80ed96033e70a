import { createHash } from "node:crypto";

/** What was found of a stream, once all of it has been read. */
export interface StreamFacts {
  readonly bytes: number;
  readonly sha256: string;
}

/** Hashes what passes through to a reader, which may stop early, and can read what nobody wanted. */
export class HashedStream {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #sha256 = createHash("sha256");
  #bytes = 0;
  #ended = false;
  #facts: StreamFacts | undefined;

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#iterator = stream[Symbol.asyncIterator]();
  }

  /** Leaving it early does not close what is below, so that `facts` can read on. */
  async *bytes(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = await this.#next();
      if (chunk === undefined) return;
      yield chunk;
    }
  }

  /** Reads what is left. */
  async facts(): Promise<StreamFacts> {
    while ((await this.#next()) !== undefined);
    this.#facts ??= { bytes: this.#bytes, sha256: this.#sha256.digest("hex") };
    return this.#facts;
  }

  async close(): Promise<void> {
    this.#ended = true;
    await this.#iterator.return?.();
  }

  async #next(): Promise<Uint8Array | undefined> {
    if (this.#ended) return undefined;
    const next = await this.#iterator.next();
    if (next.done === true) {
      this.#ended = true;
      return undefined;
    }
    this.#sha256.update(next.value);
    this.#bytes += next.value.length;
    return next.value;
  }
}
