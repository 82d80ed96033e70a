import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { shellWord } from "../../../../src/cli/render/shell.ts";
import { textTable } from "../../../../src/cli/render/table.ts";
import { count, counted, duration, rate, size } from "../../../../src/cli/render/units.ts";

suite("numbers for people", () => {
  test("have thousands set apart, and the plural where it belongs", () => {
    assert.equal(count(1_234_567), "1,234,567");
    assert.deepEqual(
      [0, 1, 2, 1000].map((n) => counted(n, "row")),
      ["0 rows", "1 row", "2 rows", "1,000 rows"],
    );
  });

  test("of bytes have the unit that suits them", () => {
    assert.deepEqual([0, 999, 1000, 48_213, 1_300_000_000, 5e15].map(size), [
      "0 B",
      "999 B",
      "1.0 kB",
      "48.2 kB",
      "1.3 GB",
      "5000.0 TB",
    ]);
  });

  test("of seconds never show sixty of anything", () => {
    assert.deepEqual([0, 0.44, 9.94, 12.4, 59.4, 59.6, 200, 3599.6, 7500].map(duration), [
      "0.0 s",
      "0.4 s",
      "9.9 s",
      "12 s",
      "59 s",
      "1 min 0 s",
      "3 min 20 s",
      "1 h 0 min",
      "2 h 5 min",
    ]);
  });

  test("of a rate are finite, however short it took", () => {
    assert.equal(rate(1500, 2), "750 rows/s");
    assert.equal(rate(3, 0), "3,000 rows/s");
  });
});

suite("a table", () => {
  test("has aligned columns, no lines around them, and no blanks at line ends", () => {
    assert.equal(
      textTable(
        [{ title: "name" }, { title: "rows", align: "right" }],
        [
          ["public.sites", "1,000"],
          ["a", "-"],
        ],
        "  ",
      ),
      ["  name           rows", "  public.sites  1,000", "  a                 -"].join("\n"),
    );
  });

  test("keeps a name with a line end on its line, and makes its control characters visible", () => {
    assert.equal(textTable([{ title: "name" }], [["a\nb\u001b[2J"]]), "name\na\ufffdb\ufffd[2J");
  });
});

suite("a word for a shell", () => {
  test("is quoted when the shell would take it apart", () => {
    assert.equal(shellWord("backups/acme_1.jsonl.zst"), "backups/acme_1.jsonl.zst");
    assert.equal(shellWord("my bundle"), "'my bundle'");
    assert.equal(shellWord("it's $HOME"), "'it'\\''s $HOME'");
    assert.equal(shellWord(""), "''");
  });
});
