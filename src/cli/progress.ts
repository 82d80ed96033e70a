import type { ProgressListener } from "../progress.ts";
import { noProgress } from "../progress.ts";
import type { Output } from "./output.ts";
import { count, duration, rate, size } from "./render/units.ts";

const lineEveryMs = 10_000;

/** What progress is counted in. */
export type ProgressUnit = "rows" | "bytes" | "tenants" | "bundles";

/**
 * Messages to the service, where it has started us; a bar on a terminal; elsewhere a line now and
 * then; nothing with `--quiet`.
 */
export async function openProgress(
  output: Output,
  doing: string,
  unit: ProgressUnit = "rows",
): Promise<ProgressListener> {
  if (process.connected === true) return openMessages(doing);
  if (output.quiet) return noProgress;
  return process.stderr.isTTY ? await openBar(doing, unit) : openLines(output, doing, unit);
}

function amount(value: number, unit: ProgressUnit): string {
  return unit === "bytes" ? size(value) : `${count(value)} ${unit}`;
}

function speed(value: number, seconds: number, unit: ProgressUnit): string {
  const each = value / Math.max(seconds, 0.001);
  if (unit === "rows") return rate(value, seconds);
  return unit === "bytes" ? `${size(each)}/s` : `${each.toFixed(1)} ${unit}/s`;
}

const messageEveryMs = 500;

/** At most so many messages in a time, the last one always: nothing may follow it for hours. */
function openMessages(doing: string): ProgressListener {
  let told = { step: doing, done: 0, total: 0 };
  let sentAt = Number.NEGATIVE_INFINITY;
  let waiting: NodeJS.Timeout | undefined;
  const send = () => {
    waiting = undefined;
    sentAt = performance.now();
    // The service may end in this moment; what it wants to know then is nothing.
    if (process.connected === true) process.send?.(told, undefined, undefined, () => undefined);
  };
  const tell = () => {
    if (waiting !== undefined) return;
    const wait = sentAt + messageEveryMs - performance.now();
    if (wait <= 0) send();
    // Telling how it goes is no reason to stay.
    else waiting = setTimeout(send, wait).unref();
  };
  return {
    wantsTotal: false,
    start(total) {
      told = { step: doing, done: 0, total };
      tell();
    },
    follow: () => undefined,
    advance(step, amount) {
      told = { ...told, step, done: told.done + amount };
      tell();
    },
    stop() {
      if (waiting === undefined) return;
      clearTimeout(waiting);
      send();
    },
  };
}

async function openBar(doing: string, unit: ProgressUnit): Promise<ProgressListener> {
  const { SingleBar } = await import("cli-progress");
  const bar = new SingleBar({
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: null,
    fps: 5,
    barsize: 24,
    format: (_options, params, payload: { readonly step: string; readonly total: number }) => {
      const seconds = (Date.now() - params.startTime) / 1000;
      const done = params.value;
      const parts = [doing];
      const share = payload.total > 0 ? Math.min(1, done / payload.total) : shareRead?.();
      if (share !== undefined) {
        const filled = Math.round(share * 24);
        parts.push(`[${"=".repeat(filled)}${" ".repeat(24 - filled)}] ${Math.floor(share * 100)}%`);
      }
      parts.push(amount(done, unit), speed(done, seconds, unit));
      // Too little is known at first, and before a large table is written as a whole.
      if (share !== undefined && share > 0.02 && share < 1 && seconds > 2) {
        parts.push(`${duration((seconds * (1 - share)) / share)} left`);
      }
      return `${parts.join("  ")}  ${payload.step}`;
    },
  });
  let shareRead: (() => number) | undefined;
  let total = 0;
  let running = false;
  const open = () => {
    if (running) return;
    running = true;
    bar.start(total, 0, { step: "", total });
  };
  return {
    wantsTotal: true,
    start(rows) {
      total = rows;
      if (running) bar.stop();
      running = false;
      open();
    },
    follow(share) {
      shareRead = share;
    },
    advance(step, rows) {
      open();
      bar.increment(rows, { step, total });
    },
    stop() {
      if (running) bar.stop();
      running = false;
      shareRead = undefined;
      total = 0;
    },
  };
}

function openLines(output: Output, doing: string, unit: ProgressUnit): ProgressListener {
  let rows = 0;
  let total = 0;
  let step = "";
  let started = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const tell = () => {
    const seconds = (performance.now() - started) / 1000;
    const of = total > 0 ? ` of ${unit === "bytes" ? size(total) : count(total)}` : "";
    const done = unit === "bytes" ? `${size(rows)}${of}` : `${count(rows)}${of} ${unit}`;
    output.note(
      `${doing}: ${done}, ${speed(rows, seconds, unit)}, ${duration(seconds)}, now ${step}`,
    );
  };
  const open = () => {
    if (timer !== undefined) return;
    started = performance.now();
    timer = setInterval(tell, lineEveryMs);
    // Telling how it goes is no reason to stay.
    timer.unref();
  };
  return {
    wantsTotal: false,
    start(all) {
      open();
      rows = 0;
      total = all;
    },
    follow: () => undefined,
    advance(now, more) {
      open();
      step = now;
      rows += more;
    },
    stop() {
      clearInterval(timer);
      timer = undefined;
      rows = 0;
      total = 0;
    },
  };
}
