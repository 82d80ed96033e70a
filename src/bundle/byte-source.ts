/**
 * A stream of bytes that can be looked into before it is read. Whoever makes one closes it, or
 * reads `rest` to its end or returns it.
 */
export class ByteSource {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #held: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  /** The next bytes, which stay: as many as asked for at least, less only when there are no more. */
  async peek(bytes: number): Promise<Buffer> {
    while (this.#bytes < bytes && !this.#ended) {
      const next = await this.#iterator.next();
      if (next.done === true) this.#ended = true;
      else {
        this.#held.push(next.value);
        this.#bytes += next.value.length;
      }
    }
    const head = Buffer.concat(this.#held, this.#bytes);
    this.#held = head.length === 0 ? [] : [head];
    return head;
  }

  /** True when nothing follows what `peek` has given. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Removes bytes that `peek` has given. */
  skip(bytes: number): void {
    const rest = Buffer.concat(this.#held, this.#bytes).subarray(bytes);
    this.#held = rest.length === 0 ? [] : [rest];
    this.#bytes = rest.length;
  }

  async *rest(): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#held.splice(0);
      while (!this.#ended) {
        const next = await this.#iterator.next();
        if (next.done === true) this.#ended = true;
        else yield next.value;
      }
    } finally {
      await this.close();
    }
  }

  /** Lets go of the stream, wherever it is. */
  async close(): Promise<void> {
    this.#ended = true;
    await this.#iterator.return?.();
  }
}
