import { lchown, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { AppError, ExitCode } from "../errors.ts";

/** The operating system's user that PostgreSQL's programs run as. */
export interface ServerAccount {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/**
 * The unprivileged user to run a server as when we are root, since initdb and postgres refuse
 * root: `postgres` if there is one, else `nobody`. Undefined when we are not root.
 *
 * @throws AppError `no-postgres` (7) when we are root and neither user exists.
 */
export async function serverAccount(): Promise<ServerAccount | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const lines = (await readFile("/etc/passwd", "utf8").catch(() => "")).split("\n");
  for (const wanted of ["postgres", "nobody"]) {
    const line = lines.find((entry) => entry.startsWith(`${wanted}:`));
    const [name, , uid, gid] = line?.split(":") ?? [];
    if (name !== undefined && Number(uid) > 0) {
      return { name, uid: Number(uid), gid: Number(gid) };
    }
  }
  throw new AppError(
    "no-postgres",
    ExitCode.database,
    'PostgreSQL does not run as root, and there is no user "postgres" or "nobody" to run it as',
    { hint: "Run the command as an ordinary user." },
  );
}

/** Gives a file, or a folder and all in it, to the account; symbolic links are not followed. */
export async function giveTo(account: ServerAccount | undefined, place: string): Promise<void> {
  if (account === undefined) return;
  await lchown(place, account.uid, account.gid);
  const entries = await readdir(place, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    await lchown(join(entry.parentPath, entry.name), account.uid, account.gid);
  }
}
