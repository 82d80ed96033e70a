import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { usageMessage } from "../../../src/cli/usage-messages.ts";

suite("what yargs says", () => {
  test("is said in our own voice", () => {
    const said: readonly (readonly [string | undefined, string])[] = [
      ["Unknown argument: tenat", 'unknown argument "tenat"'],
      ["Unknown arguments: a, b", 'unknown argument "a", "b"'],
      ["Unknown command: exprt", 'unknown command "exprt"'],
      ["Did you mean export?", 'there is no such command; did you mean "export"?'],
      [
        "Not enough non-option arguments: got 0, need at least 1",
        "an argument is missing after the command's name",
      ],
      ["Not enough arguments following: o", "-o needs a value"],
      ["Not enough arguments following: output", "--output needs a value"],
      [
        'Invalid values:\n  Argument: mode, Given: "all", Choices: "missing", "overwrite"',
        '--mode cannot be "all"; it is one of "missing", "overwrite"',
      ],
      ["Something new", "something new"],
      [undefined, "the command line cannot be understood"],
    ];
    for (const [message, expected] of said) assert.equal(usageMessage(message), expected);
  });
});
