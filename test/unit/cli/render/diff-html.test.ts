import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { suite, test } from "node:test";
import fc from "fast-check";
import { diffPage } from "../../../../src/cli/render/diff-html.ts";
import type { DiffFinding, DiffSummary } from "../../../../src/tenant/diff-types.ts";

function summaryOf(changes: Partial<DiffSummary> = {}): DiffSummary {
  const counts = { onlyInBundle: 1, onlyLive: 0, different: 1, boundary: 0, equal: 4 };
  return {
    equal: false,
    tenant: { id: "1", slug: "acme", name: "Acme Corporation" },
    tenantExists: true,
    comparedAt: "2026-11-23T09:00:00.000Z",
    bundleCreatedAt: "2026-11-22T22:00:01.478Z",
    database: "nkudo",
    counts,
    tables: [{ table: "public.sites", ...counts }],
    leftOut: [],
    warnings: [],
    seconds: 1.25,
    ...changes,
  };
}

async function pageOf(summary: DiffSummary, findings: readonly DiffFinding[]): Promise<string> {
  return (
    await Array.fromAsync(
      diffPage(
        summary,
        (async function* () {
          yield* findings;
        })(),
      ),
    )
  ).join("");
}

/** What a browser would see of the page's structure: its tags, and its text without them. */
function tagsOf(page: string): readonly string[] {
  return [...page.matchAll(/<\/?[a-zA-Z!][^>]*>/g)].map(([tag]) => tag);
}

const ordinary: readonly DiffFinding[] = [
  {
    kind: "different",
    table: "public.sites",
    row: "(id)=(1)",
    label: "x",
    columns: [
      { column: "c", live: "x", bundle: "y" },
      { column: "s", secret: true },
    ],
  },
  { kind: "only-in-bundle", table: "public.sites", row: "(id)=(2)", label: "x" },
];

