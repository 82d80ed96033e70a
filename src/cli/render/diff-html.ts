import type {
  ColumnDifference,
  DiffCounts,
  DiffFinding,
  DiffKind,
  DiffSummary,
  TableDiff,
} from "../../tenant/diff-types.ts";
import { toolVersion } from "../../version.ts";
import { contentSecurityPolicy, css, script } from "./diff-html-assets.ts";
import { type Excerpt, type ExcerptLimits, valuePair, visibleText } from "./diff-value.ts";
import { leftOutLines } from "./left-out.ts";
import { count, counted, duration } from "./units.ts";

/** More than this nobody reads, and no browser shows with ease. */
export const maxRowsPerTable = 5_000;

const kinds = [
  ["only-in-bundle", "onlyInBundle", "only in the bundle"],
  ["only-live", "onlyLive", "only live"],
  ["different", "different", "different"],
  ["boundary", "boundary", "not the tenant's"],
] as const satisfies readonly (readonly [DiffKind, keyof DiffCounts, string])[];

const limits: ExcerptLimits = { whole: 400, differs: 300, around: 60 };

type RowFindings = Exclude<DiffFinding, { readonly kind: "no-place" }>;

/**
 * One page that needs nothing beside it, in pieces: readable without its script, which only
 * filters. Whatever comes from the bundle or the database is escaped and made visible.
 *
 * @param findings table by table, `maxRowsPerTable` of each at most
 */
export async function* diffPage(
  diff: DiffSummary,
  findings: AsyncIterable<DiffFinding>,
): AsyncGenerator<string> {
  yield head(diff);
  yield summarySection(diff);
  const different = listedTables(diff);
  const lost: string[] = [];
  let open: string | undefined;
  let listed = 0;
  for await (const finding of findings) {
    if (finding.kind === "no-place") {
      lost.push(
        text(
          `${finding.table}${finding.column === undefined ? "" : `.${finding.column}`}: ${finding.reason}`,
        ),
      );
      continue;
    }
    if (open === undefined) yield rowsHead(different, lost);
    if (open !== finding.table) {
      if (open !== undefined) yield tableEnd(different, open, listed);
      open = finding.table;
      listed = 0;
      yield tableHead(different, open);
    }
    listed += 1;
    yield findingRows(finding, has(different, open, "different"));
  }
  if (open !== undefined) yield tableEnd(different, open, listed);
  else if (lost.length > 0) yield rowsHead([], lost);
  yield `</main>
<footer>Made by pgtenant ${text(toolVersion)}. This page holds data of the tenant: keep it as carefully as the bundle.</footer>
${open === undefined ? "" : `<script>${script}</script>\n`}</body>
</html>
`;
}

