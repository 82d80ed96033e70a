import { access, constants } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import { type ConnectionOptions, withSession } from "../postgres/session.ts";

type Server = Pick<ConnectionOptions, "databaseUrl" | "pooler">;

const patienceMs = 2_000;

/**
 * Whether a backup could begin: the database answers and the folder can be written, both within
 * two seconds. It never throws, and whoever asks meanwhile gets the same answer.
 */
export function readinessOf(server: Server, folder: string): () => Promise<boolean> {
  let running: Promise<boolean> | undefined;
  return () => {
    running ??= bounded(server, folder).finally(() => {
      running = undefined;
    });
    return running;
  };
}

async function bounded(server: Server, folder: string): Promise<boolean> {
  const stop = new AbortController();
  const both = Promise.all([answers(server, stop.signal), writable(folder)]);
  const result = await Promise.race([
    both.then(
      () => true,
      () => false,
    ),
    sleep(patienceMs, false, { signal: stop.signal }).catch(() => false),
  ]);
  stop.abort();
  return result;
}

async function answers({ databaseUrl, pooler }: Server, signal: AbortSignal): Promise<void> {
  const connection = {
    databaseUrl,
    pooler,
    applicationName: "pgtenant ready",
    signal,
    connectTimeoutMs: patienceMs,
    startupPatienceMs: 0,
  };
  await withSession(connection, ({ db }) => sql`SELECT 1`.execute(db));
}

/** The first backup makes the folder, so until then its parent counts. */
async function writable(folder: string): Promise<void> {
  try {
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    if (!missing || dirname(folder) === folder) throw error;
    await writable(dirname(folder));
  }
}
