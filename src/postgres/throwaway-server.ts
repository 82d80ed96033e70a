import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { AppError, ExitCode } from "../errors.ts";
import { findServerPrograms, type ServerSource } from "./find-server-programs.ts";
import { freePort } from "./free-port.ts";
import { Postmaster } from "./postmaster.ts";
import { giveTo, type ServerAccount, serverAccount } from "./server-account.ts";
import { makeThrowawayFolder } from "./throwaway-folder.ts";

export interface ThrowawayServerOptions {
  /** The folder of initdb and postgres (`PGTENANT_PG_BIN`); no other is then considered. */
  readonly binDir?: string | undefined;
  /** The `PATH` to search for them, before the usual folders. */
  readonly path?: string | undefined;
  /** Only programs of this source; by default installed ones come before embedded ones. */
  readonly source?: ServerSource | undefined;
  /** Further lines of postgresql.conf: name to value, without quotes. */
  readonly settings?: Readonly<Record<string, string>> | undefined;
  /** The locale for initdb; `C` by default. The encoding is always UTF-8. */
  readonly locale?: string | undefined;
  /** How long a start may take, crash recovery included; 60,000 by default. */
  readonly startTimeoutMs?: number | undefined;
}

/**
 * Settings for a server whose data nobody will miss: nothing waits for the disk. Not for tests
 * that crash the server itself, since a crash may then leave it beyond recovery.
 */
export const fastSettings: Readonly<Record<string, string>> = Object.freeze({
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
});

/** For a server whose times are to be those of one in earnest, whatever its defaults become. */
export const durableSettings: Readonly<Record<string, string>> = Object.freeze({
  fsync: "on",
  synchronous_commit: "on",
  full_page_writes: "on",
});

/** A PostgreSQL server of our own, in a temporary folder, on 127.0.0.1 only. */
export interface ThrowawayServer {
  /** Of the superuser and its database: `postgres://postgres:…@127.0.0.1:port/postgres`. */
  readonly url: string;
  readonly port: number;
  /** As PostgreSQL prints it, such as `15.18`. */
  readonly version: string;
  readonly source: ServerSource;
  readonly dataDir: string;
  /** The file that the server logs to. */
  readonly logFile: string;
  /**
   * Stops the server and waits until it has ended: `fast` rolls back what is open and writes a
   * checkpoint, `immediate` leaves the rest to recovery. The data stays; does nothing if stopped.
   */
  stop(mode: "fast" | "immediate"): Promise<void>;
  /**
   * Starts it again after `stop` or `kill`, on the same port; does nothing if it runs.
   *
   * @throws AppError `no-postgres` (7) when it does not start; the details are the end of its log.
   */
  start(): Promise<void>;
  /** Ends the server and its backends with SIGKILL, as a crash would, and waits for that. */
  kill(): Promise<void>;
  /** Stops the server for good and removes its folder. */
  dispose(): Promise<void>;
}

/**
 * Runs `work` with a throwaway server, and stops and removes it afterwards, whatever happens; see
 * {@link startThrowawayServer}.
 */
export async function withThrowawayServer<T>(
  options: ThrowawayServerOptions,
  work: (server: ThrowawayServer) => Promise<T>,
): Promise<T> {
  const server = await startThrowawayServer(options);
  try {
    return await work(server);
  } finally {
    await server.dispose();
  }
}

/**
 * Makes a new database cluster in a temporary folder and starts it, which takes 1–2 s. The
 * superuser is `postgres` with a random password, over TCP on 127.0.0.1 and a free port; there is
 * no Unix socket. As root, the server runs as the user `postgres` or `nobody`.
 *
 * The caller has to `dispose` of it. If our process ends before that, by `process.exit` or by any
 * signal, SIGKILL included, then the server is ended and the folder removed all the same.
 *
 * @throws AppError `no-postgres` (7) when there are no programs, or they fail; nothing is then
 *   left behind.
 */
export async function startThrowawayServer(
  options: ThrowawayServerOptions = {},
): Promise<ThrowawayServer> {
  const account = await serverAccount();
  const searchPath = options.path ?? "/usr/local/bin:/usr/bin:/bin";
  const folder = await makeThrowawayFolder(searchPath);
  try {
    await giveTo(account, folder.path);
    const programs = await findServerPrograms({ ...options, account, workDir: folder.path });
    const cluster: Cluster = {
      folder: folder.path,
      dataDir: folder.dataDir,
      binDir: programs.binDir,
      account,
      // Nothing of ours: PGDATA, PGPORT and the like would lead the programs elsewhere.
      env: { PATH: searchPath, LC_ALL: "C", TZ: "UTC" },
    };
    const password = await initialise(cluster, options);
    const logFile = join(folder.path, "server.log");
    const { postmaster, port } = await startOnFreePort(cluster, logFile, options);
    return Object.freeze({
      url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
      port,
      version: programs.version,
      source: programs.source,
      dataDir: folder.dataDir,
      logFile,
      stop: (mode: "fast" | "immediate") => postmaster.stop(mode),
      start: () => postmaster.start(),
      kill: () => postmaster.kill(),
      async dispose() {
        await postmaster.stop("immediate");
        await folder.remove();
      },
    });
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

interface Cluster {
  readonly folder: string;
  readonly dataDir: string;
  readonly binDir: string;
  readonly account: ServerAccount | undefined;
  readonly env: Readonly<Record<string, string>>;
}

/** Runs initdb and writes the settings; gives the superuser's password. */
async function initialise(cluster: Cluster, options: ThrowawayServerOptions): Promise<string> {
  const { folder, dataDir, account, env } = cluster;
  const password = randomBytes(24).toString("base64url");
  const passwordFile = join(folder, "password");
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  await giveTo(account, passwordFile);
  const args = ["-D", dataDir, "-U", "postgres", "-E", "UTF8", "-A", "scram-sha-256", "--no-sync"];
  args.push(`--locale=${options.locale ?? "C"}`, `--pwfile=${passwordFile}`);
  try {
    await promisify(execFile)(join(cluster.binDir, "initdb"), args, {
      cwd: folder,
      env: { ...env },
      ...(account && { uid: account.uid, gid: account.gid }),
    });
  } catch (error) {
    throw new AppError(
      "no-postgres",
      ExitCode.database,
      "initdb could not make a database cluster",
      {
        hint: `${account ? `It ran as the user "${account.name}", who must be able to enter "${folder}". ` : ""}Set TMPDIR to choose another place.`,
        details: (error instanceof Error ? error.message : String(error))
          .trim()
          .split("\n")
          .slice(-20),
        cause: error,
      },
    );
  } finally {
    await rm(passwordFile, { force: true });
  }
  const settings = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    ...options.settings,
  };
  const lines = Object.entries(settings).map(
    ([name, value]) => `${name} = '${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}'\n`,
  );
  await appendFile(join(dataDir, "postgresql.conf"), lines.join(""));
  return password;
}

/** PostgreSQL cannot choose a free port itself; between our choice and its use, others may. */
async function startOnFreePort(
  cluster: Cluster,
  logFile: string,
  options: ThrowawayServerOptions,
): Promise<{ postmaster: Postmaster; port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const postmaster = new Postmaster({
      program: join(cluster.binDir, "postgres"),
      dataDir: cluster.dataDir,
      logFile,
      port,
      account: cluster.account,
      env: cluster.env,
      startTimeoutMs: options.startTimeoutMs ?? 60_000,
    });
    try {
      await postmaster.start();
      return { postmaster, port };
    } catch (error) {
      const taken = error instanceof AppError && error.details.some((line) => /bind/.test(line));
      if (!taken || attempt === 5) throw error;
    }
  }
}
