import { html } from "hono/html";
import type { Check, ServiceStatus } from "../service-status.ts";
import { ageWords, timeWords, unbroken } from "../words.ts";
import { backupsSection, othersSection } from "./backups.ts";
import { calendarSection } from "./calendar.ts";
import { chartSection } from "./chart.ts";
import { jobsSection, runningSection } from "./jobs.ts";
import { type Html, layout } from "./layout.ts";
import { failuresSection, placesSection } from "./state.ts";
import { timeHtml } from "./time.ts";

const whileRunning = 5;
const otherwise = 60;

/** The status page, whole without JavaScript. */
export async function statusPage(status: ServiceStatus): Promise<string> {
  const { promise, database, timezone, at, running, tool } = status;
  const known = status.backups.length > 0 || status.others.length > 0;
  return await layout({
    title: `${titleWord[promise.state]} ${database}`,
    refreshSeconds: running.length > 0 ? whileRunning : otherwise,
    body: html`<a class="skip" href="#main">Skip to the status</a>
<header>
<span><strong>pgtenant</strong> status of database <strong>${database}</strong></span>
<span class="as-of">as of ${timeHtml(at, timezone)} (${timezone})</span>
</header>
<main id="main" tabindex="-1">
${hero(status)}
${runningSection(status)}
${promise.state === "empty" ? firstSteps() : ""}
<ul class="checks">
${check("Newest backup (RPO)", status.rpo, "old", ["none", "no backup"])}
${check("Restore (RTO)", status.rto, "", ["not measured", "not proved"])}
${check("Last proved", status.verified, "ago", ["never", "not proved"])}
</ul>
${failuresSection(status)}
${known || status.runs.length > 0 ? html`<div class="two">${chartSection(status)}${calendarSection(status)}</div>` : ""}
${jobsSection(status)}
${placesSection(status)}
${othersSection(status)}
${status.backups.length > 0 ? backupsSection(status) : ""}
</main>
<footer>
<a href="/api/status">Status as JSON</a><a href="/metrics">Metrics</a><span>${tool}</span>
</footer>`,
  });
}

/** For a tab among many. */
const titleWord: Readonly<Record<ServiceStatus["promise"]["state"], string>> = {
  kept: "✓ kept:",
  unproven: "! unproved:",
  broken: "✗ broken:",
  empty: "! no backup:",
  unknown: "? unknown:",
};

const marks: Readonly<Record<ServiceStatus["promise"]["state"], string>> = {
  kept: "✓",
  unproven: "!",
  broken: "✗",
  empty: "!",
  unknown: "?",
};

function hero({ promise }: ServiceStatus): Html {
  const { state, sentence, remarks, advice } = promise;
  // Kept, and something is to be done all the same.
  const attention = state === "kept" && advice !== null;
  const shown = state === "empty" ? null : advice;
  return html`<section class="hero ${attention ? "attention" : state}" aria-labelledby="promise">
<div class="top"><span class="mark" aria-hidden="true">${attention ? "!" : marks[state]}</span><h1 id="promise">${unbroken(sentence)}</h1></div>
${remarks.length === 0 ? "" : html`<ul>${remarks.map((remark) => html`<li>${unbroken(remark)}</li>`)}</ul>`}
${shown === null ? "" : html`<p class="next"><strong>What to do:</strong> ${shown}</p>`}
</section>`;
}

/** @param missing what stands there while nothing is known: in large, and as a tag */
function check(
  title: string,
  { state, seconds, sentence }: Check,
  after: string,
  missing: readonly [value: string, tag: string],
): Html {
  const age = seconds === null ? missing[0] : (after === "" ? timeWords : ageWords)(seconds);
  const word = { ok: "ok", late: "late", unknown: missing[1] }[state];
  return html`<li><h2>${title} <span class="tag ${state}">${word}</span></h2>
<div class="value">${unbroken(seconds === null || after === "" ? age : `${age} ${after}`)}</div>
<p>${unbroken(sentence)}</p></li>`;
}

function firstSteps(): Html {
  return html`<section aria-labelledby="first"><h2 id="first">What to do first</h2>
<ol>
<li><code>pgtenant doctor</code> says what would fail, before it does.</li>
<li><code>pgtenant backup</code> makes the first backup; this page then shows it.</li>
<li><code>pgtenant drill</code> proves that it restores, beside the database, and measures how long that takes.</li>
<li><code>pgtenant schedule</code> does all three from then on.</li>
</ol></section>`;
}
