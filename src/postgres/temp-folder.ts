import { mkdir, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { AppError, ExitCode } from "../errors.ts";
import { processRuns, processStart } from "./process-start.ts";
import { makeThrowawayFolder } from "./throwaway-folder.ts";

export interface TempFolder {
  readonly path: string;
  remove(): Promise<void>;
}

/** Our process's number and start are part of the name, so that a run can tell what nobody needs. */
const prefix = "pgtenant-temp-";
const pattern = /^pgtenant-temp-(\d+)-(?:(\d+)-)?[0-9a-f]{16}$/;

/**
 * Makes a folder (0700) for what has to lie in files for a while. It is gone when it is removed,
 * soon after our process is killed, and where the machine itself went down, at the next call or
 * by {@link sweepTempFolders}.
 *
 * @param parent the folder to make it in; by default the system's own for temporary files
 * @throws {AppError} exit 8 when it cannot be made
 */
export async function openTempFolder(
  parent: string | undefined,
  searchPath: string | undefined,
): Promise<TempFolder> {
  const place = placeOf(parent);
  const start = (await processStart(process.pid))?.start;
  try {
    await mkdir(place, { recursive: true, mode: 0o700 });
    await sweepTempFolders(parent);
    return await makeThrowawayFolder(searchPath ?? "/usr/bin:/bin", {
      parent: place,
      prefix: `${prefix}${process.pid}-${start === undefined ? "" : `${start}-`}`,
    });
  } catch (cause) {
    throw new AppError("no-temp-folder", ExitCode.storage, `no folder can be made in "${place}"`, {
      hint: "Name another place for temporary files with --temp-dir or BACKUP_TEMP_DIR.",
      cause,
    });
  }
}

/**
 * Removes the folders of processes that are gone; gives their paths. What lies in them is
 * decrypted, so a run that needs no such folder itself calls this as well.
 *
 * @param parent as for {@link openTempFolder}; the system's own folder is looked at besides
 */
export async function sweepTempFolders(parent: string | undefined): Promise<readonly string[]> {
  const removed: string[] = [];
  for (const place of new Set([placeOf(parent), placeOf(undefined)])) {
    for (const name of await readdir(place).catch(() => [])) {
      const [, pid, start] = pattern.exec(name) ?? [];
      // In a container the same few numbers are given out again and again, hence the start.
      if (pid === undefined || (await processRuns(Number(pid), start))) continue;
      const path = join(place, name);
      // Another user's is not ours to remove.
      await rm(path, { recursive: true, force: true }).then(
        () => removed.push(path),
        () => undefined,
      );
    }
  }
  return removed;
}

function placeOf(parent: string | undefined): string {
  return resolve(parent ?? tmpdir());
}
