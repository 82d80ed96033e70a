import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../src/postgres/free-port.ts";
import { serverAccount } from "../../src/postgres/server-account.ts";
import { findProgram } from "./find-program.ts";

export interface Pooler {
  /** The same database, through the pooler. */
  through(url: string): string;
  stop(): Promise<void>;
}

const program = findProgram("pgbouncer", ["/usr/sbin"]);

/** Why no pooler can be started here; undefined when one can. */
export function poolerMissing(): string | undefined {
  return program === undefined ? "pgbouncer is not installed" : undefined;
}

/**
 * A PgBouncer in front of the server of a URL.
 *
 * @param database the only one that it knows; `*` for all
 */
export async function startPooler(
  serverUrl: string,
  mode: "session" | "transaction",
  database: string,
): Promise<Pooler> {
  if (program === undefined) throw new Error("pgbouncer is not installed");
  const { hostname, port, username, password } = new URL(serverUrl);
  const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  const listen = await freePort();
  const users = join(folder, "users.txt");
  const settings = join(folder, "pgbouncer.ini");
  await writeFile(users, `"${username}" "${password}"\n`);
  await writeFile(
    settings,
    `[databases]
${database} = host=${hostname} port=${port} user=${username} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listen}
unix_socket_dir =
auth_type = plain
auth_file = ${users}
pool_mode = ${mode}
`,
  );
  // PgBouncer refuses to run as root.
  await chmod(folder, 0o755);
  const account = await serverAccount();
  const child = spawn(program, ["-q", settings], {
    stdio: "ignore",
    ...(account && { uid: account.uid, gid: account.gid }),
  });
  const ended = once(child, "exit");
  await listens(listen);
  return {
    through(url) {
      const pooled = new URL(url);
      pooled.port = String(listen);
      return pooled.href;
    },
    async stop() {
      child.kill("SIGTERM");
      await ended;
      await rm(folder, { recursive: true });
    },
  };
}

async function listens(port: number): Promise<void> {
  for (let tries = 0; tries < 1_200; tries += 1) {
    const socket = connect(port, "127.0.0.1");
    const open = await once(socket, "connect").then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (open) return;
    await sleep(25);
  }
  throw new Error("pgbouncer does not listen");
}
