import { readFile } from "node:fs/promises";
import { createDatabase, type TestDatabase } from "./database.ts";

/** The profile of the schema in `fixtures/other`, as `--profile` takes it. */
export const otherProfile = new URL("../../fixtures/other/profile.json", import.meta.url).pathname;

/** Makes a database with the schema and the rows of `fixtures/other`. */
export async function createOtherDatabase(suite: string): Promise<TestDatabase> {
  const database = await createDatabase(suite, "empty");
  for (const file of ["schema.sql", "seed.sql"]) {
    await database.query(
      await readFile(new URL(`../../fixtures/other/${file}`, import.meta.url), "utf8"),
    );
  }
  return database;
}
