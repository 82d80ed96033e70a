import { html } from "hono/html";
import { type Html, layout } from "../page/layout.ts";
import { countWords, sizeWords, timeWords, unbroken } from "../words.ts";
import { checkTitles } from "./check-titles.ts";
import type { ChecklistItem, DrillCheck, DrillReport, Measured } from "./drill-report.ts";

/** A report as a page of its own, without scripts and without anything from elsewhere. */
export async function reportPage(report: DrillReport): Promise<string> {
  const { id, database, passed, startedAt, seconds, by, tool } = report;
  return await layout({
    title: `${passed ? "✓ passed" : "✗ failed"}: ${id}, ${database}`,
    body: html`<header>
<span><strong>pgtenant</strong> restore drill of database <strong>${database}</strong></span>
<span class="as-of">${time(startedAt)}</span>
</header>
<main id="main">
<section class="hero ${passed ? "kept" : "broken"}" aria-labelledby="result">
<div class="top"><span class="mark" aria-hidden="true">${passed ? "✓" : "✗"}</span><h1 id="result">${unbroken(sentence(report))}</h1></div>
${report.hint === null ? "" : html`<p class="next"><strong>What to do:</strong> ${report.hint}</p>`}
</section>
<ul class="checks">
${measure("Restore (RTO)", report.rto, "a restore")}
${measure("Backup's age (RPO)", report.rpo, "the backup's age")}
</ul>
${facts(report)}
<section aria-labelledby="checks"><h2 id="checks">What was checked</h2>
<ul class="list">${report.checks.map(checkItem)}</ul></section>
<section aria-labelledby="list"><h2 id="list">Quarterly checklist</h2>
<ul class="list">${report.checklist.map(listItem)}</ul></section>
${report.notes.length === 0 ? "" : html`<section aria-labelledby="notes"><h2 id="notes">Notes</h2><ul>${report.notes.map((note) => html`<li>${note}</li>`)}</ul></section>`}
</main>
<footer><span>${tool}, run by ${by}, ${timeWords(Math.round(seconds))} in all. ${id}.json beside this page says the same for programs.</span></footer>`,
  });
}

function sentence({ passed, problem, rto }: DrillReport): string {
  if (!passed) return `The drill failed: ${problem}`;
  const took = rto.seconds === null ? "" : ` in ${timeWords(rto.seconds)}`;
  return `The backup restores${took}, and all that was checked in it holds.`;
}

function measure(title: string, { seconds, targetSeconds, kept }: Measured, what: string): Html {
  const state = kept === null ? "unknown" : kept ? "ok" : "late";
  const word = kept === null ? "not measured" : kept ? "kept" : "not kept";
  return html`<li><h2>${title} <span class="tag ${state}">${word}</span></h2>
<div class="value">${seconds === null ? "not measured" : timeWords(seconds)}</div>
<p>${what} of at most ${unbroken(timeWords(targetSeconds))} is promised</p></li>`;
}

function facts({ backup, scratch }: DrillReport): Html {
  if (backup === null) return html``;
  const { id, place, createdAt, format, encryption, storedBytes, tables, rows } = backup;
  const known = [
    ["Backup", id],
    ["Taken from", place],
    ["Made", createdAt === null ? null : time(createdAt)],
    ["Format", format],
    ["Encryption", encryption],
    ["Size", storedBytes === null ? null : sizeWords(storedBytes)],
    [
      "Content",
      rows === null || tables === null
        ? null
        : `${countWords(rows, "row")} of ${countWords(tables, "table")}`,
    ],
    [
      "Restored on",
      scratch.version === null
        ? null
        : `PostgreSQL ${scratch.version}, ${scratch.kind === "embedded" ? "a server of the drill's own" : `the live database's server, as "${scratch.database}"`}`,
    ],
  ] as const;
  return html`<section aria-labelledby="what"><h2 id="what">What was restored</h2>
<table class="facts"><tbody>${known.map(([name, value]) =>
    value === null ? "" : html`<tr><th scope="row">${name}</th><td>${value}</td></tr>`,
  )}</tbody></table></section>`;
}

const words = {
  passed: ["ok", "passed"],
  failed: ["late", "FAILED"],
  "not-checked": ["unknown", "not checked"],
  "by-hand": ["unknown", "by hand"],
} as const;

function tag(state: ChecklistItem["state"]): Html {
  const [colour, word] = words[state];
  return html`<span class="tag ${colour}">${word}</span>`;
}

function checkItem({ check, state, message, hint, details, seconds }: DrillCheck): Html {
  const took =
    state === "not-checked" ? "" : html` <span class="muted small">${timeWords(seconds)}</span>`;
  return html`<li><strong>${checkTitles[check]}</strong> ${tag(state)}${took}
<p>${message}</p>
${details.length === 0 ? "" : html`<ul class="small">${details.map((one) => html`<li>${one}</li>`)}</ul>`}
${hint === null ? "" : html`<p class="muted small">${hint}</p>`}</li>`;
}

function listItem({ item, state, why }: ChecklistItem): Html {
  return html`<li><strong>${item}</strong> ${tag(state)}
<p>${why}</p></li>`;
}

function time(at: string): Html {
  return html`<time datetime="${at}">${at.slice(0, 19).replace("T", " ")} UTC</time>`;
}
