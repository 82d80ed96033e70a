import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startProgram } from "../../../src/postgres/child-program.ts";
import { processStart } from "../../../src/postgres/process-start.ts";
import { killHard, startScript, untilPrinted } from "../../harness/child.ts";

const { PATH = "" } = process.env;
const options = { env: { PATH }, stdin: "ignore" } as const;

async function isRunning(pid: number): Promise<boolean> {
  const found = await processStart(pid);
  return found !== undefined && found.state !== "Z";
}

suite("a program that is started", () => {
  test("ends soon after we are killed, though it neither reads nor writes", async () => {
    const run = startScript("program-child.ts", ["sh", "sleep 60"]);
    const pid = Number((await untilPrinted(run, "started")).split("\n")[0]);
    assert.equal(await isRunning(pid), true);
    await killHard(run);
    const end = Date.now() + 30_000;
    while ((await isRunning(pid)) && Date.now() < end) await sleep(20);
    assert.equal(await isRunning(pid), false);
  });

  test("that fails is an error with its own words: exit 7", async () => {
    const { done } = startProgram("sh", ["-c", "echo 'error: it cannot' >&2; exit 3"], options);
    await assert.rejects(done, { exitCode: 7, message: "sh failed: error: it cannot" });
  });

  test("that is not there is an error that names it: exit 7", async () => {
    const { done } = startProgram("/nowhere/pg_dump", [], options);
    await assert.rejects(done, { exitCode: 7, message: "pg_dump cannot be started" });
  });

  test("is stopped when it is asked to", async () => {
    const child = startProgram("sh", ["-c", "exec sleep 60"], options);
    await child.stop();
    await assert.rejects(child.done, /was ended by SIGTERM/);
  });
});
