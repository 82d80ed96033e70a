import { hostname } from "node:os";
import { sql } from "kysely";
import { setKeepalives } from "../postgres/keepalives.ts";
import { withMaintenanceSession } from "../postgres/maintenance-session.ts";
import type { ConnectionOptions, Session } from "../postgres/session.ts";
import { abortError } from "../storage/interruption.ts";
import type { JobKind } from "./schedule-view.ts";

/** A slot that this replica has, and no other one. */
export interface SlotClaim {
  /** False after its connection was lost: another replica may have it by now. */
  readonly held: boolean;
  /** Of its session on the server. */
  readonly pid?: number;
  /** Gives it back when replicas whose clocks are late have seen it taken. */
  finish(): void;
  /** Gives it back at once: another replica may have it. */
  release(): void;
}

/** Who has a slot: for people, and its session's process on the server. */
export interface TakenSlot {
  readonly takenBy: string;
  readonly pid?: number;
}

/** Says which replica has a slot. */
export interface SlotClaims {
  /**
   * @returns the claim, or who else has it
   * @throws {AppError} exit 7 when the server cannot be reached; AbortError when the signal fires
   */
  claim(job: JobKind, slot: Date, signal?: AbortSignal): Promise<SlotClaim | TakenSlot>;
  /** Gives back everything at once, and whatever is still being claimed. */
  close(): Promise<void>;
}

/** Clocks may differ by this much, and a replica may be late by as much. */
const graceMs = 5 * 60_000;
/** A server that does not answer is not waited for in the end. */
const closingMs = 1_000;
/** "pgtenant" again: keeps our keys apart from those that others hash. */
const keySeed = 0x7067746e;

/**
 * Claims through advisory locks in the maintenance database, keyed by database, job and slot. No
 * table is made in the operator's database: what outlives a claim is in each replica's journal
 * and in the backups' manifests. A replica that dies loses its claims with its sessions.
 */
export function databaseClaims(
  { databaseUrl, pooler }: Pick<ConnectionOptions, "databaseUrl" | "pooler">,
  database: string,
  options: { readonly graceMs?: number } = {},
): SlotClaims {
  const closing = new AbortController();
  const sessions = new Set<Promise<void>>();
  const grace = options.graceMs ?? graceMs;

  return {
    async claim(job, slot, signal) {
      const key = `pgtenant schedule: ${database}, ${job}, ${slot.toISOString()}`;
      const applicationName = `pgtenant schedule ${job} on ${hostname()}`
        .replace(/[^\x20-\x7e]/g, "?")
        .slice(0, 63);
      const givenUp = AbortSignal.any([closing.signal, ...(signal === undefined ? [] : [signal])]);
      const answer = Promise.withResolvers<SlotClaim | TakenSlot>();
      const giveUp = () => answer.reject(abortError(givenUp));
      givenUp.addEventListener("abort", giveUp, { once: true });
      if (givenUp.aborted) giveUp();
      // Its end does not cut the session: what runs under a claim has to clear up first.
      const session = withMaintenanceSession(
        { databaseUrl, applicationName, pooler },
        database,
        async (open) => {
          if (givenUp.aborted) return;
          const pid = await tryLock(open, key);
          if (pid === undefined) {
            answer.resolve(await holderOf(open, key));
            return;
          }
          if (givenUp.aborted) return;
          await new Promise<void>((resolve) => {
            answer.resolve(claimOf(open, pid, closing.signal, grace, resolve));
          });
        },
      ).catch((error: unknown) => answer.reject(error));
      sessions.add(session);
      void session.finally(() => sessions.delete(session));
      try {
        return await answer.promise;
      } finally {
        givenUp.removeEventListener("abort", giveUp);
      }
    },
    async close() {
      closing.abort();
      const patience = new Promise((resolve) => setTimeout(resolve, closingMs).unref());
      await Promise.race([Promise.allSettled(sessions), patience]);
    },
  };
}

function claimOf(
  session: Session,
  pid: number,
  closing: AbortSignal,
  grace: number,
  giveBack: () => void,
): SlotClaim {
  const claimedAt = performance.now();
  let held = true;
  let timer: NodeJS.Timeout | undefined;
  const release = () => {
    held = false;
    clearTimeout(timer);
    session.client.removeListener("end", release);
    closing.removeEventListener("abort", release);
    giveBack(); // the lock goes with the session
  };
  session.client.once("end", release);
  closing.addEventListener("abort", release, { once: true });
  if (closing.aborted) release();
  return {
    pid,
    get held() {
      return held;
    },
    finish() {
      const left = claimedAt + grace - performance.now();
      if (left <= 0) release();
      else timer = setTimeout(release, left).unref();
    },
    release,
  };
}

/** The process of our session on the server, when it has the lock. */
async function tryLock(session: Session, key: string): Promise<number | undefined> {
  await setKeepalives(session);
  const { rows } = await sql<{ locked: boolean; pid: number }>`
    SELECT pg_try_advisory_lock(hashtextextended(${key}, ${keySeed})) AS locked,
           pg_backend_pid() AS pid`.execute(session.db);
  const [row] = rows;
  return row?.locked === true ? row.pid : undefined;
}

async function holderOf({ db }: Session, key: string): Promise<TakenSlot> {
  const { rows } = await sql<{ holder: string; pid: number }>`
    SELECT k.pid, a.application_name || coalesce(' at ' || a.client_addr::text, '') AS holder
      FROM pg_locks k JOIN pg_stat_activity a USING (pid)
     WHERE k.locktype = 'advisory' AND k.granted AND k.objsubid = 1 /*one key of 64 bits*/
       AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND (k.classid::int8 << 32 | k.objid::int8)
           = hashtextextended(${key}, ${keySeed})`.execute(db);
  const [row] = rows;
  return row === undefined ? { takenBy: "another replica" } : { takenBy: row.holder, pid: row.pid };
}
