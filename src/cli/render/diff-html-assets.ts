import { createHash } from "node:crypto";

/** Both are constants: nothing of a bundle or a database is ever part of them. */
export const css = `
:root {
  color-scheme: light dark;
  --page: light-dark(#f6f7f9, #14171c); --card: light-dark(#fff, #1c2128);
  --text: light-dark(#1c2430, #e3e8ef); --soft: light-dark(#55606f, #9aa7b8);
  --line: light-dark(#d9dee5, #333b47); --link: light-dark(#0b57b0, #8ab8ff);
  --bundle: light-dark(#0f6b3f, #7ddba6); --bundle-bg: light-dark(#e2f5ea, #163524);
  --live: light-dark(#8a4b00, #f0bd79); --live-bg: light-dark(#fcefdc, #3a2a12);
  --differ: light-dark(#0b4f9e, #93c0ff); --differ-bg: light-dark(#e3eefc, #17304f);
  --bad: light-dark(#a11526, #ff9aa5); --bad-bg: light-dark(#fde6e8, #451a20);
  --mark: light-dark(#ffe38a, #6b5200);
}
* { box-sizing: border-box; }
html { scroll-padding-top: 9rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header, main, footer { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; }
footer { padding-block: 1rem 3rem; color: var(--soft); font-size: .875rem; }
h1 { margin: 0 0 .5rem; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.25rem; }
h3 { margin: 0; padding: .75rem 1rem; font-size: 1rem; overflow-wrap: anywhere; }
h3 small { margin-left: .5rem; color: var(--soft); font-weight: 400; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 4px; }
.skip { position: absolute; left: -100rem; padding: .5rem 1rem; background: var(--card); }
.skip:focus { left: .5rem; top: .5rem; z-index: 2; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem; margin: 1.5rem 0 0; }
.tiles div { display: flex; flex-direction: column-reverse; padding: .75rem 1rem; border: 1px solid var(--line);
  border-top: 4px solid var(--c, var(--line)); border-radius: 8px; background: var(--card); }
.tiles dd { margin: 0; font-size: 1.6rem; font-weight: 600; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tiles dt { color: var(--soft); font-size: .875rem; }
.only-in-bundle { --c: var(--bundle); --bg: var(--bundle-bg); }
.only-live { --c: var(--live); --bg: var(--live-bg); }
.different { --c: var(--differ); --bg: var(--differ-bg); }
.boundary { --c: var(--bad); --bg: var(--bad-bg); }
.verdict { margin: 1.25rem 0 0; font-size: 1.1rem; }
.note { margin: 1rem 0 0; padding: .6rem 1rem; border-left: 4px solid var(--live); background: var(--card); overflow-wrap: anywhere; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
.scroll th, .scroll td { padding: .4rem .9rem; white-space: nowrap; }
.counts td, .counts thead th:not(:first-child) { text-align: right; font-variant-numeric: tabular-nums; }
.counts td.zero { color: var(--soft); }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .5rem 1rem; text-align: left; vertical-align: top; font-weight: 400; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-size: .875rem; }
.counts tfoot th, .counts tfoot td { font-weight: 600; }
.filters { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end;
  margin: 0 0 1rem; padding: .75rem 1rem; border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
.filters[hidden], [hidden] { display: none; }
.filters label { display: block; color: var(--soft); font-size: .875rem; }
.filters input, .filters select, .filters button { display: block; width: 100%; min-height: 2.5rem; padding: .3rem .6rem;
  border: 1px solid var(--soft); border-radius: 6px; background: var(--page); color: var(--text); font: inherit; }
.filters .text { flex: 1 1 14rem; }
.filters .pick { flex: 0 1 14rem; min-width: 0; }
.filters button { width: auto; cursor: pointer; }
.filters p { flex: 1 0 100%; margin: 0; color: var(--soft); font-size: .875rem; }
.rows { margin: 0 0 1.25rem; border: 1px solid var(--line); border-radius: 8px; background: var(--card); overflow: clip;
  content-visibility: auto; contain-intrinsic-size: auto 20rem; }
.rows table { table-layout: fixed; }
.rows caption, .vh { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.rows thead th { border-top: 1px solid var(--line); }
.rows thead th:first-child { width: 22%; }
.rows .key th { padding-bottom: .3rem; overflow-wrap: anywhere; }
.rows .key ~ tr th, .rows .key ~ tr td { border-top: 0; padding-block: .15rem .35rem; overflow-wrap: anywhere; }
.rows .key:last-child th { padding-bottom: .5rem; }
.rows .key ~ tr:last-child > * { padding-bottom: .75rem; }
.rows .key ~ tr th { padding-left: 1.75rem; color: var(--soft); }
.rows td { white-space: pre-wrap; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .875rem; }
.rows p { margin: 0; padding: .5rem 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .875rem; }
.kind { display: inline-block; margin-right: .5rem; padding: .05rem .55rem; border-radius: 1rem; background: var(--bg);
  color: var(--c); font-size: .8125rem; font-weight: 600; white-space: nowrap; }
.label { margin-right: .5rem; font-weight: 600; }
code { color: var(--soft); font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .8125rem; }
mark { border-radius: 2px; background: var(--mark); color: inherit; }
.none, .more { color: var(--soft); font-style: italic; font-family: system-ui, sans-serif; }
@media (max-width: 40rem) {
  header, main, footer { padding-inline: .75rem; }
  h1 { font-size: 1.3rem; }
  .tiles { grid-template-columns: 1fr 1fr; gap: .5rem; }
  html { scroll-padding-top: 1rem; }
  .filters { position: static; }
  .filters .pick { flex: 1 1 8rem; }
  .scroll th, .scroll td { padding-inline: .6rem; }
  .rows th, .rows td { padding-inline: .75rem; }
  .rows .key ~ tr th { padding-left: .75rem; }
  .rows thead th:first-child { width: 30%; }
  .rows .key ~ tr th { font-size: .875rem; }
  .rows td { font-size: .8125rem; }
  .rows thead th + th, .rows td { padding-inline: .25rem .5rem; }
}
@media (max-height: 30rem) { .filters { position: static; } }
@media print { .filters, .skip { display: none; } .rows { content-visibility: visible; } }
`;

