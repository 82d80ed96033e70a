import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { AppError, ExitCode } from "../errors.ts";
import { startProgram } from "../postgres/child-program.ts";
import type { ClientProgram } from "../postgres/client-programs.ts";
import { feedProgram } from "../postgres/feed-program.ts";
import { storageError } from "../storage/local-file.ts";
import { addOffsets } from "./archive-offsets.ts";
import type { DumpFormat } from "./backup-name.ts";
import { type ProgramContext, startClient } from "./client-run.ts";
import { tempAdvice, unpackFolder } from "./dump-folder.ts";
import { forServer, setsTooMuch } from "./older-server.ts";
import { inTransaction, withTailLast } from "./one-transaction.ts";

export interface LoadOptions {
  readonly format: DumpFormat;
  /** Replaces what is there, in one transaction; else the database is new and empty. */
  readonly inPlace: boolean;
  readonly jobs: number;
  /** Of the server that it is loaded into. */
  readonly serverMajor: number;
}

/** A dump's bytes, or where it lies in a file or folder that several connections can read. */
export type DumpSource = { readonly bytes: AsyncIterable<Uint8Array> } | { readonly path: string };

/** True when the dump has to lie in files while it is loaded. */
export function needsFiles(options: Omit<LoadOptions, "serverMajor">): boolean {
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
  const { format, inPlace, jobs, serverMajor } = options;
  const args = [
    "--no-tablespaces",
    "--no-subscriptions",
    ...(inPlace ? ["--clean", "--if-exists"] : []),
  ];
  if (format === "plain" && "bytes" in source) {
    const script = forServer(source.bytes, serverMajor);
    await feed(context, "psql", psqlArguments, inPlace ? inTransaction(script) : script);
  } else if (setsTooMuch(context.programs.major, serverMajor)) {
    if (inPlace) args.push("--single-transaction");
    const script = forServer(withTailLast(scriptOf(context, source, args)), serverMajor);
    await feed(context, "psql", psqlArguments, script);
  } else {
    args.push("--exit-on-error");
    if (inPlace) args.push("--single-transaction");
    if ("path" in source) {
      if (!inPlace) args.push(`--jobs=${jobs}`);
      await feed(context, "pg_restore", [...args, source.path], undefined);
    } else {
      await feed(context, "pg_restore", [...args, "--format=custom"], source.bytes);
    }
  }
}

/** An archive as SQL, over one connection then. */
async function* scriptOf(
  context: ProgramContext,
  source: DumpSource,
  args: readonly string[],
): AsyncGenerator<Uint8Array> {
  const child = startProgram(
    join(context.programs.binDir, "pg_restore"),
    [...args, "--file=-", ...("path" in source ? [source.path] : ["--format=custom"])],
    {
      env: context.environment,
      stdin: "path" in source ? "ignore" : "pipe",
      signal: context.signal,
    },
  );
  try {
    const fed =
      "path" in source
        ? Promise.resolve(true)
        : feedProgram(child, source.bytes, { onEarlyEnd: "stop" });
    // A source that is not whole ends its reader too, which else would wait for the rest.
    fed.catch(() => child.stop());
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    const taken = await fed;
    await child.done;
    if (!taken) throw endedEarly("pg_restore");
  } finally {
    await child.stop();
  }
}

const psqlArguments = ["--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1"];

/**
 * Writes an archive into a folder, as pg_restore reads it.
 *
 * @param name how messages call the dump
 * @returns the path to give to it
 * @throws {AppError} exit 8 when the folder is full; what the source throws
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
  try {
    await pipeline(
      Readable.from(source, { objectMode: false, highWaterMark: 1 << 20 }),
      createWriteStream(path, { mode: 0o600, flags: "wx", highWaterMark: 1 << 20 }),
    );
    await addOffsets(path);
  } catch (error) {
    throw storageError(error, path, tempAdvice);
  }
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