function head(diff: DiffSummary): string {
  const { tenant } = diff;
  const name = text(tenant.name ?? tenant.slug ?? tenant.id);
  const slug = tenant.slug === null ? "" : `${text(tenant.slug)}, `;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${contentSecurityPolicy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${name}: bundle and live rows compared</title>
<style>${css}</style>
</head>
<body>
${listedTables(diff).length === 0 ? "" : '<a class="skip" href="#rows">Skip to the rows</a>\n'}<header>
<h1><bdi>${name}</bdi>: bundle and live rows compared</h1>
<dl class="facts">
<dt>Tenant</dt><dd><bdi>${slug}${text(tenant.id)}</bdi></dd>
<dt>Bundle</dt><dd>of ${time(diff.bundleCreatedAt)}</dd>
<dt>Live</dt><dd>database <bdi>${text(diff.database)}</bdi> as of ${time(diff.comparedAt)}, compared in ${duration(diff.seconds)}</dd>
</dl>
</header>
<main>
`;
}

function summarySection(diff: DiffSummary): string {
  const { counts } = diff;
  const tiles = [
    ...kinds
      .filter(([, field]) => field !== "boundary" || counts.boundary > 0)
      .map(([kind, field, title]) => tile(kind, title, counts[field])),
    tile("equal", "equal", counts.equal),
  ];
  const notes = [
    ...(diff.tenantExists
      ? []
      : ["The database has no such tenant: all of it is only in the bundle."]),
    ...diff.warnings,
    ...leftOutLines(diff.leftOut).map((line) => line.replace(/^left out: /, "Not compared: ")),
  ];
  return `<section aria-labelledby="summary">
<h2 id="summary">Summary</h2>
<p class="verdict"><strong>${diff.equal ? "Equal" : "Different"}</strong>: ${verdict(diff)}</p>
<dl class="tiles">
${tiles.join("\n")}
</dl>
${notes.map((note) => `<p class="note">${text(note)}</p>\n`).join("")}${countsTable(diff)}</section>
`;
}

function verdict({ equal, counts, tables }: DiffSummary): string {
  if (equal) {
    return `the ${counted(counts.equal, "row")} of ${counted(tables.length, "table")} are as the bundle has them.`;
  }
  const rows = deviationsOf(counts);
  const affected = tables.filter((table) => deviationsOf(table) > 0).length;
  return rows === 0
    ? "the bundle has values that the database has no place for."
    : `${counted(rows, "row")} of ${counted(affected, "table")} ${rows === 1 ? "is" : "are"} not as the bundle has ${rows === 1 ? "it" : "them"}.`;
}

function tile(kind: string, title: string, rows: number): string {
  return `<div class="${kind}"><dt>${title}</dt><dd>${count(rows)}</dd></div>`;
}

function countsTable(diff: DiffSummary): string {
  const different = diff.tables.filter((table) => deviationsOf(table) > 0);
  if (different.length === 0) return "";
  const used = [
    ...kinds.filter(([, field]) => field !== "boundary" || diff.counts.boundary > 0),
    ["equal", "equal", "equal"] as const,
  ];
  const listed = listedTables(diff);
  const titleOf = (table: TableDiff) => {
    const index = listed.indexOf(table);
    return index < 0 ? text(table.table) : `<a href="#t${index}">${text(table.table)}</a>`;
  };
  const row = (title: string, counts: DiffCounts) =>
    `<tr><th scope="row">${title}</th>${used
      .map(
        ([, field]) =>
          `<td${counts[field] === 0 ? ' class="zero"' : ""}>${count(counts[field])}</td>`,
      )
      .join("")}</tr>`;
  const others = diff.tables.length - different.length;
  const equalElsewhere = diff.counts.equal - different.reduce((sum, t) => sum + t.equal, 0);
  const none = { onlyInBundle: 0, onlyLive: 0, different: 0, boundary: 0 };
  return `<h2 id="tables">Tables</h2>
<div class="scroll" role="region" aria-labelledby="tables" tabindex="0">
<table class="counts">
<caption class="vh">Numbers of rows by table</caption>
<thead><tr><th scope="col">Table</th>${used.map(([, , title]) => `<th scope="col">${title}</th>`).join("")}</tr></thead>
<tbody>
${different.map((table) => row(titleOf(table), table)).join("\n")}
${others === 0 ? "" : row(counted(others, "other table"), { ...none, equal: equalElsewhere })}
</tbody>
<tfoot>${row("Total", diff.counts)}</tfoot>
</table>
</div>
`;
}

function rowsHead(different: readonly TableDiff[], lost: readonly string[]): string {
  const options = different.map(
    ({ table }) => `<option value="${text(table)}">${text(table)}</option>`,
  );
  const used = kinds.filter(([, field]) => different.some((table) => table[field] > 0));
  const places = lost.map((place) => `<p class="note">No place for ${place}</p>\n`).join("");
  if (different.length === 0) return places;
  return `${places}<h2 id="rows" tabindex="-1">Rows</h2>
<form class="filters" role="search" aria-label="Filter the rows" hidden>
<div class="text"><label for="text">Text</label><input id="text" type="search" autocomplete="off" spellcheck="false"></div>
<div class="pick"><label for="table">Table</label><select id="table"><option value="">all tables</option>${options.join("")}</select></div>
<div class="pick"><label for="kind">Kind</label><select id="kind"><option value="">all kinds</option>${used.map(([kind, , title]) => `<option value="${kind}">${title}</option>`).join("")}</select></div>
<button type="reset">Show all</button>
<p role="status"></p>
</form>
`;
}

function tableHead(different: readonly TableDiff[], name: string): string {
  const index = different.findIndex(({ table }) => table === name);
  const rows = deviationsOf(different[index]);
  const columns = has(different, name, "different")
    ? '<th scope="col">Column</th><th scope="col">Live now</th><th scope="col">In the bundle</th>'
    : '<th scope="col">Row</th>';
  return `<section class="rows" data-table="${text(name)}" aria-labelledby="t${index}">
<h3 id="t${index}"><bdi>${text(name)}</bdi> <small>${counted(rows, "row")}</small></h3>
<table>
<caption>Rows of ${text(name)} that are not equal</caption>
<thead><tr>${columns}</tr></thead>
`;
}

function tableEnd(different: readonly TableDiff[], name: string, listed: number): string {
  const rows = deviationsOf(different.find(({ table }) => table === name));
  const more =
    rows > listed
      ? `<p>The first ${counted(listed, "row")} of ${count(rows)} are listed here; <code>pgtenant diff --json</code> has all of them.</p>\n`
      : "";
  return `</table>\n${more}</section>\n`;
}

function findingRows(finding: RowFindings, threeColumns: boolean): string {
  const title = kinds.find(([kind]) => kind === finding.kind)?.[2] ?? finding.kind;
  const label =
    "label" in finding && finding.label !== undefined
      ? `<bdi class="label">${text(finding.label)}</bdi>`
      : "";
  const reason = finding.kind === "boundary" ? ` the live row ${text(finding.reason)}` : "";
  const lines = finding.kind === "different" ? finding.columns.map(columnRow) : [];
  const span = threeColumns ? ' colspan="3"' : "";
  return `<tbody data-kind="${finding.kind}"><tr class="key"><th scope="rowgroup"${span}><span class="kind ${finding.kind}">${title}</span>${label}<code><bdi>${text(finding.row)}</bdi></code>${reason}</th></tr>${lines.join("")}</tbody>
`;
}

function columnRow(difference: ColumnDifference): string {
  const name = `<tr><th scope="row"><bdi>${text(difference.column).replaceAll("_", "_<wbr>")}</bdi></th>`;
  if ("secret" in difference) {
    return `${name}<td colspan="2"><span class="none">differs; a secret's values are not shown</span></td></tr>`;
  }
  const { live, bundle, remark } = valuePair(difference, limits);
  const said = remark === undefined ? "" : ` <span class="more">(${text(remark)})</span>`;
  return `${name}<td>${excerpt(live)}</td><td>${excerpt(bundle)}${said}</td></tr>`;
}

