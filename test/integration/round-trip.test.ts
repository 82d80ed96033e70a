import assert from "node:assert/strict";
import { test } from "node:test";
import { differences } from "../../src/tenant/digest.ts";
import { createDatabase } from "../harness/database.ts";
import { deleteTenant, digestOf, importBytes } from "../harness/import.ts";
import { describeRoundTrips } from "../harness/round-trip.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

describeRoundTrips("a lost tenant comes back bit by bit, on the complete schema", "n-kudo");

test("a lost tenant with a text of 5 MB comes back, and a second import changes nothing", async (t) => {
  const database = await createDatabase("round-trip-big", "n-kudo");
  t.after(() => database.drop());
  const before = await digestOf(database);
  const { bytes } = await exportBundle(database.url, "acme", { compression: "zstd" });
  await deleteTenant(database, "acme");
  for (const applied of [true, false]) {
    const result = await importBytes(database.url, bytes, { confirmed: false });
    assert.equal(result.applied, applied);
    assert.deepEqual(result.plan.sequences, []);
    assert.deepEqual(differences(before, await digestOf(database)), []);
  }
});
