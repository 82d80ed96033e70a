import { readdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { AppError, ExitCode } from "../errors.ts";
import { openTempFolder } from "../postgres/temp-folder.ts";
import type { DumpFormat } from "./backup-name.ts";
import { type ProgramContext, runToEnd, startClient } from "./client-run.ts";
import { packFolder } from "./dump-folder.ts";
import { endsWithMarker } from "./dump-marker.ts";

export interface DumpOptions {
  readonly format: DumpFormat;
  /** The name of the snapshot to dump. */
  readonly snapshot: string;
  /** Parallel connections of the directory format. */
  readonly jobs: number | undefined;
  /** Where the directory format lies until it is packed; the system's own folder by default. */
  readonly tempFolder: string | undefined;
}

/** A lock that another session holds on a table is waited for so long. */
const lockWait = "10min";

/**
 * The bytes of pg_dump: SQL, an archive of the custom format, or a tar of the directory format; all
 * uncompressed, since what comes behind compresses. Ends without an error only when pg_dump did,
 * and what it wrote has its end.
 *
 * @throws {AppError} exit 7 when pg_dump fails or is cut short
 */
export async function* dumpDatabase(
  context: ProgramContext,
  options: DumpOptions,
): AsyncGenerator<Uint8Array> {
  const args = [
    `--format=${options.format}`,
    "--no-tablespaces",
    // A copy of it could take the changes of the original, and no database with one can be dropped.
    "--no-subscriptions",
    `--lock-wait-timeout=${lockWait}`,
    `--snapshot=${options.snapshot}`,
  ];
  switch (options.format) {
    case "plain":
      // So that it restores into a database that is not empty, as the guide pipes it into psql.
      yield* endsWithMarker(
        runToEnd(context, "pg_dump", [...args, "--clean", "--if-exists"]),
        "the dump",
        ExitCode.database,
      );
      return;
    case "custom":
      yield* runToEnd(context, "pg_dump", [...args, "--compress=0"]);
      return;
    case "directory":
      yield* dumpFolder(context, args, options);
      return;
  }
}

async function* dumpFolder(
  context: ProgramContext,
  args: readonly string[],
  options: DumpOptions,
): AsyncGenerator<Uint8Array> {
  const jobs = options.jobs ?? Math.min(4, availableParallelism());
  const folder = await openTempFolder(options.tempFolder, context.environment.PATH);
  try {
    const target = join(folder.path, "dump");
    const program = startClient(
      context,
      "pg_dump",
      [...args, "--compress=0", `--jobs=${jobs}`, `--file=${target}`],
      "ignore",
    );
    program.stdout.resume();
    await program.done;
    if (!(await readdir(target)).includes("toc.dat")) throw incomplete();
    yield* packFolder(target);
  } finally {
    await folder.remove();
  }
}

function incomplete(): AppError {
  return new AppError(
    "incomplete-dump",
    ExitCode.database,
    "pg_dump ended without an error, but its dump has no table of contents",
    { hint: "Run the command again; see the server's log for what happened." },
  );
}
