import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freePort } from "../../src/postgres/free-port.ts";
import { findProgram } from "./find-program.ts";

/** How to reach the S3 server of a test run. */
export interface S3Access {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface S3Server {
  /** The path of a file that appears when the server is ready or has failed: `PGTENANT_TEST_S3`. */
  readonly file: string;
  dispose(): Promise<void>;
}

const script = fileURLToPath(new URL("s3-server.sh", import.meta.url));
const programs = ["radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "monmaptool"];
const attempts = 3;
const patienceMs = 300_000;

/** Why the tests that need an S3 server cannot run here; undefined when they can. */
export function s3Missing(): string | undefined {
  if (process.env.PGTENANT_TEST_S3 !== undefined) return undefined;
  return missingProgram() ?? "no S3 server was started: run the file with node test/run.ts";
}

/** What a machine lacks to start an S3 server. */
export function missingProgram(): string | undefined {
  const missing = programs.find((program) => findProgram(program) === undefined);
  return missing === undefined
    ? undefined
    : `${missing} is not installed: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common`;
}

/**
 * Begins to start a server, which takes about 12 s; the tests that need it wait for its file. It
 * ends with our process, however that ends.
 */
export async function startS3Server(): Promise<S3Server> {
  const folder = await mkdtemp(join(tmpdir(), "pgtenant-s3-"));
  const file = join(folder, "access.json");
  let child: ChildProcess | undefined;
  let disposed = false;

  async function start(): Promise<void> {
    let failure = "";
    for (let attempt = 1; attempt <= attempts && !disposed; attempt += 1) {
      const [port, monitor] = [await freePort(), await freePort()];
      const access: S3Access = {
        endpoint: `http://127.0.0.1:${port}`,
        region: "us-east-1",
        accessKeyId: `test${randomBytes(8).toString("hex")}`,
        secretAccessKey: randomBytes(20).toString("hex"),
      };
      // Of a session of its own, so that Ctrl-C in a terminal reaches only us, and its input then
      // ends; arguments that anybody may see, since the server is on this machine and empty.
      const server = spawn(
        script,
        [folder, String(port), String(monitor), access.accessKeyId, access.secretAccessKey],
        { detached: true, stdio: ["pipe", "pipe", "pipe"] },
      );
      child = server;
      const errors = text(server.stderr);
      const [first] = await Promise.race([
        once(createInterface(server.stdout), "line"),
        once(server, "exit").then(() => [undefined]),
      ]);
      if (first === "ready") return await publish(file, { access });
      failure = await errors;
    }
    await publish(file, { failure });
  }

  const started = start().catch((error: unknown) => publish(file, { failure: String(error) }));
  return {
    file,
    async dispose() {
      disposed = true;
      if (child?.exitCode === null && child.signalCode === null) {
        child.stdin?.end();
        await once(child, "exit");
      }
      await started.catch(() => undefined);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

interface Published {
  readonly access?: S3Access;
  readonly failure?: string;
}

async function publish(file: string, content: Published): Promise<void> {
  await writeFile(`${file}.new`, JSON.stringify(content), { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** Waits until the server of this test run is ready. */
export async function s3Access(): Promise<S3Access> {
  const file = process.env.PGTENANT_TEST_S3 ?? "";
  for (const end = Date.now() + patienceMs; Date.now() < end; await wait(100)) {
    const content = await readFile(file, "utf8").catch(() => undefined);
    if (content === undefined) continue;
    const { access, failure } = JSON.parse(content) as Published;
    if (access !== undefined) return access;
    throw new Error(`the S3 server did not start:\n${failure}`);
  }
  throw new Error("the S3 server did not start in time");
}
