import { html } from "hono/html";
import type { DayStatus, ServiceStatus } from "../service-status.ts";
import { countWords } from "../words.ts";
import type { Html } from "./layout.ts";

const weekdays = [
  ["Mon", "Monday"],
  ["Tue", "Tuesday"],
  ["Wed", "Wednesday"],
  ["Thu", "Thursday"],
  ["Fri", "Friday"],
  ["Sat", "Saturday"],
  ["Sun", "Sunday"],
] as const;

const signs: Readonly<Record<DayStatus["state"], string>> = {
  good: "✓",
  failed: "✗",
  none: "–",
  before: "·",
};

/** Thirty days as weeks; each day says by a sign, a frame and a colour how it went. */
export function calendarSection({ calendar }: ServiceStatus): Html {
  const today = calendar.at(-1)?.day;
  const first = calendar[0]?.day ?? "1970-01-05";
  const empty = Array.from({ length: weekdayOf(first) }, () => undefined);
  const cells: readonly (DayStatus | undefined)[] = [...empty, ...calendar];
  const weeks = Array.from({ length: Math.ceil(cells.length / 7) }, (_, week) =>
    Array.from({ length: 7 }, (_, weekday) => cells[week * 7 + weekday]),
  );
  const good = calendar.filter(({ state }) => state === "good").length;
  const known = calendar.filter(({ state }) => state !== "before").length;
  return html`<section aria-labelledby="days"><h2 id="days">Last 30 days</h2>
<table class="calendar"><caption>${good} of ${countWords(known, "day")} with a good backup</caption>
<thead><tr>${weekdays.map(([short, long]) => html`<th scope="col" abbr="${long}">${short}</th>`)}</tr></thead>
<tbody>${weeks.map((days) => html`<tr>${days.map((day) => html`<td>${day === undefined ? "" : dayHtml(day, day.day === today)}</td>`)}</tr>`)}</tbody></table>
<ul class="legend"><li>✓ good</li><li>✗ failed</li><li>– none</li><li>· before the first</li></ul></section>`;
}

function dayHtml(day: DayStatus, isToday: boolean): Html {
  const waiting = isToday && day.state === "none";
  const words = waiting ? "none yet today" : wordsOf(day);
  return html`<span class="day ${waiting ? "today" : day.state}" title="${day.day}: ${words}"><span aria-hidden="true">${Number(day.day.slice(8))}<b>${waiting ? "…" : signs[day.state]}</b></span><span class="hidden">${day.day}: ${words}</span></span>`;
}

function wordsOf({ state, good, failed }: DayStatus): string {
  switch (state) {
    case "good":
      return `${countWords(good, "good backup")}${failed > 0 ? `, ${failed} failed` : ""}`;
    case "failed":
      return `${failed} failed, none good`;
    case "none":
      return "no backup";
    case "before":
      return "before the first backup";
  }
}

/** 0 for Monday. */
function weekdayOf(day: string): number {
  return (new Date(`${day}T00:00:00Z`).getUTCDay() + 6) % 7;
}
