import { statfs } from "node:fs/promises";
import { sql } from "kysely";
import { AppError, ExitCode } from "../../errors.ts";
import type { Session } from "../../postgres/session.ts";
import { sizeWords } from "../words.ts";

/** A restore writes rows, then indexes, then its log of both. */
const share = 1.2;

export interface DiskSpace {
  readonly folder: string;
  readonly freeBytes: number;
}

/**
 * The disk that a server keeps its data on; undefined where that is another machine's, or not
 * ours to know.
 */
export async function serverDisk(session: Session): Promise<DiskSpace | undefined> {
  const { rows } = await sql<{ folder: string | null; local: boolean }>`
    SELECT CASE WHEN pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE')
                THEN pg_catalog.current_setting('data_directory') END AS folder,
           inet_server_addr() IS NULL OR inet_server_addr() << inet '127.0.0.0/8'
             OR inet_server_addr() = inet '::1' AS local`.execute(session.db);
  const [row] = rows;
  if (row?.local !== true || row.folder === null) return undefined;
  return await diskOf(row.folder);
}

/** Undefined for a folder that is not there, as one in a container that we are not in. */
export async function diskOf(folder: string): Promise<DiskSpace | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return { folder, freeBytes: bavail * bsize };
  } catch {
    return undefined;
  }
}

function requireSpace({ folder, freeBytes }: DiskSpace, databaseBytes: number): string {
  const needed = Math.ceil(databaseBytes * share);
  const facts = `${sizeWords(freeBytes)} are free at "${folder}", and the restored database takes about ${sizeWords(needed)}`;
  if (freeBytes >= needed) return facts;
  throw new AppError("disk-too-small", ExitCode.storage, `the disk is too small: ${facts}`, {
    hint: "Make room there, or drill elsewhere: --embedded restores into TMPDIR, and DATABASE_URL may name another server.",
  });
}

/**
 * Whether a database fits on a disk; where that is not `known`, the message says why.
 *
 * @param databaseBytes of the database when it was backed up
 * @throws {AppError} exit 8 when it does not: a drill must not fill the disk of the live database
 */
export async function spaceFor(
  disk: () => Promise<DiskSpace | undefined>,
  databaseBytes: number | undefined,
): Promise<{ readonly known: boolean; readonly message: string }> {
  if (databaseBytes === undefined) {
    return { known: false, message: "how large the database was is not known" };
  }
  const found = await disk();
  return found === undefined
    ? { known: false, message: "the server's disk cannot be seen from here" }
    : { known: true, message: requireSpace(found, databaseBytes) };
}
