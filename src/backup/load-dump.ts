import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { AppError, ExitCode } from "../errors.ts";
import type { ClientProgram } from "../postgres/client-programs.ts";
import { feedProgram } from "../postgres/feed-program.ts";
import { addOffsets } from "./archive-offsets.ts";
import type { DumpFormat } from "./backup-name.ts";
import { type ProgramContext, startClient } from "./client-run.ts";
import { unpackFolder } from "./dump-folder.ts";

export interface LoadOptions {
  readonly format: DumpFormat;
  /** Replaces what is there, in one transaction; else the database is new and empty. */
  readonly inPlace: boolean;
  readonly jobs: number;
}

/** A dump's bytes, or where it lies in a file or folder that several connections can read. */
export type DumpSource = { readonly bytes: AsyncIterable<Uint8Array> } | { readonly path: string };

/** True when the dump has to lie in files while it is loaded. */
export function needsFiles(options: LoadOptions): boolean {
  return (
    options.format === "directory" ||
    (options.format === "custom" && options.jobs > 1 && !options.inPlace)
  );
}

/**
 * Loads a dump; the first error ends it. In place, either all of it is committed or nothing, also
 * when we are killed: psql gets its COMMIT only behind the end of a dump that was found whole.
 *
 * @param source its bytes throw when they are not whole
 * @throws {AppError} exit 7 when the program fails
 */
export async function loadDump(
  context: ProgramContext,
  source: DumpSource,
  options: LoadOptions,
): Promise<void> {
  const args = ["--exit-on-error", "--no-tablespaces"];
  if (options.inPlace) args.push("--clean", "--if-exists", "--single-transaction");
  if ("path" in source) {
    if (!options.inPlace) args.push(`--jobs=${options.jobs}`);
    await feed(context, "pg_restore", [...args, source.path], undefined);
  } else if (options.format === "custom") {
    await feed(context, "pg_restore", [...args, "--format=custom"], source.bytes);
  } else {
    const script = options.inPlace ? inTransaction(source.bytes) : source.bytes;
    await feed(context, "psql", psqlArguments, script);
  }
}

const psqlArguments = ["--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1"];

async function* inTransaction(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield Buffer.from("BEGIN;\n");
  yield* source;
  yield Buffer.from("\nCOMMIT;\n");
}

/**
 * Writes an archive into a folder, as pg_restore reads it.
 *
 * @param name how messages call the dump
 * @returns the path to give to it
 */
export async function unpackArchive(
  source: AsyncIterable<Uint8Array>,
  format: "custom" | "directory",
  folder: string,
  name: string,
): Promise<string> {
  if (format === "directory") {
    await unpackFolder(source, folder, name);
    return folder;
  }
  const path = join(folder, "archive.dump");
  await pipeline(
    Readable.from(source, { objectMode: false, highWaterMark: 1 << 20 }),
    createWriteStream(path, { mode: 0o600, flags: "wx", highWaterMark: 1 << 20 }),
  );
  await addOffsets(path);
  return path;
}

async function feed(
  context: ProgramContext,
  program: ClientProgram,
  args: readonly string[],
  source: AsyncIterable<Uint8Array> | undefined,
): Promise<void> {
  const child = startClient(context, program, args, source === undefined ? "ignore" : "pipe");
  child.stdout.resume();
  try {
    const taken =
      source === undefined || (await feedProgram(child, source, { onEarlyEnd: "stop" }));
    await child.done;
    // As after \q in a script of somebody else's.
    if (!taken) throw endedEarly(program);
  } finally {
    await child.stop();
  }
}

function endedEarly(program: ClientProgram): AppError {
  return new AppError(
    "dump-not-taken",
    ExitCode.invalidInput,
    `${program} ended well before it had read all of the dump`,
    { hint: "A command in it, such as \\q, ends it: take another backup." },
  );
}
