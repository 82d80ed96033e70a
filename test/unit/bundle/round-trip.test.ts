import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { suite, test } from "node:test";
import fc from "fast-check";
import {
  compressed,
  layoutOf,
  type SampleTable,
  sampleHeader,
  sampleTables,
  storedForms,
  writeSample,
} from "../../harness/sample-bundle.ts";
import { readWholeBundle } from "../../harness/tenant-bundle.ts";

const nasty = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.constantFrom(
    '{"$end":',
    '\n{"$trailer":',
    "],\n",
    "\u2028",
    '"$table"',
    "\\",
    '{"$bundle":{',
    ",\n",
  ),
);

const tables = fc
  .uniqueArray(fc.oneof(nasty, fc.constant('app."A b"')), { minLength: 1, maxLength: 5 })
  .filter((names) => names.every((name) => name.length > 0))
  .chain((names) =>
    fc.tuple(
      ...names.map((name) =>
        fc.array(fc.tuple(fc.integer(), fc.option(nasty)), { maxLength: 8 }).map(
          (rows): SampleTable => ({
            name,
            rows: rows.map(([id, body]) => JSON.stringify({ id, body })),
          }),
        ),
      ),
    ),
  );

suite("a bundle that was written", () => {
  for (const form of storedForms) {
    test(`reads back to the same rows, in whatever chunks it comes: .${form}`, async () => {
      const chunk = fc.integer({ min: 1, max: 300 });
      await fc.assert(
        fc.asyncProperty(tables, chunk, chunk, async (sample, written, read) => {
          const plain = await writeSample(sample, layoutOf(form), written);
          const bundle = await readWholeBundle(compressed(form, plain), { chunk: read });
          assert.equal(bundle.layout, layoutOf(form));
          assert.deepEqual(bundle.header, sampleHeader(sample.map(({ name }) => name)));
          assert.deepEqual(
            bundle.tables.map(({ name, lines }) => ({ name, rows: lines })),
            sample,
          );
        }),
        { numRuns: 60 },
      );
    });
  }

  test("is one JSON document in the .json layout, with the rows in it", async () => {
    await fc.assert(
      fc.asyncProperty(tables, async (sample) => {
        const bytes = await writeSample(sample, "json", 50);
        const document = JSON.parse(bytes.toString("utf8")) as Record<string, unknown>;
        assert.deepEqual(Object.keys(document), ["$bundle", "tables", "$end", "$trailer"]);
        const rows = Object.fromEntries(
          sample.map(({ name, rows }) => [name, rows.map((row) => JSON.parse(row) as unknown)]),
        );
        assert.deepEqual(document.tables, rows);
      }),
      { numRuns: 60 },
    );
  });

  test("has the same hashes in both layouts, and they are those of the lines", async () => {
    const lines = await writeSample(sampleTables, "jsonl");
    const fromLines = await readWholeBundle(lines);
    const fromDocument = await readWholeBundle(await writeSample(sampleTables, "json"));
    assert.deepEqual({ ...fromDocument, layout: "jsonl" }, fromLines);

    const hash = (parts: readonly string[]) =>
      createHash("sha256").update(parts.join("")).digest("hex");
    const all = lines.toString("utf8").split("\n").slice(0, -1);
    const outer = all.filter((line) => line.startsWith('{"$')).map((line) => `${line}\n`);
    assert.equal(fromLines.trailer.sha256, hash(outer.slice(0, -1)));
    for (const [i, { rows }] of sampleTables.entries()) {
      assert.deepEqual(fromLines.tables[i]?.end, {
        table: sampleTables[i]?.name,
        rows: rows.length,
        sha256: hash(rows.map((row) => `${row}\n`)),
      });
    }
  });

  test("is not written when the server sent fewer rows than it said", async () => {
    await assert.rejects(
      writeSample([{ name: "t", rows: ['{"id":1,"body":null}\n{"id":2'] }], "jsonl"),
      {
        exitCode: 3,
        message: 'row 2 of table "t" is invalid: it is not JSON',
      },
    );
    const twoInOne = { name: "t", rows: ['{"id":1,"body":null}\n{"id":2,"body":null}'] };
    await assert.rejects(writeSample([twoInOne], "json"), {
      code: "incomplete-copy",
      exitCode: 7,
      message: 'the server sent table "t" incompletely',
    });
  });
});
