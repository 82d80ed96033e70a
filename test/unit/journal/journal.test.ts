import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  appendFile,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, suite, test } from "node:test";
import { AppError, ExitCode } from "../../../src/errors.ts";
import {
  type Journal,
  openJournal,
  readJournal,
  withJournal,
} from "../../../src/journal/journal.ts";
import { recentOperations } from "../../../src/journal/recent-operations.ts";
import { verifyJournal } from "../../../src/journal/verify-journal.ts";
import { thisProcess } from "../../../src/postgres/process-identity.ts";
import { killHard, outputOf, startScript, untilPrinted } from "../../harness/child.ts";

suite("the journal", () => {
  let root: string;
  let folder: string;
  let path: string;
  let journal: Journal;
  let warnings: string[];
  let count = 0;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  beforeEach(() => {
    count += 1;
    folder = join(root, `folder-${count}`);
    path = join(folder, "journal.jsonl");
    warnings = [];
    const warn = (text: string) => warnings.push(text);
    journal = openJournal(folder, { secrets: ["s3cret-phrase", "done"], warn });
  });
  after(() => rm(root, { recursive: true }));

  const lines = async () => (await readFile(path, "utf8")).split("\n").slice(0, -1);
  const records = async () => await Array.fromAsync(readJournal(folder));

  /** Six lines: three operations, started and done. */
  async function threeOperations(): Promise<readonly string[]> {
    for (const subject of ["one", "two", "three"]) {
      const entry = await journal.begin("backup", { subject });
      await entry.done();
    }
    return await lines();
  }

  async function rewrite(changed: readonly string[]): Promise<void> {
    await writeFile(path, changed.map((line) => `${line}\n`).join(""));
  }

  const findings = async () =>
    (await verifyJournal(folder)).findings.map(({ kind, line }) => `${kind} ${line}`);

  test("has a line for the beginning and one for the end, with who, what and how it ended", async () => {
    const entry = await journal.begin("backup", {
      database: "nkudo",
      details: { format: "plain" },
    });
    await entry.done({ subject: "backup_20260101_020000", details: { bytes: 7 } });
    const [started, done, ...rest] = await records();
    assert.deepEqual(rest, []);
    assert.ok(started !== undefined && done !== undefined);
    const { seq, run, event, operation, who, pid, database, details, prev } = started;
    assert.deepEqual(
      { seq, event, operation, pid, database, details, prev },
      {
        seq: 1,
        event: "started",
        operation: "backup",
        pid: process.pid,
        database: "nkudo",
        details: { format: "plain" },
        prev: "0".repeat(64),
      },
    );
    assert.match(who, /^.+@.+$/);
    assert.equal(done.run, run);
    assert.equal(done.prev, started.hash);
    assert.equal(done.subject, "backup_20260101_020000");
    assert.equal(done.exitCode, 0);
    assert.ok((done.seconds ?? -1) >= 0);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
  });

  test("has of a failure the code, the exit code, the message and the hint", async () => {
    const entry = await journal.begin("restore");
    await entry.failed(new AppError("wrong-key", ExitCode.key, "no key fits", { hint: "Look." }));
    const last = (await records()).at(-1);
    assert.deepEqual([last?.event, last?.exitCode], ["failed", 6]);
    assert.deepEqual(last?.details, {
      error: { code: "wrong-key", message: "no key fits", hint: "Look." },
    });
    await entry.failed(new TypeError("x is undefined"));
    assert.equal((await records()).at(-1)?.exitCode, 1);
  });

  test("is hashed as its format says: the line's text without its hash", async () => {
    for (const line of await threeOperations()) {
      const [, text = "", hash] = /^(.*),"hash":"([0-9a-f]{64})"\}$/.exec(line) ?? [];
      assert.equal(createHash("sha256").update(`${text}}`).digest("hex"), hash);
    }
    const { records: whole, problems, head } = await verifyJournal(folder);
    assert.deepEqual([whole, problems, head.seq], [6, 0, 6]);
  });

  test("has no secret in any form, and masks none of its own words", async () => {
    const entry = await journal.begin("backup", {
      database: "s3cret-phrase",
      details: {
        url: "postgres://u:pw@host/db",
        list: ["a s3cret-phrase b", { deep: "not done" }],
        done: 7,
      },
    });
    await entry.failed(new Error("s3cret-phrase is wrong"));
    const long = `${"x ".repeat(1_998)}s3cret-phrase`;
    await (await journal.begin("backup", { details: { long } })).done();
    const text = await readFile(path, "utf8");
    assert.ok(!text.includes("s3cret"));
    assert.ok(!text.includes("u:pw@"));
    const [started] = await records();
    assert.equal((await records()).at(-1)?.event, "done");
    assert.deepEqual(started?.details, {
      url: "postgres://u:***@host/db",
      list: ["a *** b", { deep: "not ***" }],
      done: 7,
    });
    assert.deepEqual(await findings(), []);
  });

  test("cuts long texts, and leaves out details that are too long for a line", async () => {
    const text = "x".repeat(100_000);
    await journal.begin("backup", { subject: text, details: { text } });
    await journal.begin("backup", { details: { texts: Array(100).fill(text) } });
    const [cut, leftOut] = await records();
    assert.match(cut?.subject ?? "", /^x{3900,4000}…$/);
    assert.match(String(cut?.details?.text), /^x{3900,4000}…$/);
    assert.deepEqual(leftOut?.details, { leftOut: "too long" });
    assert.deepEqual(await findings(), []);
  });

  test("of two processes that write at the same time is one chain", async () => {
    const counts = [25, 25, 25];
    await Promise.all(
      counts.map((number, at) => outputOf("journal-child.ts", [folder, `job${at}`, `${number}`])),
    );
    const verification = await verifyJournal(folder);
    assert.deepEqual(verification.findings, []);
    assert.equal(verification.records, 150);
    for (const at of counts.keys()) {
      const own = (await records()).filter(({ operation }) => operation === `job${at}`);
      assert.deepEqual(
        own.flatMap(({ event, details }) => (event === "started" ? [details?.at] : [])),
        Array.from({ length: 25 }, (_, n) => n + 1),
      );
    }
  });

  test("can be written to although a lock file of this process could not be removed", async () => {
    await (await journal.begin("backup")).done();
    const lock = join(folder, ".journal.lock");
    const since = new Date().toISOString();
    const left = { ...(await thisProcess()), user: "test", operation: "journal", since };
    await writeFile(lock, `${JSON.stringify(left)}\n`);
    await (await journal.begin("prune")).done();
    assert.deepEqual(await operations(), ["prune done", "backup done"]);
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.includes("lock")),
      [],
    );
  });

  test("whose last line was cut short by a crash goes on behind it", async () => {
    const whole = await threeOperations();
    for (const cut of [1, 40, 150]) {
      await rewrite(whole);
      await truncate(path, (await stat(path)).size - cut);
      warnings.length = 0;
      const entry = await journal.begin("restore");
      assert.deepEqual(
        warnings.map((text) => /cut short \((\d+) bytes\), as by a crash/.exec(text)?.[1]),
        cut === 1 ? [] : [String((whole[5] ?? "").length + 1 - cut)],
      );
      await entry.done();
      const verification = await verifyJournal(folder);
      assert.equal(verification.problems, 0);
      assert.deepEqual(await findings(), cut === 1 ? [] : ["torn 6"]);
      // Without its line end alone a line is whole.
      assert.equal((await records()).at(-1)?.seq, cut === 1 ? 8 : 7);
    }
  });

  test("that is cut short and was not written to since is told as torn", async () => {
    await threeOperations();
    await truncate(path, (await stat(path)).size - 40);
    const { findings: found, problems, warnings: torn } = await verifyJournal(folder);
    assert.deepEqual([problems, torn], [0, 1]);
    assert.equal(
      found[0]?.message,
      "line 6 was cut short, as by a crash; no other record is missing there",
    );
  });

  test("heals a torn line of any kind, also one that no line end ever ended", async () => {
    for (const torn of ["{", "x".repeat(200_000), "\0\0\0\0", "\n\n{", '{"seq":9}']) {
      await rm(folder, { recursive: true, force: true });
      await threeOperations();
      await appendFile(path, torn);
      await journal.begin("restore");
      assert.equal((await verifyJournal(folder)).problems, 0, torn.slice(0, 20));
      assert.equal((await records()).at(-1)?.seq, 7);
    }
  });

  test("that begins with a torn line starts its chain behind it", async () => {
    await journal.begin("backup");
    await writeFile(path, '{"seq":1,"at":"20');
    await journal.begin("backup");
    assert.deepEqual(await findings(), ["torn 1"]);
  });

  const tampered: readonly (readonly [
    what: string,
    change: (lines: readonly string[]) => readonly string[],
    expected: readonly string[],
  ])[] = [
    [
      "altered",
      (all) => all.map((line, at) => (at === 2 ? line.replace('"two"', '"2"') : line)),
      ["altered 3"],
    ],
    [
      "altered, with a new hash",
      (all) => all.map((line, at) => (at === 2 ? rehashed(line.replace('"two"', '"2"')) : line)),
      ["broken-link 4"],
    ],
    ["removed", (all) => all.toSpliced(2, 1), ["missing 3"]],
    ["removed at the beginning", (all) => all.slice(2), ["missing 1"]],
    ["doubled", (all) => all.toSpliced(2, 0, all[2] ?? ""), ["out-of-order 4"]],
    [
      "moved",
      (all) => [...all.slice(0, 2), all[3] ?? "", all[2] ?? "", ...all.slice(4)],
      ["missing 3", "out-of-order 4", "missing 5"],
    ],
    ["replaced by something else", (all) => all.toSpliced(2, 1, "nothing"), ["damaged 3"]],
    [
      "renumbered",
      (all) => all.map((line, at) => (at > 2 ? renumbered(line, 1) : line)),
      ["missing 4", "altered 4", "altered 5", "altered 6"].sort(),
    ],
  ];
  for (const [what, change, expected] of tampered) {
    test(`with a line that was ${what} is told from a whole one, and can still be written to`, async () => {
      await rewrite(change(await threeOperations()));
      assert.deepEqual((await findings()).sort(), [...expected].sort());
      assert.ok((await verifyJournal(folder)).problems > 0);
      await (await journal.begin("backup")).done();
      assert.deepEqual((await findings()).sort(), [...expected].sort());
    });
  }

  function rehashed(line: string): string {
    const text = line.replace(/,"hash":"[0-9a-f]{64}"\}$/, "}");
    return `${text.slice(0, -1)},"hash":"${createHash("sha256").update(text).digest("hex")}"}`;
  }

  function renumbered(line: string, by: number): string {
    return line.replace(/"seq":(\d+)/, (_, seq: string) => `"seq":${Number(seq) + by}`);
  }

  test("shows any flipped byte", async () => {
    await threeOperations();
    const bytes = await readFile(path);
    for (let at = 3; at < bytes.length; at += 97) {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(flipped.readUInt8(at) ^ 1, at);
      await writeFile(path, flipped);
      const { problems, warnings: torn } = await verifyJournal(folder);
      // In the last line a flip may look like a crash, which is told all the same.
      assert.ok(problems + torn > 0, `byte ${at}`);
    }
  });

  test("keeps a bounded number of findings, and counts them all", async () => {
    await threeOperations();
    await appendFile(path, "nothing\n".repeat(500));
    const verification = await verifyJournal(folder);
    assert.equal(verification.findings.length, 100);
    assert.equal(verification.warnings, 500);
  });

  test("marks runs without an end as interrupted when their process is gone", async () => {
    const child = startScript("journal-child.ts", [folder, "backup", "2", "hang"]);
    await untilPrinted(child, "hanging");
    assert.deepEqual(await journal.markInterrupted(), [], "it is still running");
    assert.deepEqual(await operations(), ["backup running", "backup done"]);
    await killHard(child);
    assert.deepEqual(await operations(), ["backup unfinished", "backup done"]);
    const own = await journal.begin("restore");
    const marked = await journal.markInterrupted();
    assert.deepEqual(
      marked.map(({ pid, details }) => [pid, details?.at]),
      [[child.pid, 2]],
    );
    assert.deepEqual(await journal.markInterrupted(), [], "once is enough");
    await own.done();
    assert.deepEqual(await operations(), ["restore done", "backup interrupted", "backup done"]);
    const last = (await records()).find(({ event }) => event === "interrupted");
    assert.deepEqual(
      [last?.operation, last?.database, last?.details],
      ["backup", "nkudo", { started: 3 }],
    );
    assert.deepEqual(await findings(), []);
  });

  test("marks a run of another host only for who holds the lock under which it ran", async () => {
    await journal.begin("backup", { database: "nkudo" });
    const [line = ""] = await lines();
    await rewrite([rehashed(line.replace(/"host":"[^"]*"/, '"host":"db2"'))]);
    assert.deepEqual(await journal.markInterrupted(), []);
    const wrong = await journal.markInterrupted(({ database }) => database === "other");
    assert.deepEqual(wrong, []);
    const right = await journal.markInterrupted(({ database }) => database === "nkudo");
    assert.equal(right.length, 1);
  });

  async function operations(): Promise<readonly string[]> {
    const found = await recentOperations(folder, { limit: 10 });
    return found.map(({ started, result }) => `${started.operation} ${result}`);
  }

  test("gives the latest operations, of one name if wanted, and none where there is no journal", async () => {
    assert.deepEqual(await recentOperations(folder, { limit: 5 }), []);
    await threeOperations();
    await (await journal.begin("prune")).failed(new Error("no"));
    assert.deepEqual(await operations(), [
      "prune failed",
      "backup done",
      "backup done",
      "backup done",
    ]);
    const two = await recentOperations(folder, { limit: 2, operation: "backup" });
    assert.deepEqual(
      two.map(({ started }) => started.subject),
      ["three", "two"],
    );
  });

  test("is written around work: its end, or its failure, which is handed on", async () => {
    const warn = (text: string) => warnings.push(text);
    const result = await withJournal(
      journal,
      "prune",
      { database: "nkudo" },
      warn,
      async () => 7,
      (seven) => ({ exitCode: ExitCode.storage, details: { seven } }),
    );
    assert.equal(result, 7);
    const failure = new AppError("locked", ExitCode.locked, "somebody has it");
    await assert.rejects(
      withJournal(journal, "prune", {}, warn, () => Promise.reject(failure)),
      failure,
    );
    assert.deepEqual(
      (await records()).map(({ event, exitCode }) => [event, exitCode]),
      [
        ["started", undefined],
        ["done", 8],
        ["started", undefined],
        ["failed", 5],
      ],
    );
    assert.deepEqual(warnings, []);
  });

  test("that cannot be written is a warning, and the work is done", async () => {
    await writeFile(join(root, "no-folder"), "");
    const broken = openJournal(join(root, "no-folder"), { secrets: [], warn: () => undefined });
    const warn = (text: string) => warnings.push(text);
    assert.equal(await withJournal(broken, "prune", {}, warn, async () => "done"), "done");
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /^the journal was not written: ".*journal\.jsonl" cannot be/);
  });

  test("of 100,000 lines is read as a stream", async () => {
    await threeOperations();
    const [first = ""] = await lines();
    // Read as they are: every line is whole by itself.
    await writeFile(path, `${first}\n`.repeat(100_000));
    global.gc?.();
    const before = process.memoryUsage().heapUsed;
    let seen = 0;
    let most = 0;
    for await (const record of readJournal(folder)) {
      assert.equal(record.seq, 1);
      seen += 1;
      if (seen % 10_000 === 0) most = Math.max(most, process.memoryUsage().heapUsed - before);
    }
    assert.equal(seen, 100_000);
    assert.ok(most < 100 * 1024 ** 2, `${most} bytes`);
  });
});
