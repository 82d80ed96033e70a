import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { AppError, ExitCode } from "../errors.ts";
import { versionedFolders } from "./versioned-folders.ts";

export type ClientProgram = "pg_dump" | "pg_dumpall" | "pg_restore" | "psql";

/** PostgreSQL's client programs of one version, all from one folder. */
export interface ClientPrograms {
  readonly binDir: string;
  /** As `pg_dump --version` prints it, such as `15.18`. */
  readonly version: string;
  readonly major: number;
}

export interface FindClientProgramsOptions {
  /** Their folder (`PGTENANT_PG_BIN`); no other is then considered. */
  readonly binDir?: string | undefined;
  /** The `PATH` to search behind the usual folders. */
  readonly path?: string | undefined;
  /** The server's major version. A pg_dump reads servers of its own version and older ones. */
  readonly serverMajor: number;
  /** Takes the newest of those, for an archive that nobody knows the version of. */
  readonly newest?: boolean;
}

const oldestMajor = 14;

/**
 * The programs of the server's own version where they are installed, else the nearest newer ones:
 * what a newer pg_dump writes, an older server may not take back.
 *
 * @throws {AppError} exit 7, `no-client-programs` when there are none, `client-programs-too-old`
 *   when all are older than the server; the details say what was found
 */
export async function findClientPrograms(
  options: FindClientProgramsOptions,
): Promise<ClientPrograms> {
  const found: ClientPrograms[] = [];
  for await (const folder of places(options)) {
    const programs = await probe(folder);
    if (programs === undefined) continue;
    found.push(programs);
    if (programs.major === options.serverMajor && options.newest !== true) return programs;
  }
  const able = found
    .filter((one) => one.major >= options.serverMajor)
    .sort((a, b) => a.major - b.major);
  const chosen = able.at(options.newest === true ? -1 : 0);
  if (chosen !== undefined) return chosen;
  const details = found.map((one) => `${one.version} in ${one.binDir}`);
  const hint = `Install PostgreSQL's client programs of version ${options.serverMajor} (on Debian: postgresql-client-${options.serverMajor}), or set PGTENANT_PG_BIN to their folder.`;
  const [newest] = found.sort((a, b) => b.major - a.major);
  throw newest === undefined
    ? new AppError(
        "no-client-programs",
        ExitCode.database,
        options.binDir === undefined
          ? "no pg_dump, pg_dumpall, pg_restore and psql were found"
          : `no pg_dump, pg_dumpall, pg_restore and psql were found in "${options.binDir}"`,
        { hint },
      )
    : new AppError(
        "client-programs-too-old",
        ExitCode.database,
        `pg_dump ${newest.version} is older than the server, PostgreSQL ${options.serverMajor}, and cannot dump it`,
        { hint, details },
      );
}

async function* places(options: FindClientProgramsOptions): AsyncGenerator<string> {
  if (options.binDir !== undefined) {
    yield options.binDir;
    return;
  }
  for (const { binDir } of await versionedFolders(oldestMajor)) yield binDir;
  for (const folder of (options.path ?? "").split(delimiter)) if (folder !== "") yield folder;
}

/** Undefined for a folder without them. */
async function probe(binDir: string): Promise<ClientPrograms | undefined> {
  try {
    const all: readonly ClientProgram[] = ["pg_dump", "pg_dumpall", "pg_restore", "psql"];
    await Promise.all(all.map((program) => access(join(binDir, program), constants.X_OK)));
    const { stdout } = await promisify(execFile)(join(binDir, "pg_dump"), ["--version"], {
      cwd: "/",
      env: { LC_ALL: "C", PATH: "/usr/bin:/bin" },
      timeout: 30_000,
    });
    const version = /\(PostgreSQL\) (\d+\S*)/.exec(stdout)?.[1];
    return version === undefined
      ? undefined
      : { binDir, version, major: Number.parseInt(version, 10) };
  } catch {
    return undefined;
  }
}
