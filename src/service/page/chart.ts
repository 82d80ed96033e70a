import { html } from "hono/html";
import type { BackupStatus, ServiceStatus } from "../service-status.ts";
import { countWords, minuteIn, sizeWords, timeWords } from "../words.ts";
import type { Html } from "./layout.ts";

const shown = 60;
const width = 600;
const height = 100;

/** Sizes and durations, one bar a backup, on a scale that begins at 0. */
export function chartSection({ backups, timezone }: ServiceStatus): Html {
  const series = backups.slice(0, shown).reverse();
  const [oldest] = series;
  const newest = series.at(-1);
  if (oldest === undefined || newest === undefined) {
    return html`<section aria-labelledby="chart"><h2 id="chart">Sizes and durations</h2>
<p class="muted">There is nothing to draw before the first good backup.</p></section>`;
  }
  const ends = html`<div class="axis" aria-hidden="true"><span>${minuteIn(timezone, new Date(oldest.createdAt))}</span>${series.length === 1 ? "" : html`<span>${minuteIn(timezone, new Date(newest.createdAt))}</span>`}</div>`;
  const label = (backup: BackupStatus) => minuteIn(timezone, new Date(backup.createdAt));
  return html`<section aria-labelledby="chart"><h2 id="chart">Sizes and durations</h2>
${figure("Size", series, ({ bytes }) => bytes, sizeWords, label)}
${figure("Duration", series, ({ durationSeconds }) => durationSeconds ?? 0, timeWords, label)}
${ends}
<p class="muted small">${countWords(series.length, "backup")}, the newest on the right; each one's numbers stand in the table of backups.</p></section>`;
}

function figure(
  title: string,
  series: readonly BackupStatus[],
  amountOf: (backup: BackupStatus) => number,
  words: (value: number) => string,
  label: (backup: BackupStatus) => string,
): Html {
  const values = series.map(amountOf);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const step = width / Math.max(series.length, 12);
  const newest = words(values.at(-1) ?? 0);
  const range = least === most ? words(most) : `${words(least)} to ${words(most)}`;
  const bars = series.map((backup, index) => {
    const value = amountOf(backup);
    // A backup that took no time is still one.
    const bar = Math.max(1, most === 0 ? 0 : (value / most) * (height - 4));
    const x = index * step;
    return html`<g${index === series.length - 1 ? html` class="newest"` : ""}><title>${label(backup)}: ${words(value)}</title><rect class="hit" x="${x.toFixed(2)}" y="0" width="${step.toFixed(2)}" height="${height}"/><rect class="bar" x="${(x + step * 0.12).toFixed(2)}" y="${(height - bar).toFixed(2)}" width="${(step * 0.76).toFixed(2)}" height="${bar.toFixed(2)}"/></g>`;
  });
  return html`<figure><figcaption><b>${title}</b><span class="muted">${range}, newest ${newest}</span></figcaption>
<svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label="${title} of ${countWords(series.length, "backup")}: ${range}, newest ${newest}">${bars}</svg></figure>`;
}
