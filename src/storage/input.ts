import { addAbortSignal, type Readable } from "node:stream";
import { readWholeFile } from "./local-file.ts";

export interface Input {
  /** How messages call it. */
  readonly name: string;
  readonly bytes: Readable;
}

/**
 * The bytes of a file, or of the standard input for `-`; they end with an error when the signal
 * fires.
 *
 * @throws {AppError} exit 2 when there is no such file or it cannot be opened
 */
export async function openInput(path: string, signal: AbortSignal): Promise<Input> {
  const bytes = path === "-" ? process.stdin : await readWholeFile(path);
  addAbortSignal(signal, bytes);
  return { name: path === "-" ? "the standard input" : `"${path}"`, bytes };
}
