import { type RawBuilder, sql } from "kysely";
import type { Session } from "../../postgres/session.ts";

/** The original's uuids and what takes their place, whichever column they come from. */
export const uuidMap = sql`pg_temp.${sql.id("pgtenant_uuids")}`;

/** Cheap, since rows without a uuid must cost next to nothing. */
const anyUuid = "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{32}";

/**
 * A uuid, with hyphens or without. Of a longer run of hex digits each 32 are looked at, counted from
 * its end; logs are full of hashes, and each position of each would take minutes. Runs of more than
 * 256 digits are data, and no names.
 */
const token =
  "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{32}(?=(?:[0-9a-fA-F]{32}){0,7}(?![0-9a-fA-F]))";

/** The text `value` speaks of something that looks like a uuid. */
export function mentionsUuids(value: RawBuilder<unknown>): RawBuilder<boolean> {
  return sql`${value} ~ ${sql.lit(anyUuid)}`;
}

/** Longer texts are taken apart by a function, since replacing in them over and over takes long. */
const longestShort = 4096;

/**
 * The text `value`, which mentions uuids, with each of the original's replaced, in the form that it
 * stands there. What lines of logs mostly are, short and with one of the ids or none, is settled in
 * the statement itself: the queries of a function take four times as long.
 */
export function withNewUuids(value: RawBuilder<unknown>): RawBuilder<string> {
  const byFunction = sql`pg_temp.pgtenant_with_new_uuids(t.v)`;
  return sql`(SELECT CASE WHEN length(t.v) > ${sql.lit(longestShort)} THEN ${byFunction} ELSE (
      SELECT CASE WHEN min(x.new) IS NULL THEN t.v
                  WHEN min(x.old) <> max(x.old) OR bool_or(x.old <> lower(x.old)) THEN ${byFunction}
                  ELSE replace(t.v, min(x.old), min(x.new)) END
        FROM (SELECT m.hit[1] COLLATE "C" AS old,
                     (SELECT CASE WHEN length(m.hit[1]) = 36 THEN u.new::text
                                  ELSE replace(u.new::text, '-', '') END COLLATE "C"
                        FROM ${uuidMap} AS u WHERE u.old = m.hit[1]::uuid) AS new
                FROM regexp_matches(t.v, ${sql.lit(token)}, 'g') AS m (hit) OFFSET 0) AS x
       WHERE x.new IS NOT NULL) END
    FROM (SELECT ${value} AS v OFFSET 0) AS t)`;
}

/**
 * Makes the functions behind `withNewUuids`. A text is taken apart and put together once, however
 * many ids it holds, so that a message of megabytes takes no time that grows with its square.
 */
export async function createIdFunctions(session: Session): Promise<void> {
  await sql`
    CREATE OR REPLACE FUNCTION pg_temp.pgtenant_new_uuid(old text) RETURNS text
    LANGUAGE plpgsql STABLE STRICT AS ${body(`
    DECLARE
      fresh uuid;
    BEGIN
      SELECT u.new INTO fresh FROM pg_temp.pgtenant_uuids AS u WHERE u.old = $1::uuid;
      IF fresh IS NULL THEN RETURN old; END IF;
      RETURN CASE WHEN old = lower(old) THEN pg_temp.pgtenant_in_form_of(old, fresh)
                  ELSE upper(pg_temp.pgtenant_in_form_of(old, fresh)) END;
    END`)}`.execute(session.db);
  await sql`
    CREATE OR REPLACE FUNCTION pg_temp.pgtenant_in_form_of(old text, fresh uuid) RETURNS text
    LANGUAGE sql IMMUTABLE AS ${body(`
      SELECT CASE WHEN old LIKE '%-%' THEN fresh::text ELSE replace(fresh::text, '-', '') END`)}`.execute(
    session.db,
  );
  await sql`
    CREATE OR REPLACE FUNCTION pg_temp.pgtenant_with_new_uuids(value text) RETURNS text
    LANGUAGE plpgsql STABLE STRICT AS ${body(`
    BEGIN
      IF NOT EXISTS (
        SELECT FROM regexp_matches(value, '${token}', 'g') AS m (hit)
          JOIN pg_temp.pgtenant_uuids AS u ON u.old = hit[1]::uuid) THEN
        RETURN value;
      END IF;
      RETURN (
        SELECT string_agg(piece || coalesce(pg_temp.pgtenant_new_uuid(hit[1]), ''), '' ORDER BY n)
          FROM regexp_split_to_table(value, '${token}') WITH ORDINALITY AS p (piece, n)
          LEFT JOIN regexp_matches(value, '${token}', 'g') WITH ORDINALITY AS m (hit, n) USING (n));
    END`)}`.execute(session.db);
}

function body(text: string): RawBuilder<unknown> {
  return sql.lit(text);
}
