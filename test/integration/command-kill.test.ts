import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { type ImportLength, killImport, measureImport } from "../harness/kill-import.ts";
import { type LostTenant, loseTenant } from "../harness/lost-tenant.ts";

suite("an import that is killed with SIGKILL", () => {
  let database: TestDatabase;
  let folder: string;
  let tenant: LostTenant;
  let length: ImportLength;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("kill", "n-kudo", { settings: { "seed.big": "off" } });
    tenant = await loseTenant(database.url, join(folder, "acme.jsonl"), 3_000);
    length = await measureImport(tenant);
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await database.drop();
  });

  const shares = [
    ["staging", 0.8],
    ["applying", 0.1],
    ["applying", 0.7],
  ] as const;
  for (const [phase, share] of shares) {
    test(`after ${share * 100} % of the time of ${phase} has written nothing or all, and runs again at once`, () =>
      killImport(
        tenant,
        { phase, afterMs: share * length[phase] },
        { staging: 0, applying: 0, committed: 0, ended: 0 },
      ));
  }
});
