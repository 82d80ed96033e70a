import { setMaxListeners } from "node:events";
import { sql } from "kysely";
import { type ConnectionOptions, type Session, withSession } from "../../postgres/session.ts";
import type { Selection } from "../import-types.ts";
import type { OpenSchema } from "../open-schema.ts";
import { type PartChooser, preparePart } from "../selection/export-part.ts";

/** A session that sees the shared snapshot. */
export interface Reader {
  readonly session: Session;
  readonly part: PartChooser | undefined;
  /** True for the session that the snapshot is of, which there is only one of. */
  readonly isOwner: boolean;
  /** Fires with the operator's signal, and when another reader has failed. */
  readonly signal: AbortSignal;
}

export interface ReaderOptions {
  readonly connection: ConnectionOptions;
  readonly jobs: number;
  readonly selection: Selection | undefined;
  readonly signal: AbortSignal;
  readonly warn: (text: string) => void;
}

/**
 * Lets several readers work at a time on the snapshot of the owner's transaction, each in a session
 * of its own. One that answers `again` gets a new session. When one throws, the others are ended.
 * A standby has no snapshot that can be shared: there the owner reads alone.
 */
export async function withReaders(
  owner: {
    readonly session: Session;
    readonly schema: OpenSchema;
    readonly part: PartChooser | undefined;
  },
  { connection, jobs, selection, signal, warn }: ReaderOptions,
  work: (reader: Reader) => Promise<"again" | "done">,
): Promise<void> {
  const shared = await shareSnapshot(owner.session);
  if (shared === undefined) {
    if (jobs > 1) {
      warn(
        "the server is a standby, from which no snapshot can be shared: the tenants are exported one after the other, whatever --jobs says",
      );
    }
    await work({ session: owner.session, part: owner.part, isOwner: true, signal });
    return;
  }
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
          return await work({ session, part, isOwner: false, signal: ending });
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

/** The name under which other sessions can see the same; undefined on a standby, which has none. */
async function shareSnapshot(session: Session): Promise<string | undefined> {
  const { rows } = await sql<{ recovering: boolean }>`
    SELECT pg_is_in_recovery() AS recovering`.execute(session.db);
  if (rows[0]?.recovering !== false) return undefined;
  const shared = await sql<{ id: string }>`SELECT pg_export_snapshot() AS id`.execute(session.db);
  return shared.rows[0]?.id;
}

async function enterSnapshot(session: Session, shared: string): Promise<void> {
  await session.client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  await sql`SET TRANSACTION SNAPSHOT ${sql.lit(shared)}`.execute(session.db);
  await session.client.query("SET LOCAL search_path = pg_catalog; SET LOCAL work_mem = '64MB'");
}
