import { access } from "node:fs/promises";
import { sql } from "kysely";
import { dropDatabase, dropDated, timeOf, withSuffix } from "../../backup/scratch-database.ts";
import { ExitCode } from "../../errors.ts";
import { withMaintenanceSession } from "../../postgres/maintenance-session.ts";
import type { ConnectionOptions, Session } from "../../postgres/session.ts";
import { drillFailure } from "./drill-checks.ts";

/** While a restore loads it, its name is longer by `_restoring_20260101_020000`. */
const room = 63 - "_restoring_20260101_020000".length;

/** `nkudo_drill_20260101_020000`, with less of the database's name where it would be too long. */
export function drillDatabaseName(database: string, at: Date): string {
  return withSuffix(database, `_drill_${timeOf(at)}`, room);
}

/** `drill_20260101_020000` */
export function drillIdAt(at: Date): string {
  return `drill_${timeOf(at)}`;
}

/** What stands for all drills of a database where its name is locked. */
export function drillLockName(database: string): string {
  return `drill of ${database}`;
}

/**
 * Drops what drills of this database that were killed have left, and only that: databases of
 * exactly our names, loaded or being loaded. The caller holds the lock of the drills.
 */
export async function sweepDrills(admin: Session, database: string): Promise<readonly string[]> {
  const dated = drillDatabaseName(database, new Date(0));
  return await dropDated(admin, dated, "(_restoring_[0-9]{8}_[0-9]{6})?");
}

/**
 * Drops the scratch database, and the roles that only its restore has made. Not in the session of
 * the drill, which an interruption takes away.
 *
 * @returns what could not be taken back, for people
 */
export async function clearAway(
  connection: ConnectionOptions,
  database: string,
  rolesCreated: readonly string[],
): Promise<readonly string[]> {
  const { signal: _, ...unsignalled } = connection;
  return await withMaintenanceSession(unsignalled, database, async (admin) => {
    await dropDatabase(admin, database);
    const left: string[] = [];
    for (const role of rolesCreated) {
      await sql`DROP ROLE IF EXISTS ${sql.id(role)}`.execute(admin.db).catch((error: unknown) => {
        left.push(
          `the role "${role}", which the restore had made, is still there: ${error instanceof Error ? error.message : error}`,
        );
      });
    }
    return left;
  });
}

/** @throws {AppError} exit 8 while the folder of the drill's own server is there */
export async function requireGone(folder: string): Promise<void> {
  if (!(await exists(folder))) return;
  throw drillFailure("left-behind", ExitCode.storage, `the folder "${folder}" is still there`, {
    hint: "Remove it: it holds the rows of the backup in plain text.",
  });
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
