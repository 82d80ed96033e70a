import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { diffText, findingText, nextAfterDiff } from "../../../../src/cli/render/diff.ts";
import { valuePair, visibleText } from "../../../../src/cli/render/diff-value.ts";
import type { DiffCounts, DiffSummary } from "../../../../src/tenant/diff-types.ts";

const none: DiffCounts = { onlyInBundle: 0, onlyLive: 0, different: 0, boundary: 0, equal: 0 };

function summaryOf(
  tables: Readonly<Record<string, Partial<DiffCounts>>>,
  changes: Partial<DiffSummary> = {},
): DiffSummary {
  const all = Object.entries(tables).map(([table, counts]) => ({ ...none, ...counts, table }));
  const sum = (field: keyof DiffCounts) => all.reduce((total, table) => total + table[field], 0);
  const counts = {
    onlyInBundle: sum("onlyInBundle"),
    onlyLive: sum("onlyLive"),
    different: sum("different"),
    boundary: sum("boundary"),
    equal: sum("equal"),
  };
  return {
    equal: counts.onlyInBundle + counts.onlyLive + counts.different + counts.boundary === 0,
    tenant: { id: "1", slug: "acme", name: "Acme Corporation" },
    tenantExists: true,
    comparedAt: "2026-11-23T09:00:00.000Z",
    bundleCreatedAt: "2026-11-22T22:00:01.478Z",
    database: "nkudo",
    counts,
    tables: all,
    leftOut: [],
    warnings: [],
    seconds: 1.25,
    ...changes,
  };
}

