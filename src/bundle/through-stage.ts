import { Readable, type Transform } from "node:stream";
import { inBlocks } from "./blocks.ts";

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

/**
 * The same for a stage that works in another thread: it gets blocks of one size, and while it
 * works on one the next is gathered, in memory that is used again and again. Fresh memory for a
 * gigabyte costs as much time as compressing it.
 */
export async function* blocksThroughStage(
  source: AsyncIterable<Uint8Array>,
  size: number,
  stage: Transform,
): AsyncGenerator<Uint8Array> {
  const spare: Buffer[] = [];
  const write = (bytes: Buffer) =>
    new Promise<void>((resolve, reject) => {
      // A write that is under way when the stage is destroyed is never answered.
      const onClose = () => reject(new Error("the stage was closed"));
      stage.once("close", onClose);
      stage.write(bytes, (error) => {
        stage.off("close", onClose);
        if (error) reject(error);
        else resolve();
      });
    });
  const feed = async () => {
    let writing: Promise<void> | undefined;
    for await (const { bytes } of inBlocks(source, size, () => spare.pop())) {
      await writing;
      writing = write(bytes).then(() => {
        if (bytes.length === size) spare.push(bytes);
      });
      writing.catch(() => undefined); // it is awaited in the next round
    }
    await writing;
    stage.end();
  };
  feed().catch((error: unknown) => {
    stage.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  try {
    yield* stage as AsyncIterable<Uint8Array>;
  } finally {
    stage.destroy();
  }
}
