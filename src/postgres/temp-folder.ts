import { mkdir, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { AppError, ExitCode } from "../errors.ts";
import { makeThrowawayFolder } from "./throwaway-folder.ts";

export interface TempFolder {
  readonly path: string;
  remove(): Promise<void>;
}

/** Our process's number is part of the name, so that the next run can tell what nobody needs. */
const prefix = "pgtenant-temp-";

/**
 * Makes a folder (0700) for what has to lie in files for a while. It is gone when it is removed,
 * soon after our process is killed, and where the machine itself went down, at the next call.
 *
 * @param parent the folder to make it in; by default the system's own for temporary files
 * @throws {AppError} exit 8 when it cannot be made
 */
export async function openTempFolder(
  parent: string | undefined,
  searchPath: string | undefined,
): Promise<TempFolder> {
  const place = resolve(parent ?? tmpdir());
  try {
    await mkdir(place, { recursive: true, mode: 0o700 });
    await sweepTempFolders(place);
    return await makeThrowawayFolder(searchPath ?? "/usr/bin:/bin", {
      parent: place,
      prefix: `${prefix}${process.pid}-`,
    });
  } catch (cause) {
    throw new AppError("no-temp-folder", ExitCode.storage, `no folder can be made in "${place}"`, {
      hint: "Name another place for temporary files with --temp-dir or BACKUP_TEMP_DIR.",
      cause,
    });
  }
}

/** Removes the folders of processes that are gone; gives their paths. */
export async function sweepTempFolders(place: string): Promise<readonly string[]> {
  const removed: string[] = [];
  for (const name of await readdir(place).catch(() => [])) {
    const pid = Number(/^pgtenant-temp-(\d+)-[0-9a-f]{16}$/.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(pid) || isRunning(pid)) continue;
    const path = join(place, name);
    // Another user's is not ours to remove.
    await rm(path, { recursive: true, force: true }).then(
      () => removed.push(path),
      () => undefined,
    );
  }
  return removed;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
