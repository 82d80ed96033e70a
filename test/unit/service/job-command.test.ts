import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { AppError, ExitCode } from "../../../src/errors.ts";
import { commandJob } from "../../../src/service/command-job.ts";
import type { JobProgress, JobRun } from "../../../src/service/job.ts";
import { type JobProgram, runJobCommand } from "../../../src/service/job-command.ts";
import { outcomeOf } from "../../../src/service/job-outcome.ts";
import { slotsOf } from "../../../src/service/slots.ts";

/** A program that does what its first argument says, as a command of ours would. */
function programOf(script: string): JobProgram {
  return { argv: [process.execPath, "-e", script, "--"], flags: [], environment: process.env };
}

function runOf(signal = new AbortController().signal) {
  const told: JobProgress[] = [];
  const warnings: string[] = [];
  const slot = new Date("2026-01-01T02:00:00Z");
  const run: JobRun = {
    slot,
    attempt: 1,
    signal,
    progress: (progress) => told.push(progress),
    warn: (text) => warnings.push(text),
  };
  return { run, told, warnings };
}

const end = (document: object, code: number) =>
  outcomeOf({
    command: ["x"],
    output: JSON.stringify(document),
    lastError: "",
    code,
    by: null,
  });

suite("a command of a job", () => {
  test("tells how far it is, what it warns of, and what it has done", async () => {
    const { run, told, warnings } = runOf();
    const outcome = await runJobCommand(
      programOf(`
        process.send({ step: "dump", done: 5, total: 10 });
        process.send("nonsense");
        process.stderr.write("warning: look at this\\nnot at that\\n");
        console.log(JSON.stringify({ id: "backup_1", parts: [{ bytes: 3 }, { bytes: 4 }] }));
        process.channel.unref();
      `),
      ["backup"],
      run,
    );
    assert.deepEqual(outcome, {
      message: "backup_1",
      id: "backup_1",
      bytes: 7,
      failure: undefined,
    });
    assert.deepEqual(told, [{ step: "dump", done: 5, total: 10 }]);
    assert.deepEqual(warnings, ["look at this"]);
  });

  test("that is asked to stop by the end of its channel gets no signal", async () => {
    const stop = new AbortController();
    const { run } = runOf(stop.signal);
    const script = `
      process.on("SIGTERM", () => process.exit(99));
      process.on("disconnect", () => setTimeout(() => {
        console.log(JSON.stringify({ id: "done all the same" }));
        process.exit(0);
      }, 300));
      process.send({ step: "ready", done: 0 });`;
    const running = runJobCommand(programOf(script), ["backup"], {
      ...run,
      progress: () => stop.abort(),
    });
    assert.equal((await running).id, "done all the same");
  });

  test("that was killed, or cannot be started, may be tried again; a crash says its last line", async () => {
    const { run } = runOf();
    const kill = programOf("process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1000)");
    await assert.rejects(runJobCommand(kill, ["backup"], run), {
      message: "its process was ended by SIGKILL",
      exitCode: ExitCode.interrupted,
    });
    const missing = { ...kill, argv: ["/nonexistent/node"] };
    await assert.rejects(runJobCommand(missing, ["backup"], run), {
      code: "job-not-started",
      exitCode: ExitCode.interrupted,
    });
    const crash = programOf("console.error('bad luck'); process.exitCode = 77");
    await assert.rejects(runJobCommand(crash, ["backup"], run), {
      message: "it ended with exit code 77: bad luck",
    });
  });

  test("that has done a part names each thing that failed", () => {
    const error = { code: "x", message: "no rights", hint: "Grant some." };
    const exported = end(
      { exported: [{}], failed: [{ tenant: { slug: "acme" }, error }], exitCode: 7 },
      7,
    );
    assert.equal(exported.failure?.message, 'tenant "acme": no rights');
    assert.equal(exported.failure?.hint, "Grant some.");
    const verified = end(
      { valid: false, copies: [{ valid: true }, { place: "s3://b", error }], exitCode: 3 },
      3,
    );
    assert.equal(verified.failure?.message, "s3://b: no rights");
    assert.equal(verified.failure?.exitCode, 3);
    assert.throws(() => end({ error }, 7), { message: "no rights", exitCode: 7 });
  });
});

suite("a job of several commands", () => {
  test("runs each, names those that failed, and tries only them again", async () => {
    const ran: string[] = [];
    const script = `
      const name = process.argv.at(-3);
      process.send({ step: name, done: 1 });
      console.log(JSON.stringify(name === "b" && process.env.BROKEN === "yes"
        ? { error: { code: "connection-lost", message: "gone", hint: null } } : {}));
      process.exitCode = name === "b" && process.env.BROKEN === "yes" ? 7 : 0;
      process.channel.unref();`;
    const environment: Record<string, string | undefined> = { ...process.env, BROKEN: "yes" };
    const job = commandJob({
      kind: "tenants",
      slots: slotsOf("0 2 * * *", "UTC", "test"),
      program: { ...programOf(script), environment },
      commands: ["a", "b", "c"].map((tenant) => ["export", tenant]),
    });
    const { run } = runOf();
    const noting = {
      ...run,
      progress: ({ step }: JobProgress) => {
        if (step.includes(": ")) ran.push(step);
      },
    };
    await assert.rejects(job.run(noting), (error) => {
      assert.ok(error instanceof AppError);
      assert.equal(error.message, "1 of 3 failed: export b: gone");
      assert.equal(error.exitCode, ExitCode.database, "so that it is tried again");
      return true;
    });
    assert.deepEqual(ran, ["export a: a", "export b: b", "export c: c"]);
    environment.BROKEN = "no";
    ran.length = 0;
    await job.run(noting);
    assert.deepEqual(ran, ["export b: b"]);
    ran.length = 0;
    await job.run({ ...noting, slot: new Date("2026-01-02T02:00:00Z") });
    assert.equal(ran.length, 3, "of the next slot all");
  });
});
