/** A small document as what stores write: a stream of one chunk. */
export async function* oneChunk(content: string | Uint8Array): AsyncGenerator<Uint8Array> {
  yield typeof content === "string" ? Buffer.from(content) : content;
}