suite("the page of a comparison", () => {
  test("needs nothing from elsewhere, and runs its own script alone", async () => {
    const page = await pageOf(summaryOf(), ordinary);
    assert.doesNotMatch(page, /\s(src|srcset|action|xlink:href)=|@import|url\(|https?:/i);
    assert.deepEqual(
      [...page.matchAll(/href="([^"]*)"/g)].map(([, target]) => target),
      ["#rows", "#t0"],
    );
    for (const target of ["rows", "t0"]) assert.ok(page.includes(`id="${target}"`));
    const [, policy = ""] =
      /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page) ?? [];
    assert.match(policy, /^default-src 'none'; /);
    for (const [element, directive] of [
      ["style", "style-src"],
      ["script", "script-src"],
    ] as const) {
      const inside = [...page.matchAll(new RegExp(`<${element}>([^]*?)</${element}>`, "g"))];
      assert.equal(inside.length, 1, element);
      const hash = createHash("sha256")
        .update(inside[0]?.[1] ?? "")
        .digest("base64");
      assert.ok(policy.includes(`${directive} 'sha256-${hash}'`), element);
    }
    assert.doesNotMatch(page, /\son[a-z]+=|\sstyle=/i);
  });

  test("has what it is about, the counts, headings, labels and table headers", async () => {
    const page = await pageOf(summaryOf(), ordinary);
    assert.match(page, /<html lang="en">/);
    assert.match(page, /<title>Acme Corporation: bundle and live rows compared<\/title>/);
    assert.match(page, /<time datetime="2026-11-22T22:00:01Z">2026-11-22 22:00:01 UTC<\/time>/);
    assert.match(page, /<dt>only in the bundle<\/dt><dd>1<\/dd>/);
    assert.match(page, /<th scope="row"><a href="#t0">public\.sites<\/a><\/th><td>1<\/td>/);
    assert.match(page, /<th scope="col">Live now<\/th><th scope="col">In the bundle<\/th>/);
    assert.match(page, /<td><mark>x<\/mark><\/td><td><mark>y<\/mark><\/td>/);
    assert.match(
      page,
      /differs; a secret&#39;s values are not shown|differs; a secret's values are not shown/,
    );
    for (const [, id] of page.matchAll(/<(?:input|select) id="([^"]*)"/g)) {
      assert.ok(page.includes(`<label for="${id}">`), id);
    }
    const ids = [...page.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id);
    assert.equal(new Set(ids).size, ids.length);
    // Without a script the filters would be of no use.
    assert.match(page, /<form class="filters"[^>]* hidden>/);
  });

  test("an equal tenant has a page without rows and without a script", async () => {
    const counts = { onlyInBundle: 0, onlyLive: 0, different: 0, boundary: 0, equal: 4 };
    const tables = [{ table: "public.sites", ...counts }];
    const page = await pageOf(summaryOf({ equal: true, counts, tables }), []);
    assert.match(
      page,
      /<strong>Equal<\/strong>: the 4 rows of 1 table are as the bundle has them\./,
    );
    assert.doesNotMatch(page, /<script|href=/);
  });

  test("says how many rows of a table it lists, and names what has no place", async () => {
    const counts = { onlyInBundle: 7001, onlyLive: 0, different: 0, boundary: 0, equal: 0 };
    const lost = { ...counts, table: "public.gone", onlyInBundle: 3 };
    const page = await pageOf(
      summaryOf({
        counts,
        tables: [{ table: "public.sites", ...counts }, lost],
        leftOut: [{ table: "public.gone", reason: "the target has no place for it" }],
        tenantExists: false,
      }),
      [
        {
          kind: "no-place",
          table: "public.gone",
          reason: "3 row(s), and the target has no such table",
        },
        { kind: "only-in-bundle", table: "public.sites", row: "(id)=(1)" },
      ],
    );
    assert.match(
      page,
      /The first 1 row of 7,001 are listed here; <code>pgtenant diff --json<\/code>/,
    );
    assert.match(page, /No place for public\.gone: 3 row\(s\), and the target has no such table/);
    assert.match(page, /Not compared: table public\.gone/);
    assert.match(page, /The database has no such tenant/);
    assert.match(page, /<th scope="row">public\.gone<\/th>/);
    assert.doesNotMatch(page, /<option value="public\.gone">/);
  });

  const hostile = [
    "</script><script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' autofocus onfocus='alert(1)",
    "<!-- ",
    "]]>",
    "&lt;b&gt;",
    "&#x3c;script&#x3e;",
    "\u0000\u0007\u001b[2J",
    "\u202etxt.exe",
    "\ud800<",
    "\u2028</title>",
  ];

  /** A page in which every text that comes from a bundle or a database is this one. */
  const withText = (text: string) =>
    pageOf(
      summaryOf({
        tenant: { id: text, slug: text, name: text },
        database: text,
        bundleCreatedAt: text,
        comparedAt: text,
        tables: [{ ...summaryOf().counts, table: text }],
        leftOut: [{ column: text, reason: text }],
        warnings: [text],
      }),
      [
        { kind: "no-place", table: text, column: text, reason: text },
        {
          kind: "different",
          table: text,
          row: text,
          label: text,
          columns: [
            { column: text, live: `a${text}`, bundle: `b${text}` },
            { column: text, live: text.repeat(500), bundle: null },
          ],
        },
        { kind: "boundary", table: text, row: text, reason: text },
        { kind: "only-in-bundle", table: text, row: text, label: text },
      ],
    );

  /** Tags with their attributes' names; values of attributes may be of the data. */
  const shapeOf = (page: string) =>
    tagsOf(page)
      .filter((tag) => !/^<\/?(time|wbr|br)/.test(tag))
      .map((tag) => tag.replaceAll(/"[^"]*"/g, '""'));

  for (const text of hostile) {
    test(`is not altered by ${JSON.stringify(text)}`, async () => {
      const page = await withText(text);
      assert.deepEqual(shapeOf(page), shapeOf(await withText("plain")));
      assert.doesNotMatch(page, /[^\P{Cc}\n]|[\u202a-\u202e\u2066-\u2069]/u);
    });
  }

  test("is not altered by any text, and shows it all the same", () =>
    fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string({ unit: "binary", minLength: 1, maxLength: 40 }),
          fc.string({
            unit: fc.constantFrom(..."<>&\"'/=!- \na;#x3c".split("")),
            minLength: 1,
            maxLength: 40,
          }),
        ),
        async (text) => {
          const page = await withText(text);
          assert.deepEqual(shapeOf(page), shapeOf(await withText("plain")));
        },
      ),
      { numRuns: 100 },
    ));
});