export const script = `
"use strict";
const form = document.querySelector(".filters");
const table = form.querySelector("#table");
const kind = form.querySelector("#kind");
const text = form.querySelector("#text");
const status = form.querySelector("p");
const sections = [...document.querySelectorAll(".rows")].map((section) => ({
  section,
  rows: [...section.querySelectorAll("tbody")].map((row) => ({ row, text: undefined })),
}));
const total = sections.reduce((sum, { rows }) => sum + rows.length, 0);
const number = new Intl.NumberFormat("en-US");
let timer;
function apply() {
  const wanted = text.value.trim().toLowerCase();
  let shown = 0;
  for (const { section, rows } of sections) {
    let inSection = 0;
    const chosen = table.value === "" || table.value === section.dataset.table;
    for (const entry of rows) {
      let visible = chosen && (kind.value === "" || kind.value === entry.row.dataset.kind);
      if (visible && wanted !== "") {
        entry.text ??= (section.dataset.table + " " + entry.row.textContent).toLowerCase();
        visible = entry.text.includes(wanted);
      }
      entry.row.hidden = !visible;
      if (visible) inSection += 1;
    }
    section.hidden = inSection === 0;
    shown += inSection;
  }
  const rows = (n) => number.format(n) + (n === 1 ? " row" : " rows");
  status.textContent = shown === total ? rows(total) + " listed" : number.format(shown) + " of " + rows(total) + " listed";
}
const soon = () => { clearTimeout(timer); timer = setTimeout(apply, 120); };
form.addEventListener("input", soon);
form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
form.addEventListener("reset", () => setTimeout(apply));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && form.contains(event.target)) form.reset();
});
document.querySelector(".counts").addEventListener("click", (event) => {
  if (event.target instanceof HTMLAnchorElement) { form.reset(); apply(); }
});
form.hidden = false;
apply();
`;

/** Nothing is loaded from anywhere, and no code runs but ours. */
export const contentSecurityPolicy = [
  "default-src 'none'",
  `style-src '${hashOf(css)}'`,
  `script-src '${hashOf(script)}'`,
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

function hashOf(text: string): string {
  return `sha256-${createHash("sha256").update(text).digest("base64")}`;
}
