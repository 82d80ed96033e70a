import { type RawBuilder, sql } from "kysely";
import type { Session } from "../../postgres/session.ts";

/** The original's uuids and what takes their place, whichever column they come from. */
export const uuidMap = sql`pg_temp.${sql.id("pgtenant_uuids")}`;

/** A uuid, with hyphens or without; cheap, so that rows without one cost next to nothing. */
const anyUuid = "[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{32}";

/** The same, and in longer runs of digits what may hide one. */
const token = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32,}";

/**
 * Longer runs of hex digits than this are data, and no names. In shorter ones an id is looked for
 * where it can stand among others without hyphens, and at the end: logs are full of hashes, and to
 * look at each position of each would take minutes.
 */
const longestRun = 256;

/** The text `value` speaks of something that looks like a uuid. */
export function mentionsUuids(value: RawBuilder<unknown>): RawBuilder<boolean> {
  return sql`${value} ~ ${sql.lit(anyUuid)}`;
}

/** The text `value` with each of the original's uuids replaced, in the form that it stands there. */
export function withNewUuids(value: RawBuilder<unknown>): RawBuilder<string> {
  return sql`pg_temp.pgtenant_with_new_uuids(${value})`;
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
      run bytea;
    BEGIN
      IF length(old) = 32 OR old LIKE '%-%' THEN
        SELECT u.new INTO fresh FROM pg_temp.pgtenant_uuids AS u WHERE u.old = $1::uuid;
        IF fresh IS NULL THEN RETURN old; END IF;
        RETURN CASE WHEN old = lower(old) THEN pg_temp.pgtenant_in_form_of(old, fresh)
                    ELSE upper(pg_temp.pgtenant_in_form_of(old, fresh)) END;
      END IF;
      IF length(old) > ${longestRun} THEN RETURN old; END IF;
      FOR i IN 1 .. length(old) - 31 LOOP
        CONTINUE WHEN i % 32 <> 1 AND i <> length(old) - 31;
        SELECT u.new INTO fresh FROM pg_temp.pgtenant_uuids AS u WHERE u.old = substr($1, i, 32)::uuid;
        IF fresh IS NOT NULL THEN
          RETURN left(old, i - 1) || pg_temp.pgtenant_new_uuid(substr(old, i, 32))
                 || pg_temp.pgtenant_with_new_uuids(substr(old, i + 32));
        END IF;
      END LOOP;
      RETURN old;
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
      RETURN (
        SELECT string_agg(piece || coalesce(pg_temp.pgtenant_new_uuid(hit[1]), ''), '' ORDER BY n)
          FROM regexp_split_to_table(value, '${token}', 'i') WITH ORDINALITY AS p (piece, n)
          LEFT JOIN regexp_matches(value, '${token}', 'gi') WITH ORDINALITY AS m (hit, n) USING (n));
    END`)}`.execute(session.db);
}

function body(text: string): RawBuilder<unknown> {
  return sql.lit(text);
}
