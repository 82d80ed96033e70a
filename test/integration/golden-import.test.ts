import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { defaultMaxRowBytes } from "../../src/bundle/format.ts";
import { noProgress } from "../../src/progress.ts";
import { importBundle } from "../../src/tenant/import.ts";
import { createDatabase } from "../harness/database.ts";
import { databaseDigest } from "../harness/database-digest.ts";
import { inChunks, withTenantSchema } from "../harness/tenant-bundle.ts";

suite("a golden bundle, written by the first version of its format,", () => {
  for (const file of ["format-1/acme.jsonl", "format-1/acme.json"]) {
    test(`brings a deleted tenant back with every bit: ${file}`, async () => {
      const database = await createDatabase("golden", "n-kudo", {
        settings: { "seed.big": "off" },
      });
      try {
        const original = await databaseDigest(database);
        await database.query("DELETE FROM tenants WHERE slug = 'acme'");
        assert.notDeepEqual(await databaseDigest(database), original);
        const bytes = await readFile(new URL(`../../fixtures/golden/${file}`, import.meta.url));
        const { applied, rowsInBundle } = await withTenantSchema(database.url, (session, schema) =>
          importBundle(session, schema, inChunks(bytes), {
            name: '"golden"',
            mode: "missing",
            dryRun: false,
            confirmed: false,
            set: new Map(),
            leaveOut: [],
            disableTriggers: false,
            keepInFlight: true,
            expireCredentials: false,
            onCollision: "fail",
            acceptRedacted: false,
            maxRowBytes: defaultMaxRowBytes,
            progress: noProgress,
          }),
        );
        assert.equal(applied, true);
        assert.equal(rowsInBundle, 260);
        assert.deepEqual(await databaseDigest(database), original);
      } finally {
        await database.drop();
      }
    });
  }
});
