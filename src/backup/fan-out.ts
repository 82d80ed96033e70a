/** So much may wait for a reader, in bytes, before the source has to wait. */
const queueBytes = 4 << 20;

/**
 * Gives the same bytes to several readers, each at its own speed as long as none falls more than
 * a few megabytes behind. A reader that fails or stops is left behind, and the others go on; when
 * all have, the source is stopped. An error of the source reaches every reader.
 *
 * @param readers each reads its branch to the end; their failures are given back, none is thrown
 * @returns what became of each reader, in their order
 */
export async function fanOut<T>(
  source: AsyncIterable<Uint8Array>,
  readers: readonly ((bytes: AsyncIterable<Uint8Array>) => Promise<T>)[],
): Promise<readonly PromiseSettledResult<T>[]> {
  const queues = readers.map(() => new Queue());
  const reading = readers.map(async (read, i) => {
    const queue = queues[i];
    if (queue === undefined) throw new Error("a reader has no queue");
    try {
      return await read(queue);
    } finally {
      queue.leave();
    }
  });
  const all = Promise.allSettled(reading);
  try {
    for await (const chunk of source) {
      await Promise.all(queues.map((queue) => queue.put(chunk)));
      if (queues.every((queue) => queue.left)) break;
    }
    for (const queue of queues) queue.end();
  } catch (error) {
    for (const queue of queues) queue.fail(error);
  }
  return await all;
}

/** A bounded queue between one writer and one reader. */
class Queue implements AsyncIterable<Uint8Array> {
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #left = false;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  /** True once the reader does not read any more. */
  get left(): boolean {
    return this.#left;
  }

  async put(chunk: Uint8Array): Promise<void> {
    if (this.#left) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    this.#wakeReader?.();
    while (this.#bytes > queueBytes && !this.#left) {
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve;
      });
    }
  }

  end(): void {
    this.#ended = true;
    this.#wakeReader?.();
  }

  fail(error: unknown): void {
    this.#failure = { error };
    this.#wakeReader?.();
  }

  leave(): void {
    this.#left = true;
    this.#chunks = [];
    this.#wakeWriter?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        if (this.#failure !== undefined) throw this.#failure.error;
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          this.#bytes -= chunk.length;
          this.#wakeWriter?.();
          yield chunk;
        } else if (this.#ended) return;
        else {
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
        }
      }
    } finally {
      this.leave();
    }
  }
}
