import { setMaxListeners } from "node:events";
import { sql } from "kysely";
import { type ConnectionOptions, type Session, withSession } from "../../postgres/session.ts";
import { shareSnapshot } from "../../postgres/share-snapshot.ts";
import type { Selection } from "../import-types.ts";
import type { OpenSchema } from "../open-schema.ts";
import { type PartChooser, preparePart } from "../selection/export-part.ts";

/** A session that sees the shared snapshot. */
export interface Reader {
  readonly session: Session;
  readonly part: PartChooser | undefined;
  /** Fires with the operator's signal, and when another reader has failed. */
  readonly signal: AbortSignal;
}

export interface ReaderOptions {
  readonly connection: ConnectionOptions;
  readonly jobs: number;
  readonly selection: Selection | undefined;
  readonly signal: AbortSignal;
}

/**
 * Lets several readers work at a time on the snapshot of the owner's transaction, each in a session
 * of its own. One that answers `again` gets a new session. When one throws, the others are ended.
 */
export async function withReaders(
  owner: {
    readonly session: Session;
    readonly schema: OpenSchema;
  },
  { connection, jobs, selection, signal }: ReaderOptions,
  work: (reader: Reader) => Promise<"again" | "done">,
): Promise<void> {
  const shared = await shareSnapshot(owner.session);
  const stop = new AbortController();
  const ending = AbortSignal.any([signal, stop.signal]);
  // Each reader listens for it several times.
  setMaxListeners(0, ending);
  let failure: { readonly error: unknown } | undefined;
  const read = async (): Promise<void> => {
    try {
      for (let answer = "again"; answer === "again" && failure === undefined; ) {
        answer = await withSession({ ...connection, signal: ending }, async (session) => {
          const part = await preparePart(session, owner.schema, selection);
          await enterSnapshot(session, shared);
          return await work({ session, part, signal: ending });
        });
      }
    } catch (error) {
      failure ??= { error };
      stop.abort();
    }
  };
  await Promise.all(Array.from({ length: jobs }, read));
  if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
}

async function enterSnapshot(session: Session, shared: string): Promise<void> {
  await session.client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  await sql`SET TRANSACTION SNAPSHOT ${sql.lit(shared)}`.execute(session.db);
  await session.client.query("SET LOCAL search_path = pg_catalog; SET LOCAL work_mem = '64MB'");
}
