import { hash } from "node:crypto";
import { sql } from "kysely";
import type { Session } from "../postgres/session.ts";
import { sqlStateOf } from "../postgres/sqlstates.ts";
import { backupIdAt } from "./backup-name.ts";
import type { DatabaseLocale } from "./manifest.ts";

/** PostgreSQL cuts longer names. */
const longestName = 63;

/** `nkudo_restoring_20260101_020000`, with less of the database's name where it would be too long. */
export function scratchName(database: string, at: Date): string {
  return withSuffix(database, `_restoring_${timeOf(at)}`);
}

/** `nkudo_before_20260101_020000`: what the database is called after another has taken its place. */
export function keptName(database: string, at: Date): string {
  return withSuffix(database, `_before_${timeOf(at)}`);
}

/** `20260101_020000`, UTC, as names end with it. */
export function timeOf(at: Date): string {
  return backupIdAt(at).replace("backup_", "");
}

/** `longest` is in bytes: names that get a further suffix later need room for it. */
export function withSuffix(database: string, suffix: string, longest = longestName): string {
  if (Buffer.byteLength(database + suffix) <= longest) return database + suffix;
  // Two names that begin alike must not be cut to the same one: a restore sweeps what has its own.
  const end = `_${hash("sha256", database).slice(0, 8)}${suffix}`;
  const letters = [...database];
  while (Buffer.byteLength(letters.join("") + end) > longest) letters.pop();
  return letters.join("") + end;
}

/**
 * Makes an empty database with the same order of texts as the one that was backed up.
 *
 * @param admin a session in another database of the server
 * @returns what could not be had, for people: a locale that this server does not know
 */
export async function createScratch(
  admin: Session,
  name: string,
  locale: DatabaseLocale | undefined,
): Promise<readonly string[]> {
  const create = (options: readonly unknown[]) =>
    sql`CREATE DATABASE ${sql.id(name)} TEMPLATE template0 ${sql.join(
      options.map((option) => sql`${option}`),
      sql` `,
    )}`.execute(admin.db);
  if (locale === undefined) {
    await create([]);
    return [];
  }
  const encoding = sql`ENCODING ${sql.lit(locale.encoding)}`;
  try {
    await create([encoding, ...localeOptions(locale)]);
    return [];
  } catch (error) {
    // Class 22 and 42: a name that this server's libraries do not know.
    if (!/^(22|42)/.test(sqlStateOf(error) ?? "") || sqlStateOf(error) === "42501") throw error;
    await create([encoding, sql`LC_COLLATE 'C'`, sql`LC_CTYPE 'C'`]);
    return [
      `this server does not know the locale "${locale.locale ?? locale.collate}" of the backup: texts are sorted by the locale C`,
    ];
  }
}

function localeOptions(locale: DatabaseLocale) {
  const both = [sql`LC_COLLATE ${sql.lit(locale.collate)}`, sql`LC_CTYPE ${sql.lit(locale.ctype)}`];
  if (locale.locale === null || locale.provider === "c") return both;
  return locale.provider === "i"
    ? [...both, sql`LOCALE_PROVIDER icu`, sql`ICU_LOCALE ${sql.lit(locale.locale)}`]
    : [...both, sql`LOCALE_PROVIDER builtin`, sql`BUILTIN_LOCALE ${sql.lit(locale.locale)}`];
}

export async function dropDatabase(admin: Session, name: string): Promise<void> {
  await sql`DROP DATABASE IF EXISTS ${sql.id(name)} WITH (FORCE)`.execute(admin.db);
}

/**
 * Drops what restores of this database that were killed have left, and only that: databases of
 * exactly our names. The caller holds the lock of the target, so that none of them is in use.
 */
export async function sweepScratches(admin: Session, database: string): Promise<readonly string[]> {
  return await dropDated(admin, scratchName(database, new Date(0)), "");
}

/**
 * Drops the databases that are called as `dated`, whatever the date at its end is.
 *
 * @param suffix a regular expression for what may follow
 * @returns their names
 */
export async function dropDated(
  admin: Session,
  dated: string,
  suffix: string,
): Promise<readonly string[]> {
  const stem = dated.replace(/\d{8}_\d{6}$/, "");
  const { rows } = await sql<{ name: string }>`
    SELECT datname::text AS name FROM pg_catalog.pg_database
     WHERE starts_with(datname::text, ${stem})
       AND substr(datname, length(${stem}) + 1) ~ ${`^[0-9]{8}_[0-9]{6}${suffix}$`}`.execute(
    admin.db,
  );
  for (const { name } of rows) await dropDatabase(admin, name);
  return rows.map((row) => row.name);
}
