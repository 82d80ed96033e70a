import { type RawBuilder, sql } from "kysely";

/**
 * Half of a SHA-256 over the row's text: enough to notice any change, and half as long. Equal
 * values need not have equal texts, as with 1.0 and 1.00; such rows count as changed.
 */
export function rowHash(values: readonly RawBuilder<unknown>[]): RawBuilder<string> {
  return sql`left(encode(sha256(convert_to(ROW(${sql.join(values)})::text,
    getdatabaseencoding()::name)), 'hex'), 32)`;
}
