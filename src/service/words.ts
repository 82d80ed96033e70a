/** `912 B`, `48.2 kB`, `1.3 GB` */
export function sizeWords(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  // As it is shown: 999,960 would be "1000.0 kB".
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ""}`;
}

/** At most two units: `0.4 s`, `12 s`, `3 min 20 s`, `31 h`, `5 days`. */
export function timeWords(seconds: number): string {
  if (seconds < 0) return `${timeWords(-seconds)} in the future`;
  if (seconds < 9.95) return Number.isInteger(seconds) ? `${seconds} s` : `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return twoUnits(Math.floor(whole / 60), "min", whole % 60, "s");
  const minutes = Math.round(seconds / 60);
  if (minutes < 48 * 60) return twoUnits(Math.floor(minutes / 60), "h", minutes % 60, "min");
  return `${Math.floor(seconds / 86_400)} days`;
}

/** The same for how long something has been: nobody counts the tenths of a past second. */
export function ageWords(seconds: number): string {
  return timeWords(Math.abs(seconds) < 10 ? Math.round(seconds) : seconds);
}

function twoUnits(first: number, large: string, second: number, small: string): string {
  return second === 0 ? `${first} ${large}` : `${first} ${large} ${second} ${small}`;
}

/** `1 backup`, `2 backups` */
export function countWords(count: number, word: string): string {
  return `${count.toLocaleString("en-US")} ${word}${count === 1 ? "" : "s"}`;
}

/** A number and its unit stay on one line. */
export function unbroken(text: string): string {
  return text.replace(/(\d) (s|min|h|days|B|kB|MB|GB|TB)\b/g, "$1\u00a0$2");
}

const day = new Map<string, Intl.DateTimeFormat>();
const minute = new Map<string, Intl.DateTimeFormat>();

/** The day in a time zone: `2026-03-14`. */
export function dayIn(timezone: string, time: Date): string {
  return formatIn(day, timezone, {}).format(time);
}

/** `2026-03-14 02:00`, in a time zone. */
export function minuteIn(timezone: string, time: Date): string {
  return formatIn(minute, timezone, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" })
    .format(time)
    .replace(",", "");
}

function formatIn(
  known: Map<string, Intl.DateTimeFormat>,
  timezone: string,
  more: Intl.DateTimeFormatOptions,
): Intl.DateTimeFormat {
  // Making one costs a thousand times what using it does. Sweden writes dates as ISO 8601 has them.
  const found =
    known.get(timezone) ??
    new Intl.DateTimeFormat("sv-SE", {
      timeZone: timezone,
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      ...more,
    });
  known.set(timezone, found);
  return found;
}
