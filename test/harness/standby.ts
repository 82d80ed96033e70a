import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { serverAccount } from "../../src/postgres/server-account.ts";
import {
  fastSettings,
  startThrowawayServer,
  type ThrowawayServer,
} from "../../src/postgres/throwaway-server.ts";
import { withClient } from "./whole-digest.ts";

const run = promisify(execFile);
const patienceMs = 60_000;

/** A primary and its standby, which streams from it. */
export interface ServerPair {
  readonly primary: ThrowawayServer;
  readonly standby: ThrowawayServer;
  /** Of a database on the standby. */
  standbyUrl(database: string): string;
  /** Waits until the standby has what the primary has now. */
  caughtUp(): Promise<void>;
  /** Makes the standby a primary of its own. */
  promote(): Promise<void>;
  dispose(): Promise<void>;
}

export async function startServerPair(): Promise<ServerPair> {
  const options = {
    binDir: process.env.PGTENANT_PG_BIN,
    path: process.env.PATH,
    settings: {
      ...fastSettings,
      // A read in the way of what the primary has vacuumed is cancelled at once; nothing vacuums by itself.
      max_standby_streaming_delay: "0",
      autovacuum: "off",
    },
  };
  const primary = await startThrowawayServer(options);
  const standby = await startThrowawayServer(options);
  await standby.stop("immediate");
  await rm(standby.dataDir, { recursive: true });
  const account = await serverAccount();
  const { PATH = "" } = process.env;
  // Its standby's configuration holds the connection to the primary.
  await run(
    "pg_basebackup",
    ["-D", standby.dataDir, "-d", primary.url, "--write-recovery-conf", "--checkpoint=fast"],
    { env: { PATH }, ...(account && { uid: account.uid, gid: account.gid, cwd: "/" }) },
  );
  await standby.start();
  const standbyUrl = (database: string) =>
    primary.url
      .replace(`:${primary.port}/`, `:${standby.port}/`)
      .replace(/\/postgres$/, `/${database}`);
  const on = async (url: string, sql: string) =>
    await withClient(url, async (client) => (await client.query<{ value: string }>(sql)).rows[0]);
  return {
    primary,
    standby,
    standbyUrl,
    async caughtUp() {
      const now = await on(primary.url, "SELECT pg_current_wal_lsn()::text AS value");
      const deadline = performance.now() + patienceMs;
      for (;;) {
        const there = await on(
          standbyUrl("postgres"),
          `SELECT pg_last_wal_replay_lsn() >= '${now?.value}' AS value`,
        );
        if (String(there?.value) === "true") return;
        if (performance.now() > deadline) throw new Error("the standby does not catch up");
        await sleep(50);
      }
    },
    async promote() {
      await on(standbyUrl("postgres"), "SELECT pg_promote() AS value");
    },
    async dispose() {
      await standby.dispose();
      await primary.dispose();
    },
  };
}
