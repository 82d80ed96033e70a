import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A temporary folder, for a server say, which does not outlive our process. */
export interface ThrowawayFolder {
  readonly path: string;
  /** Where the server's data has to be: the clean-up looks for postmaster.pid here. */
  readonly dataDir: string;
  /** Removes the folder; a server in it must have ended. */
  remove(): Promise<void>;
}

/**
 * Waits for the end of its input, ends the postmaster in the folder `$1`, if there is one, and
 * removes the folder. An immediate shutdown takes the backends along, and removes postmaster.pid
 * at its end. A running initdb dies of the removal, but may write once more: hence the attempts.
 */
const cleanUp = `
read -r _
pid_file=$1/data/postmaster.pid
pid=$(head -n 1 "$pid_file" 2>/dev/null)
if [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null; then
  n=0
  while [ -e "$pid_file" ] && [ $n -lt 140 ]; do sleep 0.05; n=$((n + 1)); done
  [ -e "$pid_file" ] && kill -KILL "$pid"
fi
n=0
until rm -rf "$1" || [ $n -eq 50 ]; do sleep 0.1; n=$((n + 1)); done
`;

/**
 * Makes a folder (0700) under the system's temporary folder. If our process ends without having
 * removed it, then it is cleaned up: before the end at `process.exit`, and within about 0.1 s
 * when a signal has ended us (SIGKILL too), by a shell whose input then closes. To listen for
 * signals instead would change what they do to the rest of the process.
 *
 * @param searchPath the `PATH` of the shell
 * @param place the folder that it is made in, and how its name begins
 */
export async function makeThrowawayFolder(
  searchPath: string,
  place: { readonly parent?: string | undefined; readonly prefix?: string } = {},
): Promise<ThrowawayFolder> {
  const { parent = tmpdir(), prefix = "pgtenant-server-" } = place;
  const path = join(parent, `${prefix}${randomBytes(8).toString("hex")}`);
  const command = ["-c", cleanUp, "pgtenant-clean-up", path];
  const env = { PATH: searchPath };

  // Before the folder exists, so that there is no moment at which a signal would leave it behind.
  // In a session of its own, or Ctrl-C in a terminal would end the shell together with us.
  const watcher = spawn("sh", command, {
    cwd: "/",
    detached: true,
    env,
    stdio: ["pipe", "ignore", "ignore"],
  });
  watcher.on("error", () => {}); // no shell, no watcher: the listener below remains
  watcher.unref();
  if (watcher.stdin instanceof Socket) watcher.stdin.unref();

  const atExit = () => {
    spawnSync("sh", command, { cwd: "/", env, input: "", stdio: ["pipe", "ignore", "ignore"] });
  };
  process.once("exit", atExit);
  await mkdir(path, { mode: 0o700 });
  return Object.freeze({
    path,
    dataDir: join(path, "data"),
    async remove() {
      await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
      process.off("exit", atExit);
      watcher.stdin.end();
    },
  });
}
