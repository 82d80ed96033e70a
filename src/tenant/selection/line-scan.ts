/** A column of JSON lines, and the values that matter of it. */
export interface SoughtColumn {
  readonly name: string;
  readonly values: ReadonlySet<string>;
}

const comma = 0x2c;
const quote = 0x22;
const openingBrace = 0x7b;
const closingBrace = 0x7d;
const uuidLength = 36;

/** In lower case and with hyphens, as PostgreSQL prints it. */
export const plainUuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const plainInteger = /^-?\d{1,20}$/;

/**
 * Looks into lines without parsing them: at a million rows, parsing and what it leaves behind for
 * the garbage collector takes longer than all the rest. Only sure of what `row_to_json` writes;
 * about any other line it gives no answer.
 */
export class LineScan {
  readonly #sought: readonly { readonly pattern: Buffer; readonly values: ReadonlySet<string> }[];
  /** A bundle that is written otherwise would be searched to the end of each batch. */
  #given = true;

  constructor(columns: readonly SoughtColumn[]) {
    this.#sought = columns.map(({ name, values }) => ({
      pattern: Buffer.from(`${JSON.stringify(name)}:`),
      values,
    }));
  }

  /** False if none of the columns holds a value that matters; true if one does, or may. */
  mayMatter(batch: Buffer, start: number, end: number): boolean {
    if (!this.#given) return true;
    for (const { pattern, values } of this.#sought) {
      const value = valueAfter(batch, pattern, start, end);
      if (value === undefined) {
        this.#given = false;
        return true;
      }
      if (values.has(value)) return true;
    }
    return false;
  }
}

/**
 * The text of a uuid, an integer or `null`; undefined for whatever is not plainly one. Within a
 * string a quote has a backslash before it, so the pattern can be nothing but a key.
 */
function valueAfter(
  batch: Buffer,
  pattern: Buffer,
  start: number,
  end: number,
): string | undefined {
  const at = batch.indexOf(pattern, start);
  if (at <= start || at >= end) return undefined;
  const before = batch[at - 1];
  if (before !== comma && before !== openingBrace) return undefined;
  const from = at + pattern.length;
  if (batch[from] === quote) {
    const to = from + 1 + uuidLength;
    if (to >= end || batch[to] !== quote) return undefined;
    const text = batch.toString("latin1", from + 1, to);
    return plainUuid.test(text) ? text : undefined;
  }
  let to = from;
  while (to < end && batch[to] !== comma && batch[to] !== closingBrace) to += 1;
  const text = batch.toString("latin1", from, to);
  if (text === "null") return text;
  return plainInteger.test(text) ? String(Number(text)) : undefined;
}
