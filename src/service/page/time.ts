import { html } from "hono/html";
import { minuteIn } from "../words.ts";
import type { Html } from "./layout.ts";

/** A time as people read it, in the schedules' zone. */
export function timeHtml(time: string, timezone: string): Html {
  return html`<time datetime="${time}">${minuteIn(timezone, new Date(time))}</time>`;
}
