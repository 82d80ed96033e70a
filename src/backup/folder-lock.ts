import { lstat, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { AppError, ExitCode } from "../errors.ts";
import { describeHolder, type HeldBy, type LockHolder, tryLockFile } from "../journal/lock-file.ts";
import { thisProcess, userName } from "../postgres/process-identity.ts";
import { storageError } from "../storage/local-file.ts";
import type { HeldLock } from "./held-lock.ts";

export interface FolderLockOptions {
  /** What the lock is held for, in one word as commands are called: `backup`, `prune`. */
  readonly operation: string;
  /** Hears that a dead run's lock was taken over. */
  readonly warn?: (text: string) => void;
  readonly heartbeatMs?: number;
  /** Hears that the folder cannot be written to; the work is then done without its lock. */
  readonly onUnwritable?: (error: AppError) => void;
}

const heartbeatMs = 10_000;

/**
 * Holds a folder's lock file, `.pgtenant.lock`, while `work` runs; the folder is made if there is
 * none. The lock of a run that died is taken over at once on the same machine, and after a minute
 * without a heartbeat when it ran on another one.
 *
 * @throws {AppError} exit 5, naming the holder, when another run holds it; exit 8 when the
 *   folder cannot be written to
 */
export async function withFolderLock<T>(
  folder: string,
  options: FolderLockOptions,
  work: (held: HeldLock) => Promise<T>,
): Promise<T> {
  const path = join(folder, ".pgtenant.lock");
  const holder = await holderFor(options.operation);
  const attempt = await attemptLock(folder, path, holder).catch(async (error: unknown) => {
    if (!(error instanceof AppError) || options.onUnwritable === undefined) throw error;
    // That of another user's run can perhaps not be read.
    if (await isThere(path)) throw error;
    options.onUnwritable(error);
    return undefined;
  });
  if (attempt === undefined) return await work({ lost: new AbortController().signal });
  if ("heldBy" in attempt) throw folderLocked(folder, path, attempt.heldBy);
  const { lock, takenFrom } = attempt;
  if (takenFrom !== undefined) {
    options.warn?.(
      `the lock of "${folder}" was taken over from a run that died: ${describeHolder(takenFrom)}`,
    );
  }
  lock.beat(options.heartbeatMs ?? heartbeatMs);
  try {
    return await work({ lost: lock.lost });
  } finally {
    // What cannot be removed is taken over by the next run, since this one is gone then.
    await lock.release().catch(() => undefined);
  }
}

async function isThere(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  );
}

/** What our own lock files say of us. */
export async function holderFor(operation: string): Promise<LockHolder> {
  return {
    ...(await thisProcess()),
    user: userName(),
    operation,
    since: new Date().toISOString(),
  };
}

async function attemptLock(folder: string, path: string, holder: LockHolder) {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return await tryLockFile(path, holder);
  } catch (error) {
    throw storageError(error, path);
  }
}

function folderLocked(folder: string, path: string, heldBy: HeldBy): AppError {
  const holder = describeHolder(heldBy);
  return new AppError(
    "folder-locked",
    ExitCode.locked,
    `another run is at work in "${folder}": ${holder}`,
    {
      hint: `Wait until it has finished, then run the command again. If it is certain that it died, remove the file ${path}.`,
      data: { folder, holder },
    },
  );
}
