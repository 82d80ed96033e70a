/** One block of a stream. */
export interface Block {
  readonly bytes: Buffer;
  /** True for exactly one block, the last, which may be empty only when it is also the first. */
  readonly last: boolean;
}

/**
 * Regroups chunks into blocks of one size; the last may be shorter. A block's memory is its own,
 * unless `spare` hands back that of a block which nobody uses any more.
 */
export async function* inBlocks(
  source: AsyncIterable<Uint8Array>,
  size: number,
  spare: () => Buffer | undefined = () => undefined,
): AsyncGenerator<Block> {
  const fresh = () => spare() ?? Buffer.allocUnsafe(size);
  let block = fresh();
  let used = 0;
  for await (const chunk of source) {
    for (let start = 0; start < chunk.length; ) {
      // Only now is it known that the full block is not the last.
      if (used === size) {
        yield { bytes: block, last: false };
        block = fresh();
        used = 0;
      }
      const part = chunk.subarray(start, start + size - used);
      block.set(part, used);
      used += part.length;
      start += part.length;
    }
  }
  yield { bytes: block.subarray(0, used), last: true };
}
