import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProfileFile } from "../../src/profile/load.ts";
import { createDatabase, type TestDatabase } from "./database.ts";

/** A database with a schema of a few lines, and the path of the profile for it. */
export interface SmallSchema {
  readonly database: TestDatabase;
  readonly profile: string;
  /** Writes another profile to the same path. */
  describe(profile: ProfileFile): Promise<void>;
}

export async function withSmallSchema(
  suite: string,
  schema: string,
  profile: ProfileFile,
  use: (small: SmallSchema) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  const path = join(folder, "profile.json");
  const describe = (other: ProfileFile) => writeFile(path, JSON.stringify(other));
  const database = await createDatabase(suite, "empty");
  try {
    await database.query(schema);
    await describe(profile);
    await use({ database, profile: path, describe });
  } finally {
    await database.drop();
    await rm(folder, { recursive: true });
  }
}
