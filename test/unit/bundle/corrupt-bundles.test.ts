import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  assertFlipsRefused,
  assertRefused,
  putTogether,
  refusal,
  seededRandom,
  structuralCorruptions,
  takeApart,
} from "../../harness/corruptions.ts";
import {
  compressed,
  layoutOf,
  sampleTables,
  storedForms,
  writeSample,
} from "../../harness/sample-bundle.ts";
import { readWholeBundle } from "../../harness/tenant-bundle.ts";

const seed = Date.now() % 1_000_000;

// The long form, over a whole tenant of N-Kudo's, is test/proof/corrupt-bundles.test.ts.
for (const form of storedForms) {
  suite(`a .${form} bundle, flips seeded with ${seed},`, async () => {
    const plain = await writeSample(sampleTables, layoutOf(form));
    const bytes = compressed(form, plain);
    const parts = takeApart(await writeSample(sampleTables, "jsonl"));

    test("is put together by this test as the writer does", async () => {
      assert.deepEqual(putTogether(parts, form), bytes);
      const { tables } = await readWholeBundle(bytes);
      assert.deepEqual(
        tables.map(({ name, lines }) => ({ name, rows: lines })),
        sampleTables,
      );
    });

    test("is refused when it is cut after any line", async () => {
      for (let end = 0; end >= 0 && end < plain.length - 1; end = plain.indexOf("\n", end + 1)) {
        for (const length of new Set([end, end + 1])) {
          await assertRefused(compressed(form, plain.subarray(0, length)), `cut at ${length}`);
        }
      }
    });

    test("is refused when it is cut at any byte of what is stored", async () => {
      const step = Math.max(1, Math.floor(bytes.length / 150));
      for (let length = 0; length < bytes.length; length += step) {
        await assertRefused(bytes.subarray(0, length), `cut at ${length}`);
      }
      await assertRefused(bytes.subarray(0, -1), "the last byte cut");
    });

    test("is refused when a bit is flipped, or reads as before", async () => {
      const harmless = await assertFlipsRefused(bytes, 150, seededRandom(seed));
      if (form.startsWith("json") && !form.includes(".")) assert.equal(harmless, 0);
    });

    test("is refused when a section, a row or a marker is dropped, doubled or edited", async () => {
      let count = 0;
      for (const corruption of structuralCorruptions(parts)) {
        await assertRefused(putTogether(corruption.parts, form), corruption.what);
        count += 1;
      }
      assert.ok(count > 50);
    });

    test("is refused when something is appended to the stored bytes", async () => {
      for (const garbage of [Buffer.alloc(1), Buffer.alloc(600), Buffer.from("garbage"), bytes]) {
        await assertRefused(Buffer.concat([bytes, garbage]), `${garbage.length} bytes appended`);
      }
    });
  });
}

suite("what is wrong with a bundle is told with its place", async () => {
  const parts = takeApart(await writeSample(sampleTables, "jsonl"));
  const told = async (changed: Partial<typeof parts>, form: "jsonl" | "json" = "jsonl") =>
    (await refusal(putTogether({ ...parts, ...changed }, form)))?.message;
  const [tenants, sites, ...others] = parts.sections;
  assert.ok(tenants && sites);

  test("a missing section", async () => {
    assert.equal(
      await told({ sections: [tenants, ...others] }),
      '"b" is corrupt: at line 5, section "public.empty" stands there, but section "public.sites" should',
    );
    assert.equal(
      await told({ sections: parts.sections.slice(0, -1) }),
      '"b" is corrupt: at line 55, section "public.last" is missing',
    );
  });

  test("a doubled section", async () => {
    assert.equal(
      await told({ sections: [tenants, tenants, sites, ...others] }),
      '"b" is corrupt: at line 5, section "public.tenants" stands there, but section "public.sites" should',
    );
  });

  test("a row too few", async () => {
    const shorter = { ...sites, rows: sites.rows.slice(1) };
    assert.equal(
      await told({ sections: [tenants, shorter, ...others] }),
      '"b" is corrupt: at line 9, table "public.sites" has 3 rows, 4 were written',
    );
  });

  test("rows that were changed", async () => {
    const edited = { ...sites, rows: sites.rows.with(2, '{"id":3,"body":""}') };
    assert.equal(
      await told({ sections: [tenants, edited, ...others] }),
      '"b" is corrupt: at line 10, the 4 rows of table "public.sites" are not those that were written (SHA-256 differs)',
    );
  });

  test("a header that was changed", async () => {
    assert.equal(
      await told({ header: parts.header.replace('"slug":"acme"', '"slug":"acmf"') }),
      '"b" is corrupt: at line 57, the header or a marker is not what was written (the trailer\'s SHA-256 or counts differ)',
    );
  });

  test("a cut between two lines, and inside of one", async () => {
    const whole = putTogether(parts, "jsonl");
    const third = whole.indexOf("\n", whole.indexOf("\n", whole.indexOf("\n") + 1) + 1) + 1;
    assert.equal(
      (await refusal(whole.subarray(0, third)))?.message,
      '"b" is incomplete: it ends after line 3, in or after table "public.tenants", row 1',
    );
    assert.equal(
      (await refusal(whole.subarray(0, third + 4)))?.message,
      '"b" is incomplete: its last line is cut short, after line 3, in or after table "public.tenants", row 1',
    );
  });

  test("a line of a document that cannot stand there", async () => {
    const document = putTogether(parts, "json").toString("utf8");
    const cases: readonly (readonly [string, string, number])[] = [
      ['"tables":{\n', "", 2],
      ['"$end":[\n', "", 59],
      ['"$end":[\n', '"$end":[\n"$end":[\n', 60],
      ["],\n", "]\n", 6],
      ['{"id":3,"body":null},\n', '{"id":3,"body":null}\n', 10],
      ['{"id":1,"body":"acme"}\n', '{"id":1,"body":"acme"},\n', 5],
      ['"public.sites":[', '"public.sites": [', 6],
      ["\n},\n", "\n}\n", 58],
    ];
    for (const [from, to, line] of cases) {
      const changed = document.replace(from, to);
      assert.notEqual(changed, document);
      const error = await refusal(Buffer.from(changed));
      assert.equal(error?.exitCode, 3, `${from} -> ${to}: ${error?.message}`);
      assert.match(
        error?.message ?? "",
        new RegExp(`line ${line} |section \\d`),
        `${from} -> ${to}`,
      );
    }
  });

  test("a newer format, by its number", async () => {
    const error = await refusal(
      putTogether({ ...parts, header: parts.header.replace('"format":1', '"format":2') }, "jsonl"),
    );
    assert.equal(error?.code, "newer-format");
    assert.equal(error?.exitCode, 3);
    assert.equal(error?.message, '"b" has bundle format 2; this version of pgtenant reads up to 1');
  });

  test("a marker that is not UTF-8, though it would decode to what was written", async () => {
    const whole = putTogether(parts, "jsonl");
    const at = whole.indexOf("\ufffd");
    // Three bytes that each decode to U+FFFD would change the length; one that stands for all does not.
    const changed = Buffer.concat([
      whole.subarray(0, at),
      Buffer.from([0xff]),
      whole.subarray(at + 3),
    ]);
    assert.equal(
      (await refusal(changed))?.message,
      '"b" is corrupt: a marker is not UTF-8, after line 0, before its first section',
    );
  });
});
