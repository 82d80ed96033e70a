/** Around large objects pg_dump writes a transaction of its own, whose end would be that of ours. */
const begins = Buffer.from("\nBEGIN;\n\nSELECT pg_catalog.lo_open(");
const ends = Buffer.from("\nCOMMIT;\n");
const wordOf = new Map([
  [begins, "BEGIN;".length],
  [ends, "COMMIT;".length],
]);
const overlap = begins.length - 1;

/** A script of pg_dump as one transaction; it is committed behind the end of a script that is whole. */
export async function* inTransaction(
  script: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield Buffer.from("BEGIN;\n");
  yield* withoutOwnTransactions(script);
  yield Buffer.from("\nCOMMIT;\n");
}

async function* withoutOwnTransactions(
  script: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let held = Buffer.alloc(0);
  let sought = begins;
  for await (const chunk of script) {
    const text = Buffer.concat([held, chunk]);
    for (let at = text.indexOf(sought); at !== -1; at = text.indexOf(sought, at)) {
      text.fill(" ", at + 1, at + 1 + (wordOf.get(sought) ?? 0));
      sought = sought === begins ? ends : begins;
    }
    const whole = Math.max(0, text.length - overlap);
    if (whole > 0) yield text.subarray(0, whole);
    held = text.subarray(whole);
  }
  yield held;
}

/** Longer than what pg_restore writes from its COMMIT on. */
const tailBytes = 64 * 1024;

/** The same bytes; the last ones come when the script has ended well. */
export async function* withTailLast(script: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let tail = Buffer.alloc(0);
  for await (const chunk of script) {
    const text = Buffer.concat([tail, chunk]);
    const whole = Math.max(0, text.length - tailBytes);
    if (whole > 0) yield text.subarray(0, whole);
    tail = text.subarray(whole);
  }
  yield tail;
}
