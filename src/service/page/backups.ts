import { html } from "hono/html";
import type { BackupStatus, OtherStatus, Proof, ServiceStatus } from "../service-status.ts";
import { ageWords, countWords, sizeWords, timeWords } from "../words.ts";
import type { Html } from "./layout.ts";
import { timeHtml } from "./time.ts";

const shown = 60;
const shownAtOnce = 10;

/** Each good backup: when, how large, how long, where, and how it was proved. */
export function backupsSection({ backups, timezone, at }: ServiceStatus): Html {
  const rows = backups.map((backup) => row(backup, timezone, new Date(at)));
  const caption = `${countWords(backups.length, "good backup")}, the newest first`;
  const older = rows.slice(shownAtOnce, shown);
  const hidden = rows.length - shown;
  return html`<section aria-labelledby="backups"><h2 id="backups">Backups</h2>
${table(caption, rows.slice(0, shownAtOnce))}
${
  older.length === 0
    ? ""
    : html`<details><summary>Show ${older.length} older ones</summary>${table("Older good backups", older)}</details>`
}
${hidden > 0 ? html`<p class="muted small">and ${hidden} that are older still; <code>pgtenant list</code> has them all</p>` : ""}</section>`;
}

function table(caption: string, rows: readonly Html[]): Html {
  return html`<table class="stacked" role="table"><caption>${caption}</caption>
<thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Backup</th><th scope="col" role="columnheader">Age</th><th scope="col" role="columnheader" class="num">Size</th><th scope="col" role="columnheader" class="num">Took</th><th scope="col" role="columnheader">Where</th><th scope="col" role="columnheader">Proved</th></tr></thead>
<tbody role="rowgroup">${rows}</tbody></table>`;
}

function row(backup: BackupStatus, timezone: string, now: Date): Html {
  const { id, createdAt, bytes, durationSeconds, layers, places, pinned, proof } = backup;
  return html`<tr role="row"><th scope="row" role="rowheader"><code class="id">${id}</code><br><span class="muted small">${layers.join(", ")}</span></th>
<td role="cell" data-label="Age"><span>${ageWords((+now - Date.parse(createdAt)) / 1000)}<br><span class="muted small">${timeHtml(createdAt, timezone)}</span></span></td>
<td role="cell" class="num" data-label="Size">${sizeWords(bytes)}</td>
<td role="cell" class="num" data-label="Took">${durationSeconds === null ? "not known" : timeWords(durationSeconds)}</td>
<td role="cell" data-label="Where"><span>${places.map((place, index) => html`${index === 0 ? "" : html`<br>`}<code>${place}</code>`)}${pinned === null ? "" : html`<br><span class="muted small">pinned: ${pinned}</span>`}</span></td>
<td role="cell" data-label="Proved"><span>${proofHtml(proof, timezone)}</span></td></tr>
`;
}

const proofWords: Readonly<Record<Proof["kind"], string>> = {
  drill: "restored in a drill",
  all: "read to its last row",
  stored: "stored bytes compared",
};

function proofHtml(proof: Proof | null, timezone: string): Html {
  if (proof === null) return html`<span class="muted">not yet</span>`;
  return html`${proofWords[proof.kind]}<br><span class="muted small">${timeHtml(proof.at, timezone)}</span>`;
}

const stateWords: Readonly<Record<OtherStatus["state"], string>> = {
  corrupt: "corrupt",
  "missing-parts": "damaged",
  pending: "running, or just died",
  incomplete: "never completed",
  foreign: "not written by pgtenant",
  "other-database": "of another database",
};

/** What is damaged, unfinished or not ours; nothing when there is nothing of it. */
export function othersSection({ others, timezone }: ServiceStatus): Html | "" {
  if (others.length === 0) return "";
  const rows = others.slice(0, shown).map(
    ({
      id,
      state,
      createdAt,
      bytes,
      places,
      problem,
    }) => html`<tr role="row"><th scope="row" role="rowheader"><code class="id">${id}</code><br><span class="muted small">${timeHtml(createdAt, timezone)}</span></th>
<td role="cell" data-label="What it is"><span>${state === "corrupt" || state === "missing-parts" ? html`<span class="tag late">${stateWords[state]}</span>` : stateWords[state]}${problem === null ? "" : html`<br><span class="small">${problem}</span>`}</span></td>
<td role="cell" class="num" data-label="Size">${sizeWords(bytes)}</td>
<td role="cell" data-label="Where"><code>${places.join(", ")}</code></td></tr>
`,
  );
  return html`<section aria-labelledby="others"><h2 id="others">Named like a backup, and no good one</h2>
<table class="stacked" role="table"><thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Backup</th><th scope="col" role="columnheader">What it is</th><th scope="col" role="columnheader" class="num">Size</th><th scope="col" role="columnheader">Where</th></tr></thead>
<tbody role="rowgroup">${rows}</tbody></table></section>`;
}
