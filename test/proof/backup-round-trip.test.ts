import { after, before, suite, test } from "node:test";
import { type RoundTrips, startRoundTrips } from "../harness/backup-round-trip.ts";

suite("a backup with every combination of layers, restored", () => {
  let trips: RoundTrips;
  before(async () => {
    trips = await startRoundTrips("all round trips");
  });
  after(() => trips.dispose());

  for (const format of ["plain", "custom", "directory"] as const) {
    for (const compression of ["gzip", "zstd", "none"] as const) {
      for (const encryption of ["none", "openssl", "age"] as const) {
        test(`${format}, ${compression}, encryption ${encryption}: is the same`, async () => {
          await trips.run({ format, compression, encryption });
        });
      }
    }
  }

  test("plain, gzip, age with a passphrase: is the same", async () => {
    await trips.run({ format: "plain", compression: "gzip", encryption: "age passphrase" });
  });
});
