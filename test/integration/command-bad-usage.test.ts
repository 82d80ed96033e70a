import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Output } from "../../src/cli/output.ts";
import { runCommandLine } from "../../src/cli/root.ts";
import { AppError } from "../../src/errors.ts";
import { assertFailure, errorDocument } from "../harness/assert-failure.ts";
import { pgtenant } from "../harness/command.ts";

/** Nothing listens there: what is wrong with the command line is told before any connection. */
const url = "postgres://nobody:secret@127.0.0.1:1/none";

const badArguments: readonly (readonly [args: readonly string[], message: RegExp, hint: RegExp])[] =
  [
    [[], /no command is given$/, /--help lists the commands/],
    [["exprot", "acme"], /there is no such command; did you mean "export"\?$/, /--help/],
    [["frobnicate"], /unknown (command|argument) "frobnicate"$/, /--help/],
    [["export", "acme", "--frob"], /unknown argument "frob"$/, /<command> --help/],
    [["export", "acme", "--ouput", "x"], /unknown argument "ouput"$/, /<command> --help/],
    [["export", "acme", "globex"], /unknown (command|argument) "globex"$/, /--help/],
    [["import"], /an argument is missing after the command's name$/, /--help/],
    [["export"], /no tenant is named$/, /pgtenant tenants lists them/],
    [["export", "acme", "-o"], /(-o|--output) needs a value$/, /--help/],
    [["export", "acme", "-o", ""], /-o names nothing$/, /Give a file/],
    [
      ["export", "acme", "--all"],
      /--all and the tenant "acme" are both given$/,
      /Give one of them/,
    ],
    [["export", "--all", "-o", "-"], /--all writes one file a tenant/, /Name a folder/],
    [["export", "acme", "-o", "s3:/bucket/key"], /"s3:\/bucket\/key" names no object/, /s3:\/\/B/],
    [["export", "acme", "--compress", "lz4"], /--compress cannot be "lz4"; it is one of/, /--help/],
    [["export", "acme", "-o", "a", "-o", "b"], /-o is given 2 times$/, /Give it once/],
    [["import", "x", "--mode", "merge"], /--mode cannot be "merge"; it is one of/, /--help/],
    [["import", "x", "--max-row-size", "huge"], /--max-row-size "huge" is not a size/, /64MiB/],
    [
      ["import", "x", "--set", "nonsense"],
      /--set "nonsense" does not have the form/,
      /For example/,
    ],
  ];

const badVariables: readonly (readonly [Record<string, string>, message: RegExp, hint: RegExp])[] =
  [
    [
      { BACKUP_ENCRPYT: "true" },
      /the environment variable BACKUP_ENCRPYT is unknown; it looks like BACKUP_ENCRYPT$/,
      /^Rename it to BACKUP_ENCRYPT, or unset BACKUP_ENCRPYT\.$/,
    ],
    [
      { BACKUP_RETENTION_DAYS: "abc" },
      /the environment variable BACKUP_RETENTION_DAYS has a value that cannot be used: "abc"$/,
      /^It must be a whole number of days, at least 1; without the variable it is 30\.$/,
    ],
    [{ BACKUP_RETENTION_DAYS: "0" }, /BACKUP_RETENTION_DAYS .*: "0"$/, /at least 1/],
    [{ BACKUP_RETENTION_DAYS: "" }, /BACKUP_RETENTION_DAYS is empty$/, /at least 1/],
    [{ BACKUP_COMPRESS: "maybe" }, /BACKUP_COMPRESS .*: "maybe"$/, /true or false/],
    [{ BACKUP_SCHEDULE: "daily at two" }, /BACKUP_SCHEDULE .*: "daily at two"$/, /cron expression/],
    [{ BACKUP_S3_ENDPOINT: "minio:9000" }, /BACKUP_S3_ENDPOINT .*: "minio:9000"$/, /https?:\/\//],
    [
      { PGTENANT_PROFIL: "x" },
      /PGTENANT_PROFIL is unknown; it looks like PGTENANT_PROFILE$/,
      /Rename/,
    ],
    [
      { DATABASE_URL_FILE: "/no/such" },
      /DATABASE_URL and DATABASE_URL_FILE are both set$/,
      /Unset/,
    ],
  ];

const surroundings = {
  output: new Output(false, true),
  signal: new AbortController().signal,
  interruption: { meaning: "" },
};

interface Refusal {
  readonly message: RegExp;
  readonly hint: RegExp;
}

/** Runs a command line in this process, which takes no time, in an environment of its own. */
async function assertRefused(
  args: readonly string[],
  { message, hint }: Refusal,
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  const own = process.env;
  process.env = { ...environment };
  const error = await runCommandLine(args, surroundings)
    .then(
      (code) => assert.fail(`exit ${code}`),
      (thrown: unknown) => thrown,
    )
    .finally(() => {
      process.env = own;
    });
  assert.ok(error instanceof AppError, String(error));
  assert.equal(error.exitCode, 2, error.message);
  assert.match(error.message, message);
  assert.match(error.hint ?? "", hint);
}

suite("a command line that cannot be understood", () => {
  for (const [args, message, hint] of badArguments) {
    test(`pgtenant ${args.map((word) => word || '""').join(" ")} is refused with what is wrong`, () =>
      assertRefused(args, { message, hint }));
  }

  test("it exits with 2, a message and a hint", async () => {
    assertFailure(await pgtenant(["exprot", "acme"], { url }), {
      code: 2,
      message: /^pgtenant: there is no such command; did you mean "export"\?$/,
      hint: /^hint: pgtenant --help lists the commands; .* their options\.$/,
    });
  });

  test("with --json it is an object on the standard output", async () => {
    const result = await pgtenant(["export", "acme", "--frob", "--json"], { url });
    assert.equal(result.code, 2);
    assert.deepEqual(errorDocument(result), {
      code: "usage",
      message: 'unknown argument "frob"',
      hint: "pgtenant --help lists the commands; pgtenant <command> --help their options.",
      exitCode: 2,
      details: [],
    });
  });
});

suite("an environment that cannot be understood", () => {
  for (const [env, message, hint] of badVariables) {
    const [[name, value] = []] = Object.entries(env);
    test(`${name}="${value}" is refused before anything is done`, () =>
      assertRefused(["tenants"], { message, hint }, { DATABASE_URL: url, ...env }));
  }

  test("it exits with 2, a message and a hint, whatever the command", async () => {
    const env = { BACKUP_ENCRPYT: "true" };
    for (const args of [["tenants"], ["import", "x"], ["verify", "x"], ["demo"]]) {
      assertFailure(await pgtenant(args, { url, env }), {
        code: 2,
        message:
          /the environment variable BACKUP_ENCRPYT is unknown; it looks like BACKUP_ENCRYPT$/,
        hint: /^hint: Rename it to BACKUP_ENCRYPT, or unset BACKUP_ENCRPYT\.$/,
      });
    }
  });

  test("so does a working folder that was removed meanwhile", async () => {
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
    const script = `cd "${folder}" && rmdir "${folder}" && exec "${process.execPath}" "${main}" tenants`;
    await assert.rejects(promisify(execFile)("sh", ["-c", script]), {
      code: 2,
      stderr:
        /^pgtenant: the working folder is not there any more\nhint: Change to one that is there/,
    });
  });

  test("the file of a secret that cannot be read is named", async () => {
    const result = await pgtenant(["tenants"], { env: { DATABASE_URL_FILE: "/no/such/file" } });
    assertFailure(result, {
      code: 2,
      message: /the file "\/no\/such\/file" that DATABASE_URL_FILE names cannot be read$/,
      hint: /path, owner and mode/,
    });
  });

  test("a variable that resembles none of ours is only warned about", async () => {
    const result = await pgtenant(["tenants"], { url, env: { BACKUP_PORT_8080_TCP: "x" } });
    assert.equal(result.code, 7);
    assert.match(
      result.stderr,
      /^warning: the environment variable BACKUP_PORT_8080_TCP is unknown/,
    );
  });

  test("BACKUP_ENCRYPT=true never leads to a readable bundle", async () => {
    const result = await pgtenant(["export", "acme"], { url, env: { BACKUP_ENCRYPT: "true" } });
    assertFailure(result, {
      code: 6,
      message: /encryption is on, and there is no key for it$/,
      hint: /BACKUP_ENCRYPTION_KEY/,
    });
  });
});
