import { createHash, randomBytes } from "node:crypto";
import { link, open, readFile, rename, rm, stat, unlink, utimes } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { AppError, ExitCode } from "../errors.ts";
import {
  type Liveness,
  livenessOf,
  type ProcessIdentity,
  thisProcess,
} from "../postgres/process-identity.ts";
import { codeOf } from "../storage/local-file.ts";

/** What stands in a lock file: who holds it. */
export interface LockHolder extends ProcessIdentity {
  readonly user: string;
  readonly operation: string;
  /** RFC 3339, UTC. */
  readonly since: string;
}

/** What is known of a lock file's holder; a file without content is one of a full disk. */
export interface HeldBy {
  readonly holder: LockHolder | undefined;
  /** The file's age since its last heartbeat, in milliseconds. */
  readonly silentMs: number;
}

export type LockAttempt =
  | { readonly lock: LockFile; readonly takenFrom: HeldBy | undefined }
  | { readonly heldBy: HeldBy };

/** A holder on another host that has not been heard of for this long is dead. */
const silenceMs = 60_000;
const largestContent = 64 * 1024;

/** A file system that is away for a moment, as one over a network, is not away for good. */
const releasePausesMs: readonly number[] = [10, 50, 200, 500, 1_000];

/** The tokens of the lock files that this process holds, or is about to make. */
const heldHere = new Set<string>();

/** A lock file of ours, until it is released. */
export class LockFile {
  readonly path: string;
  /** Of this very file, which a later one under the same name does not have. */
  readonly token: string;
  #heartbeat: NodeJS.Timeout | undefined;
  readonly #lost = new AbortController();

  constructor(path: string, token: string) {
    this.path = path;
    this.token = token;
  }

  /** Fires when the file is ours no more, as after a machine slept and another one took over. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** From now on the file says by its time that its holder lives. */
  beat(everyMs: number): void {
    this.#heartbeat = setInterval(() => void this.#touch(), everyMs);
    this.#heartbeat.unref();
  }

  /**
   * Removes the file, if it is still ours. One that cannot be removed stays, and this process takes it
   * for dead from then on.
   */
  async release(): Promise<void> {
    clearInterval(this.#heartbeat);
    try {
      await retried(async () => {
        if ((await readLock(this.path))?.token === this.token) await rm(this.path, { force: true });
      });
    } finally {
      heldHere.delete(this.token);
    }
  }

  async #touch(): Promise<void> {
    try {
      if ((await readLock(this.path))?.token !== this.token) {
        clearInterval(this.#heartbeat);
        this.#lost.abort(
          new AppError(
            "lock-lost",
            ExitCode.locked,
            `the lock "${this.path}" is not ours any more`,
            {
              hint: "This run stood still for so long that another one took it for dead; run it again.",
            },
          ),
        );
        return;
      }
      const now = new Date();
      await utimes(this.path, now, now);
    } catch {
      // The next one may succeed; others wait several times as long before they take over.
    }
  }
}

/**
 * Tries once to get a lock file: it is made if there is none, and taken over from a dead holder.
 * Of any number that try at the same time, one gets it.
 *
 * A takeover cannot simply remove the dead file, since a slower rival would then remove the one
 * that was made after it. So the right to replace this very file is a lock file of its own, named
 * after the file's content; whoever has it looks again, and puts itself in the place by a rename.
 *
 * @throws the system's error when the folder cannot be written to or the file not be read
 */
export async function tryLockFile(path: string, holder: LockHolder): Promise<LockAttempt> {
  for (;;) {
    const token = await create(path, holder);
    if (token !== undefined) return { lock: new LockFile(path, token), takenFrom: undefined };
    const found = await readLock(path);
    if (found === undefined) continue;
    if (!(await isDead(found))) return { heldBy: found };
    const right = await tryLockFile(`${path}.${found.token}`, holder);
    if ("heldBy" in right) return right;
    try {
      if ((await readLock(path))?.token === found.token) {
        await rename(right.lock.path, path);
        return { lock: new LockFile(path, right.lock.token), takenFrom: found };
      }
    } catch (error) {
      await right.lock.release().catch(() => undefined);
      throw error;
    }
    await right.lock.release();
  }
}

