import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { Compression } from "../../src/bundle/layers.ts";
import type { BundleLayout } from "../../src/bundle/writer.ts";
import { differences } from "../../src/tenant/digest.ts";
import { pgtenant } from "./command.ts";
import { createDatabase, type TemplateName } from "./database.ts";
import { deleteTenant, digestOf, importBytes } from "./import.ts";
import { exportBundle } from "./tenant-bundle.ts";

const forms: readonly (readonly [string, BundleLayout, Compression])[] = [
  [".jsonl", "jsonl", "none"],
  [".jsonl.zst", "jsonl", "zstd"],
  [".jsonl.gz", "jsonl", "gzip"],
  [".json", "json", "none"],
];

/** Loses each tenant of a template and restores it, once in every form a bundle can have. */
export function describeRoundTrips(title: string, template: TemplateName): void {
  describe(title, async () => {
    const database = await createDatabase(`round-trip-${template}`, template, {
      settings: { "seed.big": "off" },
    });
    after(() => database.drop());
    const before = await digestOf(database);
    const assertAsBefore = async () =>
      assert.deepEqual(differences(before, await digestOf(database)), []);

    for (const tenant of ["acme", "globex", "initech"]) {
      for (const [form, layout, compression] of forms) {
        test(`${tenant} through ${form}`, async () => {
          const exported = await exportBundle(database.url, tenant, { layout, compression });
          await deleteTenant(database, tenant);
          assert.notDeepEqual(differences(before, await digestOf(database)), []);
          const result = await importBytes(database.url, exported.bytes, { confirmed: false });
          assert.equal(result.applied, true);
          assert.equal(result.rowsInBundle, exported.result.rows);
          await assertAsBefore();
        });
      }

      test(`${tenant} through a pipe, by the commands themselves, twice`, async () => {
        const exported = await pgtenant(["export", tenant, "-o", "-"], { url: database.url });
        assert.equal(exported.code, 0, exported.stderr);
        await deleteTenant(database, tenant);
        for (const said of [/committed: .* rows inserted/, /nothing to do/]) {
          const imported = await pgtenant(["import", "-", "--keep-in-flight"], {
            url: database.url,
            input: exported.stdout,
          });
          assert.equal(imported.code, 0, imported.stderr);
          assert.match(`${imported.stdout}${imported.stderr}`, said);
          await assertAsBefore();
        }
      });
    }
  });
}
