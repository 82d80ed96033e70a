const thousands = new Intl.NumberFormat("en-US");

/** `1,234,567` */
export function count(value: number): string {
  return thousands.format(value);
}

/** `1 row`, `2 rows` */
export function counted(value: number, word: string): string {
  return `${count(value)} ${word}${value === 1 ? "" : "s"}`;
}

/** `912 B`, `48.2 kB`, `1.3 GB` */
export function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ""}`;
}

/** `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min` */
export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export function rate(rows: number, seconds: number): string {
  return `${count(Math.round(rows / Math.max(seconds, 0.001)))} rows/s`;
}

/** How long ago: `40 s`, `5 h 10 min`, `12 days`; `in 5 min 0 s` for what lies ahead. */
export function age(seconds: number): string {
  if (seconds < 0) return `in ${age(-seconds)}`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 48 * 3600) return duration(seconds);
  return `${count(Math.floor(seconds / 86_400))} days`;
}
