// Runs test files against one throwaway PostgreSQL server:
//   node test/run.ts unit integration            all of test/unit and test/integration
//   node test/run.ts test/integration/x.test.ts  one file
//   node test/run.ts unit -- --test-name-pattern=path    further arguments for node --test
import { spawn } from "node:child_process";
import { once } from "node:events";
import { glob } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { AppError } from "../src/errors.ts";
import { fastSettings, withThrowawayServer } from "../src/postgres/throwaway-server.ts";

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
  const code = await withThrowawayServer(
    {
      binDir: process.env.PGTENANT_PG_BIN,
      path: process.env.PATH,
      settings: { ...fastSettings, max_connections: "200" },
    },
    async (server) => {
      console.log(`PostgreSQL ${server.version} (${server.source}), ${files.length} test files`);
      const args = ["--test", "--test-concurrency=2", "--test-reporter=spec"];
      const child = spawn(process.execPath, [...args, ...passedOn, ...files], {
        cwd: root,
        env: { ...process.env, PGTENANT_TEST_URL: server.url },
        stdio: ["ignore", "inherit", "inherit"],
      });
      // Passed on to the tests; their end then ends us in order, server included.
      for (const signal of ["SIGINT", "SIGTERM"] as const) {
        process.on(signal, () => child.kill(signal));
      }
      await once(child, "exit");
      return child.exitCode ?? 130;
    },
  );
  console.log(`total time ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  return code;
}
