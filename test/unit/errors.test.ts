import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { AppError, ExitCode } from "../../src/errors.ts";

suite("an error for operators", () => {
  test("has code, exit code and message, and empty lists where nothing is said", () => {
    const error = new AppError("no-such-tenant", ExitCode.usage, 'there is no tenant "x"');
    assert.equal(error.name, "AppError");
    assert.equal(String(error), 'AppError: there is no tenant "x"');
    assert.equal(error.code, "no-such-tenant");
    assert.equal(error.exitCode, 2);
    assert.equal(error.hint, undefined);
    assert.deepEqual(error.details, []);
    assert.deepEqual(error.data, {});
    assert.equal(Object.hasOwn(error, "cause"), false);
  });

  test("keeps what caused it", () => {
    const cause = new Error("raw");
    const error = new AppError("x", ExitCode.storage, "m", { cause, hint: "Do.", details: ["a"] });
    assert.equal(error.cause, cause);
    assert.equal(error.hint, "Do.");
    assert.deepEqual(error.details, ["a"]);
  });

  test("has one of the documented exit codes, each once", () => {
    assert.deepEqual(Object.values(ExitCode), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130]);
  });
});
