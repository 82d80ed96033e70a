import { invalidUrl } from "./session.ts";

/**
 * The URL of another database of the same server, for what cannot be done in the database itself,
 * such as renaming it.
 *
 * @throws {AppError} exit 2 for what is no URL
 */
export function maintenanceUrl(databaseUrl: string, database = "postgres"): string {
  const url = parse(databaseUrl);
  url.pathname = `/${encodeURIComponent(database)}`;
  return url.href;
}

/**
 * The databases from which a database of this name can be looked after, in the order in which
 * they are tried; every server has them, unless somebody has dropped or closed one.
 */
export function maintenanceDatabases(database: string): readonly string[] {
  return ["postgres", "template1"].filter((name) => name !== database);
}

/**
 * The database that a URL names; libpq takes the user's name for one that names none.
 *
 * @throws {AppError} exit 2 for what is no URL
 */
export function databaseOfUrl(databaseUrl: string): string {
  const url = parse(databaseUrl);
  try {
    return decodeURIComponent(url.pathname.slice(1)) || decodeURIComponent(url.username);
  } catch {
    throw invalidUrl();
  }
}

function parse(databaseUrl: string): URL {
  if (!URL.canParse(databaseUrl)) throw invalidUrl();
  return new URL(databaseUrl);
}
