// Runs test files against one throwaway PostgreSQL server, and one S3 server if any of them uses it:
//   node test/run.ts unit integration            all of test/unit and test/integration
//   node test/run.ts test/integration/x.test.ts  one file
//   node test/run.ts unit -- --test-name-pattern=path    further arguments for node --test
import { spawn } from "node:child_process";
import { once } from "node:events";
import { glob, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AppError } from "../src/errors.ts";
import { findClientPrograms } from "../src/postgres/client-programs.ts";
import { fastSettings, withThrowawayServer } from "../src/postgres/throwaway-server.ts";
import { missingProgram, startS3Server } from "./harness/s3-server.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

const separator = process.argv.indexOf("--", 2);
const chosen = process.argv.slice(2, separator === -1 ? undefined : separator);
const passedOn = separator === -1 ? [] : process.argv.slice(separator + 1);

const patterns = chosen.map((name) => (name.endsWith(".ts") ? name : `test/${name}/**/*.test.ts`));
const files = (await Array.fromAsync(glob(patterns, { cwd: root }))).sort();

const begun = performance.now();
try {
  process.exitCode = await runTests();
} catch (error) {
  if (!(error instanceof AppError)) throw error;
  console.error([error.message, `hint: ${error.hint}`, ...error.details].join("\n"));
  process.exitCode = error.exitCode;
}

async function runTests(): Promise<number> {
  if (files.length === 0) {
    console.error(`no test files for ${chosen.join(" ") || "no arguments"}`);
    return 1;
  }
  // It becomes ready while the first tests run; those that need it wait for it.
  const s3 = (await needsS3()) ? await startS3Server() : undefined;
  const code = await withThrowawayServer(
    {
      binDir: process.env.PGTENANT_PG_BIN,
      path: process.env.PATH,
      settings: { ...fastSettings, max_connections: "200", max_prepared_transactions: "10" },
    },
    async (server) => {
      const run = await withoutUnrunnable(server.version);
      console.log(`PostgreSQL ${server.version} (${server.source}), ${run.length} test files`);
      const args = ["--test", "--test-concurrency=2", "--test-reporter=spec"];
      const child = spawn(process.execPath, [...args, ...passedOn, ...run], {
        cwd: root,
        env: {
          ...process.env,
          PGTENANT_TEST_URL: server.url,
          ...(s3 && { PGTENANT_TEST_S3: s3.file }),
        },
        stdio: ["ignore", "inherit", "inherit"],
      });
      // Passed on to the tests; their end then ends us in order, server included.
      for (const signal of ["SIGINT", "SIGTERM"] as const) {
        process.on(signal, () => child.kill(signal));
      }
      await once(child, "exit");
      return child.exitCode ?? 130;
    },
  ).finally(() => s3?.dispose());
  console.log(`total time ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  return code;
}

/**
 * Without PostgreSQL's client programs, which the embedded server does not bring, there are no
 * whole-database backups: the files that make some, or ask doctor about them, are left out by name.
 */
async function withoutUnrunnable(serverVersion: string): Promise<readonly string[]> {
  const serverMajor = Number.parseInt(serverVersion, 10);
  const { PGTENANT_PG_BIN: binDir, PATH: path } = process.env;
  const lack = await findClientPrograms({ binDir, path, serverMajor }).then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof AppError) return error.message;
      throw error;
    },
  );
  if (lack === undefined) return files;
  const needs =
    /"backup"|"doctor"|pg_dump|backUp\(|examineBackups|harness\/(whole-database|backup-|kill-backup|kill-restore|tamper)/;
  const skipped: string[] = [];
  for (const file of files) {
    if (file.startsWith("test/unit/")) continue;
    if (needs.test(await readFile(join(root, file), "utf8"))) skipped.push(file);
  }
  for (const file of skipped) console.log(`${file} is skipped: ${lack}`);
  return files.filter((file) => !skipped.includes(file));
}

/** Whether a chosen file uses the S3 server, and this machine has one. */
async function needsS3(): Promise<boolean> {
  const uses = await Promise.all(
    files.map(async (file) =>
      /harness\/(s3-|fault-proxy)/.test(await readFile(join(root, file), "utf8")),
    ),
  );
  if (!uses.includes(true)) return false;
  const missing = missingProgram();
  if (missing !== undefined) console.log(`tests with S3 are skipped: ${missing}`);
  return missing === undefined;
}
