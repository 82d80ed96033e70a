import { splitStatements } from "../postgres/sql-statements.ts";
import { readStatement } from "./globals.ts";

/** Runs one of PostgreSQL's programs against the database, and gives what it writes. */
export type RunProgram = (
  program: "pg_dump" | "pg_dumpall",
  args: readonly string[],
) => AsyncIterable<Uint8Array>;

export interface DumpGlobalsOptions {
  /** With the hashes of the roles' passwords, which only a superuser may read. */
  readonly rolePasswords: boolean;
}

/**
 * SQL that makes the server's roles, then what the server says about this one database: its owner,
 * its settings, its privileges. A person can run it with psql on a new server, before the dump.
 */
export async function* dumpGlobals(
  run: RunProgram,
  options: DumpGlobalsOptions,
): AsyncGenerator<Uint8Array> {
  const passwords = options.rolePasswords ? [] : ["--no-role-passwords"];
  yield* run("pg_dumpall", ["--globals-only", "--encoding=UTF8", ...passwords]);
  yield* dumpDatabaseSettings(run);
}

/** What the server says about this one database alone. */
export async function* dumpDatabaseSettings(run: RunProgram): AsyncGenerator<Uint8Array> {
  const chunks: Uint8Array[] = [];
  // With every schema excluded there is little left, but pg_dump has no way to ask for less.
  const args = ["--create", "--schema-only", "--encoding=UTF8", "--exclude-schema=*"];
  for await (const chunk of run("pg_dump", [...args, "--no-publications", "--no-subscriptions"])) {
    chunks.push(chunk);
  }
  yield Buffer.from(databaseSection(Buffer.concat(chunks).toString("utf8")));
}

/** Of what pg_dump writes, the statements about the database itself; the rest is in the dump. */
function databaseSection(text: string): string {
  const kept: string[] = [];
  for (const statement of splitStatements(text)) {
    const { what } = readStatement(statement, undefined);
    if (what === "database" || what === "database-statement" || what === "grantor") {
      kept.push(`${statement.text};\n`);
    }
  }
  return `\n--\n-- The database\n--\n\n${kept.join("")}`;
}
