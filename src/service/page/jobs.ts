import { html } from "hono/html";
import type { JobStatus, RunningStatus, ServiceStatus } from "../service-status.ts";
import { ageWords, sizeWords, timeWords } from "../words.ts";
import type { Html } from "./layout.ts";
import { timeHtml } from "./time.ts";

/** What a job or an operation is called. */
export const jobWords: Readonly<Record<string, string>> = {
  backup: "Backup",
  tenants: "Bundles of tenants",
  export: "Export",
  import: "Import",
  verify: "Verification",
  drill: "Drill",
  restore: "Restore",
  prune: "Retention",
};

export function runningSection({ running }: ServiceStatus): Html | "" {
  if (running.length === 0) return "";
  return html`<section aria-labelledby="running"><h2 id="running">Running now</h2>
<ul class="list">${running.map(runningHtml)}</ul></section>`;
}

function runningHtml({
  operation,
  seconds,
  subject,
  host,
  step,
  attempt,
  done,
  total,
}: RunningStatus): Html {
  const word = jobWords[operation] ?? operation;
  const name = `${word}${subject === null ? "" : ` of ${subject}`}`;
  const share = total === null || total === 0 || done === null ? null : Math.min(1, done / total);
  const words = [
    `for ${ageWords(seconds)}`,
    host === null ? "" : `on ${host}, by the journal`,
    step === null || step === "" ? "" : `step: ${step}`,
    share === null ? "" : `${Math.floor(share * 100)} %`,
    done === null || done === 0 ? "" : amountWords(operation, done, total),
    attempt === null || attempt === 1 ? "" : `attempt ${attempt}`,
  ].filter((part) => part !== "");
  return html`<li><strong>${name}</strong> <span class="muted">${words.join(" · ")}</span>
${share === null ? "" : html`<progress max="100" value="${Math.floor(share * 100)}" aria-label="${name}"></progress>`}</li>`;
}

/** Bundles are counted in rows, everything else in bytes. */
function amountWords(operation: string, done: number, total: number | null): string {
  const rows = operation === "tenants" || operation === "export";
  const words = rows ? (value: number) => value.toLocaleString("en-US") : sizeWords;
  const unit = rows ? " rows" : "";
  return total === null ? `${words(done)}${unit}` : `${words(done)} of ${words(total)}${unit}`;
}

export function jobsSection({ schedule, at }: ServiceStatus): Html {
  if (schedule === null) {
    return html`<section aria-labelledby="jobs"><h2 id="jobs">Next runs</h2>
<p>This process does not run the schedule, so that it cannot say what is next. <code>pgtenant schedule</code> does both.</p></section>`;
  }
  const now = Date.parse(at);
  return html`<section aria-labelledby="jobs"><h2 id="jobs">Next runs</h2>
<table class="stacked" role="table"><thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Job</th><th scope="col" role="columnheader">Next</th><th scope="col" role="columnheader">Schedule</th><th scope="col" role="columnheader">Last run since the start</th></tr></thead>
<tbody role="rowgroup">${schedule.jobs.map((job) => jobHtml(job, now))}</tbody></table></section>`;
}

function jobHtml({ job, schedule, timezone, next, last }: JobStatus, now: number): Html {
  const ahead = next === null ? 0 : (Date.parse(next) - now) / 1000;
  return html`<tr role="row"><th scope="row" role="rowheader">${jobWords[job] ?? job}</th>
<td role="cell" data-label="Next"><span>${next === null ? "never again" : html`${ahead > 0 ? `in ${timeWords(Math.ceil(ahead))}` : "now"}<br><span class="muted small">${timeHtml(next, timezone)}</span>`}</span></td>
<td role="cell" data-label="Schedule"><span><code>${schedule}</code> <span class="muted">${timezone}</span></span></td>
<td role="cell" data-label="Last run"><span>${last === null ? html`<span class="muted">none yet</span>` : lastHtml(last, timezone)}</span></td></tr>
`;
}

function lastHtml(last: NonNullable<JobStatus["last"]>, timezone: string): Html {
  const tag = { done: "ok", failed: "late", skipped: "unknown" }[last.result];
  return html`<span class="tag ${tag}">${last.result}</span> ${timeHtml(last.endedAt, timezone)}${last.message === "" ? "" : html`<br><span class="small">${last.message}</span>`}`;
}