suite("a comparison for people", () => {
  test("counts first, by table where something is different, and a sentence", () => {
    const summary = summaryOf({
      "public.tenants": { equal: 1 },
      "public.sites": { onlyInBundle: 1200, onlyLive: 1, equal: 3 },
      "public.users": { different: 1, equal: 7 },
    });
    assert.deepEqual(diffText(summary).split("\n"), [
      'tenant "acme" (Acme Corporation), bundle of 2026-11-22T22:00:01.478Z against database "nkudo":',
      "",
      "  table          only in bundle  only live  different  equal",
      "  public.sites            1,200          1          -      3",
      "  public.users                -          -          1      7",
      "  1 other table               -          -          -      1",
      "  total                   1,200          1          1     11",
      "",
      "different: 1,200 rows are only in the bundle, 1 row is only live, 1 row differs; 11 rows are equal (compared in 1.3 s)",
    ]);
  });

  test("an equal tenant takes one sentence, an absent one is said to be absent", () => {
    const equal = summaryOf({ "public.sites": { equal: 2 }, "public.users": {} });
    assert.equal(
      diffText(equal).split("\n").at(-1),
      "equal: the 2 rows of 2 tables are as the bundle has them (compared in 1.3 s)",
    );
    assert.equal(nextAfterDiff(equal, "b", [], false), "");
    const absent = summaryOf({ "public.sites": { onlyInBundle: 1 } }, { tenantExists: false });
    assert.match(diffText(absent), /^ {2}the database has no tenant "acme": all of it is only/m);
  });

  test("rows that are not the tenant's, and what was not compared, are named", () => {
    const summary = summaryOf(
      { "public.hosts": { boundary: 2, equal: 1 } },
      { leftOut: [{ column: "public.hosts.rack", reason: "the bundle has no such column" }] },
    );
    const text = diffText(summary);
    assert.match(text, /not the tenant's {2}equal\n {2}public\.hosts .* 2 {6}1\n/);
    assert.match(
      text,
      /\nnot compared:\n {2}left out: column public\.hosts\.rack \(the bundle has/,
    );
    assert.match(text, /\ndifferent: 2 rows are live but not the tenant's; 1 row is equal/);
  });

  test("the next command is the gentlest import that would do something", () => {
    const next = (counts: Partial<DiffCounts>) =>
      nextAfterDiff(summaryOf({ t: counts }), "my bundle", ["--key", "KEY"], true);
    const command = "to see what an import would do: pgtenant import 'my bundle'";
    assert.equal(next({ onlyInBundle: 1, different: 1 }), `${command} --key KEY --dry-run`);
    assert.equal(next({ different: 1 }), `${command} --mode overwrite --key KEY --dry-run`);
    assert.equal(next({ onlyLive: 1 }), `${command} --mode replace --key KEY --dry-run`);
    assert.match(
      nextAfterDiff(summaryOf({ t: { onlyLive: 1 } }), "b", [], false),
      /^to see each of them: pgtenant diff b --rows\n/,
    );
  });

  test("a row is a block: its key, then each column as live -> bundle", () => {
    const row = { table: "public.users", row: "(id)=(7)", label: "ann@acme.example" };
    assert.equal(
      findingText({
        kind: "different",
        ...row,
        columns: [
          { column: "name", live: "Ann", bundle: "Anne" },
          { column: "note", live: null, bundle: "" },
          { column: "text", live: "NULL", bundle: " x\n\u001b[31m" },
          { column: "password_hash", secret: true },
          { column: "image", live: "\\x00", bundle: `\\x${"ab".repeat(500)}`, bytes: true },
        ],
      }),
      [
        "public.users (id)=(7) ann@acme.example: different",
        "  name: Ann -> Anne",
        "  note: NULL -> ''",
        "  text: 'NULL' -> ' x\u240a\u241b[31m'",
        "  password_hash: differs (secret)",
        `  image: \\x00 -> \\x${"ab".repeat(40)}… [500 bytes]`,
        "",
      ].join("\n"),
    );
    assert.equal(
      findingText({ kind: "only-live", table: "t", row: "(id)=(a\nb)" }),
      "t (id)=(a\u240ab): only live\n",
    );
    assert.equal(
      findingText({
        kind: "boundary",
        table: "t",
        row: "(id)=(1)",
        reason: "belongs to another tenant",
      }),
      "t (id)=(1): the live row belongs to another tenant\n",
    );
  });
});

suite("two values that differ", () => {
  const limits = { whole: 20, differs: 12, around: 5 };

  test("are shortened to the place where they do", () => {
    const pair = valuePair(
      {
        column: "c",
        live: `${"a".repeat(50)}X${"b".repeat(50)}`,
        bundle: `${"a".repeat(50)}YY${"b".repeat(50)}`,
      },
      limits,
    );
    assert.deepEqual(pair.live, {
      parts: { before: "…aaaaa", differs: "X", after: "bbbbb…" },
      length: "101 characters",
    });
    assert.deepEqual(pair.bundle.parts, { before: "…aaaaa", differs: "YY", after: "bbbbb…" });
  });

  test("that are cut before they differ are said to differ further on", () => {
    const text = "é".repeat(100);
    const pair = valuePair(
      { column: "c", live: text, bundle: text, liveLength: 25_000, bundleLength: 25_001 },
      limits,
    );
    assert.equal(pair.remark, "they differ further on");
    assert.equal(pair.live.length, "25,000 characters");
    assert.equal(
      valuePair({ column: "c", live: "1", bundle: "1" }, limits).remark,
      "the same as text, but stored otherwise",
    );
  });

  test("no character is ever cut in two, and what is shown is part of the value", () => {
    const text = fc.string({
      unit: fc.constantFrom("a", "b", "\u{1f600}", "\u{1f601}"),
      maxLength: 60,
    });
    fc.assert(
      fc.property(text, text, (live, bundle) => {
        const pair = valuePair({ column: "c", live, bundle }, limits);
        for (const [value, shown] of [
          [live, pair.live],
          [bundle, pair.bundle],
        ] as const) {
          assert.ok(shown.parts !== undefined);
          const { before, differs, after } = shown.parts;
          for (const part of [before, differs, after]) assert.ok(part.isWellFormed());
          assert.ok(value.includes(before.replace(/^…/, "")));
          assert.ok(value.includes(differs.replace(/…$/, "")));
          assert.ok(value.includes(after.replace(/…$/, "")));
          if (shown.length === undefined) assert.equal(before + differs + after, value);
        }
      }),
    );
  });

  test("characters that cannot be seen become visible", () => {
    assert.equal(
      visibleText("a\u0000\u202eb\u2028\u200b\ufeff\u009b\ud800"),
      "a\u2400⟨U+202E⟩b⟨U+2028⟩⟨U+200B⟩⟨U+FEFF⟩⟨U+009B⟩⟨U+D800⟩",
    );
    assert.equal(visibleText("Grüße, 😀 שלום"), "Grüße, 😀 שלום");
  });
});