function excerpt({ parts, length }: Excerpt): string {
  if (parts === undefined) return '<span class="none">NULL</span>';
  const { before, differs, after } = parts;
  if (before + differs + after === "") return '<span class="none">empty</span>';
  const marked = differs === "" ? "" : `<mark>${text(differs)}</mark>`;
  const more = length === undefined ? "" : ` <span class="more">${length}</span>`;
  // No line should end behind the dots that stand for what is left out before it.
  const lead = length === undefined ? text(before) : text(before).replace(/^…/, "…&NoBreak;");
  return `${lead}${marked}${text(after)}${more}`;
}

function has(tables: readonly TableDiff[], name: string, field: keyof DiffCounts): boolean {
  return tables.some((table) => table.table === name && table[field] > 0);
}

/** Those whose rows are listed; of a table that the database lacks none can be. */
function listedTables({ tables, leftOut }: DiffSummary): readonly TableDiff[] {
  const lacking = new Set(leftOut.flatMap((entry) => ("table" in entry ? [entry.table] : [])));
  return tables.filter((table) => deviationsOf(table) > 0 && !lacking.has(table.table));
}

function deviationsOf(counts: DiffCounts | undefined): number {
  if (counts === undefined) return 0;
  return counts.onlyInBundle + counts.onlyLive + counts.different + counts.boundary;
}

function time(iso: string): string {
  const shown = iso.replace(/^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+Z$/, "$1Z");
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(shown)
    ? `<time datetime="${shown}">${shown.replace("T", " ").replace("Z", " UTC")}</time>`
    : text(iso);
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** For the text of an element and for an attribute in quotes. Line ends and tabs stay. */
function text(value: string): string {
  return value
    .split(/([\n\t])/)
    .map((part) => (part === "\n" || part === "\t" ? part : visibleText(part)))
    .join("")
    .replace(/[&<>"']/g, (character) => entities[character] ?? "");
}
