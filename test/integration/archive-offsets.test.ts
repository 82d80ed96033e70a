import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { addOffsets } from "../../src/backup/archive-offsets.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";

suite("offsets of an archive that was written to a pipe", () => {
  let folder: string;
  let database: TestDatabase;
  const dump = (to: string) =>
    execFileSync("sh", ["-c", `pg_dump -Fc -Z0 -d "$0" ${to}`, database.url]);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("archive-offsets", "n-kudo");
    // Larger than what is read at once, so that data lies across its edges.
    await database.query(
      "SELECT lo_from_bytea(0, convert_to(repeat('large object ', n * 100000), 'UTF8')) FROM generate_series(1, 2) n",
    );
  });

  after(async () => {
    await database.drop();
    await rm(folder, { recursive: true, force: true });
  });

  test("are those that pg_dump itself writes to a file", async () => {
    const piped = join(folder, "piped.dump");
    dump(`-f '${join(folder, "file.dump")}'`);
    dump(`| cat > '${piped}'`);
    const wanted = withoutTime(await readFile(join(folder, "file.dump")));
    assert.ok(!withoutTime(await readFile(piped)).equals(wanted));
    assert.ok((await addOffsets(piped)) > 20);
    assert.ok(withoutTime(await readFile(piped)).equals(wanted));
    assert.equal(await addOffsets(piped), 0, "all of them are there already");
  });

  test("are left out of what is no whole archive, which stays as it is", async () => {
    const path = join(folder, "other.dump");
    dump(`| cat > '${path}'`);
    const whole = await readFile(path);
    const newer = Buffer.from(whole);
    newer[6] = 99;
    const noise = Buffer.from(whole);
    for (let at = 100; at < noise.length; at += 101) noise[at] = (at * 31) & 255;
    const others = [
      ...[0, 4, 10, 40, 3000, whole.length - 1].map((end) => whole.subarray(0, end)),
      Buffer.concat([whole, Buffer.from([9])]),
      Buffer.from("CREATE TABLE t (id int);\n"),
      newer,
      noise,
    ];
    for (const bytes of others) {
      await writeFile(path, bytes);
      assert.equal(await addOffsets(path), 0);
      assert.ok((await readFile(path)).equals(bytes));
    }
  });
});

/** Seconds and minutes are the first two numbers behind the level of compression. */
function withoutTime(archive: Buffer): Buffer {
  const bytes = Buffer.from(archive);
  bytes.fill(0, 11, 11 + 5 * 8);
  return bytes;
}
