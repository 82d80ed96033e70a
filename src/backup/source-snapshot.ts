import { sql } from "kysely";
import { type ConnectionOptions, type Session, withSession } from "../postgres/session.ts";
import { shareSnapshot, walPosition } from "../postgres/share-snapshot.ts";
import { subscriptionsOf } from "../postgres/subscriptions.ts";
import { systemIdentifier } from "../postgres/system-identifier.ts";
import type { BackupManifest } from "./manifest.ts";

/** One moment of the database, held open for everything that reads of it. */
export interface SourceSnapshot {
  readonly session: Session;
  readonly database: string;
  readonly createdAt: Date;
  /** For `pg_dump --snapshot`. */
  readonly sharedAs: string;
  readonly source: Omit<BackupManifest["source"], "pgDump">;
  /** Tablespaces other than the default, whose tables will all lie in the default one. */
  readonly tablespaces: readonly string[];
  /** What ALTER ROLE ALL has set, which pg_dumpall leaves out. */
  readonly settingsOfAll: readonly string[];
  /** Subscriptions of logical replication, which are left out. */
  readonly subscriptions: readonly string[];
  /** Of a standby: tables whose rows cannot be read there. */
  readonly unlogged: readonly string[];
}

interface SourceRow {
  now: string;
  lsn: string;
  bytes: string;
  encoding: string;
  /** The row of pg_database, whose columns differ between versions. */
  database: {
    readonly datcollate: string;
    readonly datctype: string;
    readonly datlocprovider?: string;
    /** Until PostgreSQL 16. */
    readonly daticulocale?: string | null;
    readonly datlocale?: string | null;
  };
  tablespaces: readonly string[];
  settings_of_all: readonly string[];
  unlogged: readonly string[];
}

/** Opens the snapshot of a backup and keeps it while `use` runs. */
export function withSourceSnapshot<T>(
  connection: ConnectionOptions,
  use: (snapshot: SourceSnapshot) => Promise<T>,
): Promise<T> {
  return withSession(connection, async (session) => {
    await session.client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    await session.client.query("SET LOCAL search_path = pg_catalog");
    const { rows } = await sql<SourceRow>`
      SELECT to_char(now(), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS now,
             ${walPosition} AS lsn,
             pg_database_size(d.oid) AS bytes,
             pg_encoding_to_char(d.encoding)::text AS encoding,
             to_json(d) AS database,
             ARRAY(SELECT DISTINCT t.spcname::text FROM pg_class c
                     JOIN pg_tablespace t ON t.oid = c.reltablespace
                    WHERE t.spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1) AS tablespaces,
             ARRAY(SELECT split_part(setting, '=', 1) FROM pg_db_role_setting s,
                          unnest(s.setconfig) AS setting
                    WHERE s.setdatabase = 0 AND s.setrole = 0 ORDER BY 1) AS settings_of_all,
             ARRAY(SELECT c.oid::regclass::text FROM pg_class c
                    WHERE c.relkind = 'r' AND c.relpersistence = 'u' AND pg_is_in_recovery()
                    ORDER BY 1) AS unlogged
        FROM pg_database d WHERE d.datname = current_database()`.execute(session.db);
    const [row] = rows;
    if (row === undefined) throw new Error("the server told nothing about its database");
    return await use({
      session,
      database: session.database,
      createdAt: new Date(row.now),
      sharedAs: await shareSnapshot(session),
      source: {
        server: session.serverVersion,
        systemIdentifier: await systemIdentifier(session),
        snapshotLsn: row.lsn,
        databaseBytes: Number(row.bytes),
        locale: {
          encoding: row.encoding,
          collate: row.database.datcollate,
          ctype: row.database.datctype,
          provider: row.database.datlocprovider ?? "c",
          locale: row.database.datlocale ?? row.database.daticulocale ?? null,
        },
      },
      tablespaces: row.tablespaces,
      settingsOfAll: row.settings_of_all,
      subscriptions: await subscriptionsOf(session, session.database),
      unlogged: row.unlogged,
    });
  });
}
