import { addAbortSignal, type Readable } from "node:stream";
import { readWholeFile } from "./local-file.ts";

export interface Input {
  /** How messages call it. */
  readonly name: string;
  readonly bytes: Readable;
  /** How much of it was read, 0 to 1; undefined where the size is not known. */
  readonly shareRead: (() => number) | undefined;
}

/**
 * The bytes of a file, or of the standard input for `-`; they end with an error when the signal
 * fires.
 *
 * @throws {AppError} exit 2 when there is no such file or it cannot be opened
 */
export async function openInput(path: string, signal: AbortSignal): Promise<Input> {
  if (path === "-") {
    addAbortSignal(signal, process.stdin);
    return { name: "the standard input", bytes: process.stdin, shareRead: undefined };
  }
  const { stream, size } = await readWholeFile(path);
  addAbortSignal(signal, stream);
  return {
    name: `"${path}"`,
    bytes: stream,
    shareRead: size > 0 ? () => stream.bytesRead / size : undefined,
  };
}
