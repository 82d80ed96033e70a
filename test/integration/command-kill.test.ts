import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { killImport, measureImport } from "../harness/kill-import.ts";
import { type LostTenant, loseTenant } from "../harness/lost-tenant.ts";

suite("an import that is killed with SIGKILL", () => {
  let database: TestDatabase;
  let folder: string;
  let tenant: LostTenant;
  let length: number;

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

  for (const share of [0.5, 0.75, 0.95]) {
    test(`after ${share * 100} % of its time has written nothing or all, and runs again at once`, () =>
      killImport(tenant, share * length, { staging: 0, applying: 0, committed: 0, ended: 0 }));
  }
});
