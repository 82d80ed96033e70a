import { createHash } from "node:crypto";
import { mkdir, readdir, rm, stat, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { AppError, ExitCode } from "../errors.ts";
import { thisProcess } from "./process-identity.ts";
import { processRuns } from "./process-start.ts";
import { makeThrowawayFolder, type ThrowawayFolder } from "./throwaway-folder.ts";

export interface TempFolder {
  readonly path: string;
  remove(): Promise<void>;
}

/**
 * Whose folder it is stands in its name: where process numbers mean the same as here, the number and
 * the start of the process. So a run can tell what nobody needs.
 */
const prefix = "pgtenant-temp-";
const pattern = /^pgtenant-temp-([0-9a-f]{8})-(\d+)-(?:(\d+)-)?[0-9a-f]{16}$/;

/** A folder says by its time that its process lives, to runs in other containers and on other hosts. */
const beatMs = 60_000;
/** Clocks of hosts differ, and a machine may stand still for a while. */
const silenceMs = 3_600_000;

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
  const { pid, processStart } = await thisProcess();
  try {
    await mkdir(place, { recursive: true, mode: 0o700 });
    await sweepTempFolders(parent);
    const owner = [await ownSpace(), pid, ...(processStart === undefined ? [] : [processStart])];
    const folder = await makeThrowawayFolder(searchPath ?? "/usr/bin:/bin", {
      parent: place,
      prefix: `${prefix}${owner.join("-")}-`,
    });
    return withHeartbeat(folder);
  } catch (cause) {
    throw new AppError("no-temp-folder", ExitCode.storage, `no folder can be made in "${place}"`, {
      hint: "Name another place for temporary files with --temp-dir or BACKUP_TEMP_DIR.",
      cause,
    });
  }
}

/**
 * Removes the folders of processes that are gone; gives their paths. What lies in them is
 * decrypted, so a run that needs no such folder itself calls this as well. Those of other
 * containers and hosts, whose processes cannot be seen from here, are removed when they have been
 * silent for an hour.
 *
 * @param parent as for {@link openTempFolder}; the system's own folder is looked at besides
 */
export async function sweepTempFolders(parent: string | undefined): Promise<readonly string[]> {
  const removed: string[] = [];
  for (const place of new Set([placeOf(parent), placeOf(undefined)])) {
    for (const name of await readdir(place).catch(() => [])) {
      const path = join(place, name);
      if (!(await isAbandoned(path))) continue;
      // Another user's is not ours to remove.
      await rm(path, { recursive: true, force: true }).then(
        () => removed.push(path),
        () => undefined,
      );
    }
  }
  return removed;
}

async function isAbandoned(path: string): Promise<boolean> {
  const [, space, pid, start] = pattern.exec(basename(path)) ?? [];
  if (pid === undefined) return false;
  // In a container the same few numbers are given out again and again, hence the start.
  if (space === (await ownSpace())) return !(await processRuns(Number(pid), start));
  const info = await stat(path).catch(() => undefined);
  return info !== undefined && Date.now() - info.mtimeMs > silenceMs;
}

/** Where our process number means something: this host, and on it this container. */
async function ownSpace(): Promise<string> {
  const { host, processSpace = "" } = await thisProcess();
  return createHash("sha256").update(`${host}\n${processSpace}`).digest("hex").slice(0, 8);
}

function withHeartbeat({ path, remove }: ThrowawayFolder): TempFolder {
  const heartbeat = setInterval(() => {
    const now = new Date();
    // The next one may succeed; others wait sixty times as long before they take it for abandoned.
    utimes(path, now, now).catch(() => undefined);
  }, beatMs);
  heartbeat.unref();
  return {
    path,
    remove: async () => {
      clearInterval(heartbeat);
      await remove();
    },
  };
}

function placeOf(parent: string | undefined): string {
  return resolve(parent ?? tmpdir());
}
