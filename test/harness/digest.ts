import assert from "node:assert/strict";
import { withSession } from "../../src/postgres/session.ts";
import { type DatabaseDigest, differences, digestDatabase } from "../../src/tenant/digest.ts";

/** The rows of every table and the state of every sequence. */
export function digestOf(databaseUrl: string): Promise<DatabaseDigest> {
  return withSession({ databaseUrl, applicationName: "test digest" }, digestDatabase);
}

/** Asserts that no row and no sequence has changed since `before`. */
export async function assertUnchanged(
  databaseUrl: string,
  before: DatabaseDigest,
  what = "the database has changed",
): Promise<void> {
  assert.deepEqual(differences(before, await digestOf(databaseUrl)), [], what);
}
