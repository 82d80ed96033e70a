import assert from "node:assert/strict";
import { afterEach, mock, suite, test } from "node:test";
import { Output } from "../../../src/cli/output.ts";
import { reportError } from "../../../src/cli/report-error.ts";
import { AppError, ExitCode } from "../../../src/errors.ts";

interface Reported {
  readonly exitCode: ExitCode;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the two streams get; the runner's own reports go elsewhere. */
function report(error: unknown, json: boolean, secrets: readonly string[] = []): Reported {
  const written = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    mock.method(process[name], "write", (text: string) => {
      written[name] += text;
      return true;
    });
  }
  try {
    const output = new Output(json, false);
    output.hide(secrets);
    return { exitCode: reportError(output, error), ...written };
  } finally {
    mock.restoreAll();
  }
}

suite("the report of an error", () => {
  afterEach(() => mock.restoreAll());

  const refused = new AppError("leaves-tenant", ExitCode.refused, "2 rows leave the tenant", {
    hint: "Take another bundle.",
    details: ["public.a (id)=(1)", "public.b (id)=(2)"],
    data: { rows: 2 },
  });

  test("is message, details and hint on stderr, and nothing on the standard output", () => {
    assert.deepEqual(report(refused, false), {
      exitCode: 4,
      stdout: "",
      stderr: [
        "pgtenant: 2 rows leave the tenant",
        "  public.a (id)=(1)",
        "  public.b (id)=(2)",
        "hint: Take another bundle.",
        "",
      ].join("\n"),
    });
  });

  test("has with --json one line more, on the standard output", () => {
    const { stdout, stderr } = report(refused, true);
    assert.match(stderr, /^pgtenant: 2 rows leave the tenant\n/);
    assert.match(stdout, /^\{.*\}\n$/);
    assert.deepEqual(JSON.parse(stdout), {
      error: {
        rows: 2,
        code: "leaves-tenant",
        message: "2 rows leave the tenant",
        hint: "Take another bundle.",
        exitCode: 4,
        details: ["public.a (id)=(1)", "public.b (id)=(2)"],
      },
    });
    const bare = report(new AppError("x", ExitCode.usage, "m"), true);
    assert.equal(JSON.parse(bare.stdout).error.hint, null);
    assert.deepEqual(JSON.parse(bare.stdout).error.details, []);
  });

  test("shows people fifty details and how many more there are, and programs all", () => {
    const details = Array.from({ length: 53 }, (_, n) => `detail ${n + 1}`);
    const error = new AppError("many", ExitCode.refused, "many", { details });
    const { stdout, stderr } = report(error, true);
    assert.deepEqual(stderr.split("\n"), [
      "pgtenant: many",
      ...details.slice(0, 50).map((detail) => `  ${detail}`),
      "  … and 3 more",
      "",
    ]);
    assert.deepEqual(JSON.parse(stdout).error.details, details);
    const fifty = new AppError("many", ExitCode.refused, "many", { details: details.slice(0, 50) });
    assert.doesNotMatch(report(fifty, false).stderr, /more/);
  });

  test("of anything but an AppError is an internal error with stack and cause: exit 1", () => {
    const { exitCode, stdout, stderr } = report(
      new TypeError("x is undefined", { cause: new Error("the reason") }),
      true,
    );
    assert.equal(exitCode, 1);
    assert.match(
      stderr,
      /^pgtenant: internal error: x is undefined\nhint: This is a defect of pgtenant\. .*\nTypeError: x is undefined\n {4}at /,
    );
    assert.match(stderr, /\ncaused by Error: the reason\n {4}at /);
    assert.equal(JSON.parse(stdout).error.code, "internal");
    assert.doesNotMatch(stdout, /\bat /);
    assert.match(report("just a text", false).stderr, /^pgtenant: internal error: just a text\n/);
  });

  test("masks secrets in all of it, and lets no control character at the terminal", () => {
    const error = new AppError("x", ExitCode.database, "no hunter22 \u001b[2J", {
      details: ["hunter22\u202e"],
      hint: "Try hunter22.",
      data: { url: "postgres://me:hunter22@h/d" },
    });
    const { stdout, stderr } = report(error, true, ["hunter22"]);
    assert.equal(stderr, "pgtenant: no *** \ufffd[2J\n  ***\ufffd\nhint: Try ***.\n");
    assert.doesNotMatch(stdout, /hunter22/);
    assert.equal(JSON.parse(stdout).error.message, "no *** \u001b[2J");
  });
});
