import type { Writable } from "node:stream";
import type { ChildProgram } from "./child-program.ts";

export interface FeedOptions {
  /**
   * What is done when the program ends before it has read everything: `stop` leaves the rest
   * unread, `read-on` reads it, since what is wrong with a source may show at its end only.
   */
  readonly onEarlyEnd: "stop" | "read-on";
}

/**
 * Gives a program the bytes of a source for its standard input. The last chunk is held back until
 * the source has ended well: a program that was given everything was given what is whole, and
 * cannot have ended before that was known.
 *
 * Whoever calls stops the program when this throws: its input is then left open, so that it does
 * not take what it has got so far for everything.
 *
 * @returns whether it was still reading in the end
 * @throws what the source throws
 */
export async function feedProgram(
  program: ChildProgram,
  source: AsyncIterable<Uint8Array>,
  options: FeedOptions,
): Promise<boolean> {
  const { stdin } = program;
  if (stdin === undefined) throw new Error("the program has no standard input");
  let writing = Promise.resolve(true);
  let held: Uint8Array | undefined;
  for await (const chunk of source) {
    if (!(await writing) && options.onEarlyEnd === "stop") return false;
    if (held !== undefined) writing = write(stdin, held);
    held = chunk;
  }
  let taken = await writing;
  if (held !== undefined) taken = await write(stdin, held);
  stdin.end();
  return taken;
}

/** Resolves when a chunk is out of our hands; to false when nobody takes it any more. */
function write(stdin: Writable, chunk: Uint8Array): Promise<boolean> {
  return new Promise((resolve) => {
    stdin.write(chunk, (error) => resolve(error === null || error === undefined));
  });
}
