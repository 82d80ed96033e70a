import { html } from "hono/html";
import {
  type FailureStatus,
  isUnread,
  type PlaceStatus,
  type ServiceStatus,
} from "../service-status.ts";
import { ageWords, countWords, sizeWords } from "../words.ts";
import { jobWords } from "./jobs.ts";
import type { Html } from "./layout.ts";
import { timeHtml } from "./time.ts";

/** What failed lately and what to do about it; first what has not gone well since. */
export function failuresSection({ failures, timezone }: ServiceStatus): Html | "" {
  if (failures.length === 0) return "";
  const sorted = [
    ...failures.filter(({ resolved }) => !resolved),
    ...failures.filter(({ resolved }) => resolved),
  ];
  return html`<section aria-labelledby="failures"><h2 id="failures">Failures of the last 30 days</h2>
<ul class="list">${sorted.map((failure) => failureHtml(failure, timezone))}</ul></section>`;
}

function failureHtml(failure: FailureStatus, timezone: string): Html {
  const { operation, subject, at, message, hint, resolved } = failure;
  return html`<li><strong>${jobWords[operation] ?? operation}</strong> <span class="muted">${timeHtml(at, timezone)}${subject === null ? "" : html` · <code>${subject}</code>`}</span> ${resolved ? html`<span class="tag ok">has gone well since</span>` : html`<span class="tag late">not resolved</span>`}
<p>${sentence(message)}</p>
${resolved ? "" : html`<p><strong>What to do:</strong> ${hint}</p>`}</li>`;
}

/** Messages are facts in lower case; here one stands for itself. */
function sentence(message: string): string {
  const text = message.trim();
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

export function placesSection({ places, disk, journal, at }: ServiceStatus): Html {
  const free = disk === null ? 1 : disk.freeBytes / Math.max(1, disk.totalBytes);
  const space =
    disk === null
      ? html`The folder of the backups is not there yet.`
      : html`${free < 0.1 ? html`<span class="tag late">little space</span> ` : ""}${sizeWords(disk.freeBytes)} of ${sizeWords(disk.totalBytes)} are free on the disk of <code>${disk.path}</code>.`;
  const chain = isUnread(journal)
    ? html`<span class="tag unknown">not read</span> ${journal.problem}.`
    : journal.problem !== null
      ? html`<span class="tag late">does not hold</span> ${journal.problem}. <code>pgtenant history --verify</code> says more.`
      : journal.intact === null
        ? html`There is none yet.`
        : html`Each of its ${countWords(journal.records, "line")} follows the one before it.`;
  return html`<section aria-labelledby="places"><h2 id="places">Places</h2>
<table class="stacked" role="table"><thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Place</th><th scope="col" role="columnheader">State</th><th scope="col" role="columnheader" class="num">Backups</th><th scope="col" role="columnheader" class="num">Size</th><th scope="col" role="columnheader">Newest</th></tr></thead>
<tbody role="rowgroup">${places.map((place) => placeHtml(place, new Date(at)))}</tbody></table>
<p class="small"><strong>Disk:</strong> ${space}</p>
<p class="small"><strong>Journal:</strong> ${chain}</p></section>`;
}

function placeHtml(
  { place, state, readAt, newest, backups, bytes, problem, hint }: PlaceStatus,
  now: Date,
): Html {
  const age = readAt === null ? "" : ageWords((+now - Date.parse(readAt)) / 1000);
  const known = readAt !== null;
  const said = {
    read: html`<span class="tag ok">can be read</span>`,
    stale: html`<span class="tag unknown">slow</span> shown as it was ${age} ago`,
    waiting: html`<span class="tag unknown">has not answered yet</span>`,
    unreachable: html`<span class="tag late">cannot be read</span>${known ? ` shown as it was ${age} ago` : ""}<br><span class="small">${problem ?? ""}</span>${hint === null ? "" : html`<br><span class="small"><strong>What to do:</strong> ${hint}</span>`}`,
  }[state];
  return html`<tr role="row"><th scope="row" role="rowheader"><code>${place}</code></th>
<td role="cell" data-label="State"><span>${said}</span></td>
<td role="cell" class="num" data-label="Backups">${known ? backups : "not known"}</td>
<td role="cell" class="num" data-label="Size">${known ? sizeWords(bytes) : "not known"}</td>
<td role="cell" data-label="Newest"><span>${newest === null ? html`<span class="muted">none</span>` : html`<code class="id">${newest}</code>`}</span></td></tr>
`;
}
