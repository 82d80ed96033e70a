import { type RawBuilder, sql } from "kysely";
import { AppError, ExitCode } from "../../errors.ts";
import type { Session } from "../../postgres/session.ts";
import { type AuditEntry, entryHash } from "../audit-chain.ts";
import { type AuditLog, entryColumns, logEnd } from "../audit-log.ts";
import type { StagedTable } from "../staging.ts";

/** So many events are in memory at a time. */
const batch = 500;

/** Wraps the metadata of an event, so that it tells that it is a copy, and of which bundle. */
export function marked(metadata: RawBuilder<unknown>, sha256: string): RawBuilder<unknown> {
  const mark = sql`jsonb_build_object('pgtenant', jsonb_build_object('copiedFrom', ${sql.lit(`bundle ${sha256}`)}::text))`;
  return sql`CASE WHEN jsonb_typeof(${metadata}) = 'object' THEN ${metadata} || ${mark}
    ELSE ${mark} || jsonb_build_object('value', ${metadata}) END`;
}

/**
 * Links the staged events to the log's last one and to each other, in the order of their new
 * keys. The log must be locked, and the keys final.
 *
 * @throws {AppError} exit 4 when the new keys are not behind the log's last
 */
export async function rechain(session: Session, log: AuditLog, staged: StagedTable): Promise<void> {
  const { order, previous, own } = log.chain;
  const end = await logEnd(session, log);
  let link = end.hash;
  let last = end.order;
  await sql`DECLARE pgtenant_events NO SCROLL CURSOR FOR
    SELECT ${sql.id("s", order)}::text AS order, ${entryColumns("s")}
      FROM ${staged.stage} AS s ORDER BY ${sql.id("s", order)}`.execute(session.db);
  for (;;) {
    const { rows } = await sql<AuditEntry & { order: string }>`
      FETCH ${sql.raw(String(batch))} FROM pgtenant_events`.execute(session.db);
    if (rows.length === 0) break;
    const links: { order: string; previous: string; own: string }[] = [];
    for (const row of rows) {
      if (BigInt(row.order) <= last) throw notBehind(log);
      last = BigInt(row.order);
      const hash = entryHash({ ...row, previousHash: link });
      links.push({ order: row.order, previous: link, own: hash });
      link = hash;
    }
    await sql`
      UPDATE ${staged.stage} AS s
         SET ${sql.id(previous)} = r.previous, ${sql.id(own)} = r.own
        FROM json_to_recordset(${JSON.stringify(links)}::json) AS r ("order" bigint, previous text, own text)
       WHERE ${sql.id("s", order)} = r."order"`.execute(session.db);
  }
  await sql`CLOSE pgtenant_events`.execute(session.db);
}

function notBehind({ table }: AuditLog): AppError {
  return new AppError(
    "sequence-behind",
    ExitCode.refused,
    `the sequence of "${table.name}" is behind its rows, so that copied events would not be its last; nothing was written`,
    { hint: "Move it on first: ALTER SEQUENCE … RESTART WITH a number above the highest key." },
  );
}