/** `backup of root@db1 (process 123, since 2026-01-01T02:00:00.000Z)` */
export function describeHolder({ holder, silentMs }: HeldBy): string {
  return holder === undefined
    ? `a run that could not leave its name (silent for ${Math.round(silentMs / 1000)} s)`
    : `${holder.operation} of ${holder.user}@${holder.host} (process ${holder.pid}, since ${holder.since})`;
}

async function isDead({ holder, silentMs, token }: FoundLock): Promise<boolean> {
  if (holder !== undefined && (await isThisProcess(holder))) return !heldHere.has(token);
  const liveness: Liveness = holder === undefined ? "unknown" : await livenessOf(holder);
  return liveness === "gone" || (liveness === "unknown" && silentMs > silenceMs);
}

async function isThisProcess(other: ProcessIdentity): Promise<boolean> {
  const self = await thisProcess();
  return (
    other.pid === self.pid &&
    other.host === self.host &&
    other.processStart === self.processStart &&
    other.processSpace === self.processSpace
  );
}

async function retried(work: () => Promise<void>): Promise<void> {
  for (const pause of releasePausesMs) {
    try {
      return await work();
    } catch {
      await sleep(pause);
    }
  }
  await work();
}

interface FoundLock extends HeldBy {
  /** Of this file alone. */
  readonly token: string;
}

/** Undefined when there is no such file. */
async function readLock(path: string): Promise<FoundLock | undefined> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    const text = size > largestContent ? "" : await readFile(path, "utf8");
    return {
      holder: parseHolder(text),
      silentMs: Date.now() - mtimeMs,
      token: tokenOf(text, ino),
    };
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function tokenOf(text: string, inode: number): string {
  return text === ""
    ? `empty-${inode}`
    : createHash("sha256").update(text).digest("hex").slice(0, 16);
}

function parseHolder(text: string): LockHolder | undefined {
  try {
    const holder: unknown = JSON.parse(text);
    if (typeof holder !== "object" || holder === null) return undefined;
    const { pid, host, user, operation, since } = holder as Partial<LockHolder>;
    const whole =
      typeof pid === "number" &&
      [host, user, operation, since].every((member) => typeof member === "string");
    return whole ? (holder as LockHolder) : undefined;
  } catch {
    return undefined;
  }
}

/** The new file's token, or undefined when there is a file already. */
async function create(path: string, holder: LockHolder): Promise<string | undefined> {
  // Unlike any other's, so that a file is known by its content.
  const text = `${JSON.stringify({ ...holder, nonce: randomBytes(8).toString("hex") })}\n`;
  const token = tokenOf(text, 0);
  heldHere.add(token);
  let made: string | undefined;
  try {
    made = await createWith(path, text);
    return made;
  } finally {
    if (made !== token) heldHere.delete(token);
  }
}

async function createWith(path: string, text: string): Promise<string | undefined> {
  const draft = `${path}.${randomBytes(4).toString("hex")}.new`;
  try {
    await writeNew(draft, text);
    // The content comes with the name, so nobody ever sees half a file.
    await link(draft, path);
    return tokenOf(text, 0);
  } catch (error) {
    switch (codeOf(error)) {
      case "EEXIST":
        return undefined;
      // On a full disk what frees space must still run: the name alone needs none.
      case "ENOSPC":
      case "EDQUOT":
        return await createEmpty(path);
      // File systems without hard links: the name first, the content a moment later.
      case "EPERM":
      case "ENOTSUP":
      case "ENOSYS":
        return await createInPlace(path, text);
      default:
        throw error;
    }
  } finally {
    await rm(draft, { force: true }).catch(() => undefined);
  }
}

async function createEmpty(path: string): Promise<string | undefined> {
  try {
    const handle = await open(path, "wx", 0o600);
    try {
      return tokenOf("", (await handle.stat()).ino);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (codeOf(error) === "EEXIST") return undefined;
    throw error;
  }
}

async function createInPlace(path: string, text: string): Promise<string | undefined> {
  try {
    await writeNew(path, text);
    return tokenOf(text, 0);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return undefined;
    throw error;
  }
}

async function writeNew(path: string, text: string): Promise<void> {
  const handle = await open(path, "wx", 0o600);
  try {
    await handle.writeFile(text);
  } catch (error) {
    await unlink(path).catch(() => undefined);
    throw error;
  } finally {
    await handle.close();
  }
}
