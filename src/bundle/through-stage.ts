import { Readable, type Transform } from "node:stream";

/** The bytes that a stage makes of a source. Whoever stops early releases both. */
export async function* throughStage(
  source: AsyncIterable<Uint8Array>,
  stage: Transform,
): AsyncGenerator<Uint8Array> {
  const input = Readable.from(source, { objectMode: false, highWaterMark: 1 << 20 });
  input.on("error", (error) => stage.destroy(error));
  try {
    yield* input.pipe(stage) as AsyncIterable<Uint8Array>;
  } finally {
    input.destroy();
    stage.destroy();
  }
}
