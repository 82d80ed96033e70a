import type { DecryptionKeys } from "../bundle/encryption.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { OpenBackup } from "./open-backup.ts";
import { readPart } from "./read-part.ts";
import {
  listTar,
  refuseExistingFiles,
  type TarListing,
  type UnpackedFiles,
  unpackFiles,
} from "./unpack-files.ts";

export interface RestoreFilesOptions {
  readonly keys: DecryptionKeys;
  /** Where they go; it need not exist. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

/**
 * Reads the files of a backup to their end, and makes sure that none of them is in the way of
 * one that is there.
 *
 * @throws {AppError} exit 2 when the backup has no files, 3 when they are not whole, 4 when a file
 *   exists, 6 when no key fits
 */
export async function checkFiles(
  backup: OpenBackup,
  options: RestoreFilesOptions,
): Promise<TarListing> {
  const part = partOfFiles(backup);
  const bytes = readPart(part, options.keys, options.signal);
  const listing = await listTar(bytes, { name: part.name, signal: options.signal });
  for await (const _ of bytes); // behind the archive's end its hash is still to be checked
  await refuseExistingFiles(listing, options.folder);
  return listing;
}

/**
 * Puts the files of a backup into a folder, all or none, over nothing that exists. They were found
 * whole by {@link checkFiles} before.
 */
export async function restoreFiles(
  backup: OpenBackup,
  options: RestoreFilesOptions,
): Promise<UnpackedFiles> {
  const part = partOfFiles(backup);
  const bytes = readPart(part, options.keys, options.signal);
  return await unpackFiles(bytes, options.folder, { name: part.name, signal: options.signal });
}

function partOfFiles(backup: OpenBackup) {
  const part = backup.part("files");
  if (part !== undefined) return part;
  throw new AppError("no-files", ExitCode.usage, `the backup ${backup.name} holds no files`, {
    hint: "Only backups that were made with --include or BACKUP_INCLUDE_PATHS do; leave out --files-to.",
  });
}
