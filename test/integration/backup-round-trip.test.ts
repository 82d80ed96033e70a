import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { type Layers, type RoundTrips, startRoundTrips } from "../harness/backup-round-trip.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase } from "../harness/database.ts";
import { databaseDigest } from "../harness/database-digest.ts";
import { databaseAt, databasesLike, dropDatabases } from "../harness/server-databases.ts";
import { openMade, restoreMade } from "../harness/whole-database.ts";

/** Each format, each compression and each encryption; all combinations are in test/proof. */
const some: readonly Layers[] = [
  { format: "plain", compression: "gzip", encryption: "openssl" },
  { format: "custom", compression: "zstd", encryption: "age" },
  { format: "directory", compression: "none", encryption: "none" },
];

suite("a backup restored", () => {
  let trips: RoundTrips;
  before(async () => {
    trips = await startRoundTrips("round trip");
  });
  after(() => trips.dispose());

  for (const layers of some) {
    const { format, compression, encryption } = layers;
    test(`${format}, ${compression}, encryption ${encryption}: every table and sequence is the same`, async () => {
      await trips.run(layers);
    });
  }

  for (const [format, jobs] of [
    ["plain", undefined],
    ["directory", 2],
  ] as const) {
    test(`${format}: after the swap the target is the backup, and the kept one what it was`, async () => {
      const target = await createDatabase(`swapped ${format}`, "n-kudo", {
        settings: { "seed.big": "off" },
      });
      try {
        await target.query("DELETE FROM audit_events; UPDATE tenants SET name = 'damaged'");
        const damaged = await databaseDigest(target);
        const { id } = await trips.make({ format, compression: "gzip", encryption: "none" });
        const backup = await openMade(id, [trips.store]);
        const { plan } = await restoreMade(target.url, backup, { jobs, disconnect: true });
        const [swapped, kept] = [databaseAt(target.name), databaseAt(plan.kept ?? "")];
        const { others, ...tables } = trips.digest;
        assert.deepEqual(await databaseDigest(swapped), tables);
        assert.deepEqual(await databaseDigest(kept), damaged);
        await Promise.all([swapped.end(), kept.end()]);
      } finally {
        await dropDatabases(...(await databasesLike(`${target.name}_`)));
        await target.drop();
      }
    });
  }

  test("plain and custom: in place, what differs becomes what was backed up", async () => {
    const target = await createDatabase("in place", "n-kudo", { settings: { "seed.big": "off" } });
    try {
      for (const format of ["plain", "custom"] as const) {
        const damaged = databaseAt(target.name); // another one each time: the restore ends it
        await damaged.query("DELETE FROM audit_events");
        await damaged.query("UPDATE tenants SET name = 'damaged'");
        const { id } = await trips.make({ format, compression: "zstd", encryption: "none" });
        await restoreMade(target.url, await openMade(id, [trips.store]), {
          mode: "in-place",
          disconnect: true,
        });
        const restored = databaseAt(target.name);
        const { others, ...tables } = trips.digest;
        assert.deepEqual(await databaseDigest(restored), tables);
        await Promise.allSettled([restored.end(), damaged.end()]);
      }
    } finally {
      await target.drop();
    }
  });

  test("by the commands: backup, verify and restore with a passphrase in a file of the environment", async () => {
    const { source, store } = trips;
    const env = { BACKUP_DIR: `${store.place} of commands`, BACKUP_ENCRYPTION_KEY: "säcret key" };
    const options = { url: source.url, env };
    const args = ["--encrypt", "--format", "directory", "--compress", "zstd"];
    const into = `${source.name}_command`;
    for (const command of [
      ["backup", ...args],
      ["verify", "latest"],
      ["restore", "latest", "--into", into],
    ]) {
      const { code, stderr } = await pgtenant(command, options);
      assert.equal(code, 0, stderr);
    }
    const copy = databaseAt(into);
    const { others, ...tables } = trips.digest;
    assert.deepEqual(await databaseDigest(copy), tables);
    await copy.end();
    await dropDatabases(into);
  });
});
