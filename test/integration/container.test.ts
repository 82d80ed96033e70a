import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { type CompiledProgram, compileProgram } from "../harness/compiled-program.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { instructionsOf, readProject, without } from "../harness/deployment.ts";

// A process space of its own, as a container has one, in which the init is number 1.
const space = ["--pid", "--fork", "--mount-proc", "--kill-child"];

function withoutContainers(): string | undefined {
  const { status } = spawnSync("unshare", [...space, "true"]);
  if (status !== 0) return "this user may not make a space of processes (unshare --pid)";
  return without("tini", "tini");
}

/** A part of the Dockerfile that is written as JSON: ENTRYPOINT, the CMD of HEALTHCHECK. */
function listIn(word: string): readonly string[] {
  const found = instructionsOf(readProject("deployments/Dockerfile.backup")).findLast(
    (instruction) => instruction.word === word,
  );
  return JSON.parse(found?.rest.replace(/^[^[]*/, "") ?? "") as string[];
}

suite("the compiled program in a container", { skip: withoutContainers() ?? false }, () => {
  let database: TestDatabase;
  let program: CompiledProgram;

  before(async () => {
    database = await createDatabase("container", "n-kudo", { settings: { "seed.big": "off" } });
    program = await compileProgram();
  });
  after(async () => {
    await program.remove();
    await database.drop();
  });

  async function isHealthy(listen: string): Promise<boolean> {
    const [, , ...args] = listIn("HEALTHCHECK");
    return await promisify(execFile)(process.execPath, ["-e", ...args], {
      env: { PGTENANT_HTTP_LISTEN: listen },
    }).then(
      () => true,
      () => false,
    );
  }

  test("is asked for its health, and ended by SIGTERM within ten seconds while pg_dump is at work", async () => {
    const { PATH = "" } = process.env;
    const folder = join(program.folder, "backups");
    const entry = listIn("ENTRYPOINT").map((word) => {
      if (word === "node") return process.execPath;
      return word.endsWith("/dist/main.js") ? program.main : word;
    });
    // It keeps the dump waiting.
    const holder = await database.connect();
    await holder.query("BEGIN; LOCK TABLE public.sites");
    const child = spawn("unshare", [...space, ...entry, ...listIn("CMD")], {
      env: {
        PATH,
        DATABASE_URL: database.url,
        BACKUP_DIR: folder,
        BACKUP_SCHEDULE: "* * * * * *",
        PGTENANT_HTTP_LISTEN: "127.0.0.1:0",
      },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const ended = once(child, "exit");
    try {
      const lines: { readonly event: string; readonly status?: string }[] = [];
      createInterface(child.stderr).on("line", (line) => lines.push(JSON.parse(line)));
      const at = async (event: string) => {
        for (let tries = 0; tries < 300; tries++) {
          const line = lines.find((one) => one.event === event);
          if (line !== undefined) return line;
          await sleep(100);
        }
        throw new Error(`"${event}" was not logged:\n${JSON.stringify(lines)}`);
      };

      const { status = "" } = await at("service started");
      assert.equal(await isHealthy(new URL(status).host), true);
      assert.equal(await isHealthy("127.0.0.1:1"), false);
      assert.equal(await isHealthy("off"), true);

      await at("started");
      const waiting = async () => {
        const rows = await database.query(
          "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE % ACCESS SHARE MODE%' AND datname = current_database()",
        );
        return rows.length > 0;
      };
      for (let tries = 0; !(await waiting()); tries++) {
        assert.ok(tries < 300, "pg_dump has come as far as the lock");
        await sleep(100);
      }

      const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8");
      const begun = performance.now();
      process.kill(Number(children.trim()), "SIGTERM");
      const [code] = await ended;
      assert.equal(code, 0);
      assert.ok(performance.now() - begun < 10_000);
      assert.equal(lines.at(-1)?.event, "service ended");
      assert.deepEqual(await readdir(folder), ["journal.jsonl"]);
    } finally {
      child.kill("SIGKILL");
      await holder.end();
    }
  });
});
