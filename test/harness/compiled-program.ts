import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);

/** The program as the package has it: what operators run, without the stripping of types. */
export interface CompiledProgram {
  /** A folder of the test's own. */
  readonly folder: string;
  readonly main: string;
  /** Runs a command that must succeed. */
  measure(databaseUrl: string, args: readonly string[]): Promise<Measured>;
  remove(): Promise<void>;
}

export interface Measured {
  /** Of resident memory, in megabytes. */
  readonly peakMb: number;
  readonly seconds: number;
  readonly stdout: string;
}

export async function compileProgram(): Promise<CompiledProgram> {
  const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  // As in the package: dist beside schemas and package.json.
  const tsc = join(root, "node_modules/.bin/tsc");
  await run(tsc, ["-p", "tsconfig.build.json", "--outDir", join(folder, "dist")], { cwd: root });
  for (const name of ["package.json", "schemas"]) {
    await cp(join(root, name), join(folder, name), { recursive: true });
  }
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  const main = join(folder, "dist/main.js");
  return {
    folder,
    main,
    measure: (databaseUrl, args) => measure(main, databaseUrl, args),
    remove: () => rm(folder, { recursive: true }),
  };
}

async function measure(
  main: string,
  databaseUrl: string,
  args: readonly string[],
): Promise<Measured> {
  const { PATH = "" } = process.env;
  const started = performance.now();
  const child = spawn(process.execPath, [main, ...args], {
    env: { PATH, DATABASE_URL: databaseUrl, BACKUP_DIR: join(main, "../../backups") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  // The kernel keeps the peak, so that looking now and then misses only the last moment.
  let peak = 0;
  const timer = setInterval(async () => {
    const status = await readFile(`/proc/${child.pid}/status`, "utf8").catch(() => "");
    peak = Math.max(peak, Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0));
  }, 20);
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  clearInterval(timer);
  assert.equal(child.exitCode, 0, stderr);
  return {
    peakMb: Math.round((peak * 1024) / 1e6),
    seconds: (performance.now() - started) / 1000,
    stdout,
  };
}
