import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseAssignments, parseRowSize } from "../../../src/cli/options.ts";

suite("--max-row-size", () => {
  test("takes bytes, decimal and binary units, in any case, with spaces", () => {
    const sizes: Readonly<Record<string, number>> = {
      "1024": 1024,
      "2000B": 2000,
      "64MiB": 67_108_864,
      "64mib": 67_108_864,
      "64m": 67_108_864,
      "64MB": 64_000_000,
      " 2 kB ": 2000,
      "2k": 2048,
      "1KiB": 1024,
      "1GiB": 1_073_741_824,
      "1g": 1_073_741_824,
      "1gb": 1_000_000_000,
    };
    for (const [text, bytes] of Object.entries(sizes))
      assert.equal(parseRowSize(text), bytes, text);
  });

  test("takes nothing else: exit 2, with an example", () => {
    const wrong = [
      "",
      "MiB",
      "-1MiB",
      "1.5MiB",
      "1023",
      "1TiB",
      "2GiB",
      "64 MiB x",
      "9".repeat(400),
    ];
    for (const text of [...wrong, "64constructor", "64toString", "1e6"]) {
      assert.throws(() => parseRowSize(text), {
        code: "usage",
        exitCode: 2,
        message: `--max-row-size "${text}" is not a size between 1KiB and 1GiB`,
        hint: "Write it as 64MiB.",
      });
    }
  });
});

suite("--set", () => {
  test("takes a column and a value, in which anything may stand", () => {
    assert.deepEqual(
      [...parseAssignments(["public.users.password_hash=!", "sites.name = a=b, c", "t.c="])],
      [
        ["public.users.password_hash", "!"],
        ["sites.name", " a=b, c"],
        ["t.c", ""],
      ],
    );
  });

  test("takes neither half an assignment nor the same column twice: exit 2", () => {
    for (const [pair, shown] of [
      ["name", "name"],
      ["name=x", "name"],
      [".name=x", ".name"],
      ["=x", ""],
    ]) {
      assert.throws(() => parseAssignments([pair ?? ""]), {
        exitCode: 2,
        message: `--set "${shown}" does not have the form table.column=value`,
      });
    }
    assert.throws(() => parseAssignments(["a.b=1", "a.b=2"]), {
      exitCode: 2,
      message: '--set names "a.b" twice',
    });
  });
});
