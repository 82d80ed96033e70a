import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseManifest } from "../../src/backup/manifest.ts";
import { type RoundTrips, startRoundTrips } from "../harness/backup-round-trip.ts";
import { type CommandResult, pgtenant } from "../harness/command.ts";
import { databaseDigest } from "../harness/database-digest.ts";
import { s3Missing } from "../harness/s3-server.ts";
import { makeBucket, type TestBucket } from "../harness/s3-store.ts";
import { databaseAt, dropDatabases } from "../harness/server-databases.ts";
import { keysOf } from "../harness/stores.ts";

suite("backups in S3", { skip: s3Missing() ?? false }, () => {
  let trips: RoundTrips;
  let bucket: TestBucket;
  let folder: string;
  before(async () => {
    bucket = await makeBucket();
    trips = await startRoundTrips("round trip s3");
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  after(async () => {
    await bucket.close();
    await trips.dispose();
    await rm(folder, { recursive: true });
  });

  const environment = (dir: string, changes: Readonly<Record<string, string>> = {}) => ({
    BACKUP_DIR: join(folder, dir),
    BACKUP_S3_BUCKET: bucket.name,
    BACKUP_S3_PREFIX: "n-kudo/commands",
    BACKUP_S3_ENDPOINT: bucket.access.endpoint,
    AWS_ACCESS_KEY_ID: bucket.access.accessKeyId,
    AWS_SECRET_ACCESS_KEY: bucket.access.secretAccessKey,
    ...changes,
  });

  const run = (args: readonly string[], env: Readonly<Record<string, string>>) =>
    pgtenant(args, { url: trips.source.url, env });

  function succeeded(result: CommandResult): string {
    assert.equal(result.code, 0, result.stderr);
    return result.stdout.toString();
  }

  for (const layers of [
    { format: "plain", compression: "gzip", encryption: "openssl" },
    { format: "custom", compression: "none", encryption: "age" },
    { format: "directory", compression: "zstd", encryption: "none" },
  ] as const) {
    test(`${Object.values(layers).join(", ")}: is the same after a restore from the bucket`, async () => {
      const store = await bucket.open({ prefix: `n-kudo/${layers.format}` });
      const { id, manifest } = await trips.run(layers, store);
      const names = [...manifest.parts.map((part) => part.name), `${id}.manifest.json`];
      assert.deepEqual(await keysOf(store), [...names, `${id}.verified.json`].sort());
      assert.deepEqual(await bucket.pendingUploads(), []);
    });
  }

  test("the command writes both places, and both copies hold; the bucket alone restores", async () => {
    const env = environment("both");
    const text = succeeded(await run(["backup", "--compress", "zstd"], env));
    assert.match(text, new RegExp(`^ {2}in s3://${bucket.name}/n-kudo/commands$`, "m"));
    const files = (await readdir(env.BACKUP_DIR)).filter((name) => name.startsWith("backup_"));
    const store = await bucket.open({ prefix: "n-kudo/commands" });
    assert.deepEqual(await keysOf(store, "backup_"), files.sort());
    const verified = await run(["verify", "latest", "--json"], env);
    assert.equal(JSON.parse(succeeded(verified)).copies.length, 2);

    // A copy that lacks something, or cannot be asked, is no copy: the other one does not hide it.
    const globals = files.find((name) => name.includes("globals")) ?? "";
    const away = join(folder, globals);
    await rename(join(env.BACKUP_DIR, globals), away);
    const lacking = await run(["verify", "latest", "--json"], env);
    assert.equal(lacking.code, 3, lacking.stderr);
    const { valid, copies } = JSON.parse(lacking.stdout.toString());
    assert.deepEqual(
      [valid, copies.map((copy: { valid: boolean }) => copy.valid)],
      [false, [true, false]],
    );
    await rename(away, join(env.BACKUP_DIR, globals));
    const unreachable = { ...env, BACKUP_S3_ENDPOINT: "http://127.0.0.1:1" };
    assert.equal((await run(["verify", "latest"], unreachable)).code, 8);

    const into = `${trips.source.name}_bucket`;
    const elsewhere = environment("another machine");
    succeeded(await run(["restore", "latest", "--into", into], elsewhere));
    const copy = databaseAt(into);
    const { others, ...tables } = trips.digest;
    assert.deepEqual(await databaseDigest(copy), tables);
    await copy.end();
    await dropDatabases(into);
    const file = files.find((name) => name.endsWith(".sql.zst") && !name.includes("globals"));
    const url = `s3://${bucket.name}/n-kudo/commands/${file}`;
    assert.match(succeeded(await run(["restore", url, "--dry-run"], elsewhere)), /is whole: of /);
  });

  for (const [how, changes, message] of [
    ["does not answer", { BACKUP_S3_ENDPOINT: "http://127.0.0.1:1" }, /127\.0\.0\.1:1/],
    ["refuses the key", { AWS_SECRET_ACCESS_KEY: "wrong" }, /s3:\/\//],
    ["has no such bucket", { BACKUP_S3_BUCKET: "no-such-bucket" }, /no-such-bucket/],
  ] as const) {
    test(`S3 that ${how}: the local copy is good, and the exit code is 8`, async () => {
      const env = environment(how, changes);
      const result = await run(["backup"], env);
      assert.equal(result.code, 8, result.stderr);
      assert.match(result.stderr, /^pgtenant: the backup is not in s3:\/\/.*: /m);
      assert.match(result.stderr, message);
      assert.match(result.stderr, /^hint: \p{Lu}/mu);
      assert.match(result.stdout.toString(), /^backed up database /m);
      const names = await readdir(env.BACKUP_DIR);
      assert.equal(names.filter((name) => name.endsWith(".manifest.json")).length, 1);
      assert.deepEqual(
        names.filter((name) => /pending|partial/.test(name)),
        [],
      );
      const local = { BACKUP_DIR: env.BACKUP_DIR };
      succeeded(await run(["verify", "latest"], local));
      const journal = (await readFile(join(env.BACKUP_DIR, "journal.jsonl"), "utf8")).trimEnd();
      const [, done] = journal.split("\n").map((line) => JSON.parse(line));
      assert.equal(done.event, "done");
      assert.match(done.details.failed[0].place, /^s3:\/\//);
    });
  }

  test("latest is the newest of both places, and names the place it took it from", async () => {
    const here = environment("newest");
    succeeded(await run(["backup"], { BACKUP_DIR: here.BACKUP_DIR }));
    // Places that do not know of each other may have two of the same second.
    await sleep(1_000 - (Date.now() % 1_000));
    succeeded(await run(["backup", "--no-prune"], environment("newest elsewhere")));
    const store = await bucket.open({ prefix: "n-kudo/commands" });
    const newest = (await keysOf(store)).filter((key) => key.endsWith(".manifest.json")).at(-1);
    const chunks = await Array.fromAsync(await store.read(newest ?? ""));
    const { id } = parseManifest(Buffer.concat(chunks).toString("utf8"), "the newest");
    const result = await run(["restore", "latest", "--dry-run"], here);
    assert.match(succeeded(result), new RegExp(`the backup "s3://.*/${id}" is whole`));
  });
});
