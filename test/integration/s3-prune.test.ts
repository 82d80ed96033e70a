import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, suite, test } from "node:test";
import { backupIdAt } from "../../src/backup/backup-name.ts";
import { openLocalStore } from "../../src/storage/local-store.ts";
import type { Store } from "../../src/storage/store.ts";
import { putBackup } from "../harness/backup-entries.ts";
import { type CommandResult, pgtenant } from "../harness/command.ts";
import { errorBody, type FaultProxy, isRequest, startFaultProxy } from "../harness/fault-proxy.ts";
import { memoryStore } from "../harness/memory-store.ts";
import { s3Missing } from "../harness/s3-server.ts";
import { makeBucket, type TestBucket } from "../harness/s3-store.ts";
import { chunks } from "../harness/stores.ts";

const dayMs = 24 * 3_600_000;
const begun = Date.now();
const idOf = (days: number) => backupIdAt(new Date(begun - days * dayMs));

suite("list and prune with S3", { skip: s3Missing() ?? false }, () => {
  let bucket: TestBucket;
  let proxy: FaultProxy;
  let folder: string;
  let local: Store;
  before(async () => {
    bucket = await makeBucket();
    proxy = await startFaultProxy(bucket.access.endpoint);
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    local = openLocalStore(folder);
  });
  afterEach(() => proxy.heal());
  after(async () => {
    await rm(folder, { recursive: true });
    await bucket.close();
    await proxy.close();
  });

  /** The server need not answer: prune and list only want the database's name. */
  const run = (...args: readonly string[]): Promise<CommandResult> =>
    pgtenant([...args, "--json"], {
      url: "postgres://localhost:1/nkudo",
      env: {
        AWS_ACCESS_KEY_ID: bucket.access.accessKeyId,
        AWS_SECRET_ACCESS_KEY: bucket.access.secretAccessKey,
        BACKUP_DIR: folder,
        BACKUP_S3_BUCKET: bucket.name,
        BACKUP_S3_PREFIX: "nightly",
        BACKUP_S3_ENDPOINT: proxy.endpoint,
      },
    });

  async function copyTo(store: Store, days: number): Promise<string> {
    const id = idOf(days);
    const made = memoryStore();
    putBackup(made, id);
    for (const [key, bytes] of made.objects) await store.write(key, chunks(bytes));
    return id;
  }

  test("a backup in both places is one line; a place that cannot be listed is told: exit 8", async () => {
    const s3 = await bucket.open({ prefix: "nightly" });
    const id = await copyTo(local, 0);
    await copyTo(s3, 0);
    const both = await run("list");
    assert.equal(both.code, 0, both.stderr);
    const { backups } = JSON.parse(both.stdout.toString());
    assert.deepEqual(
      backups.map((backup: { id: string; copies: { place: string }[] }) => [
        backup.id,
        backup.copies.map((copy) => copy.place),
      ]),
      [[id, [folder, `s3://${bucket.name}/nightly`]]],
    );
    proxy.fail(isRequest.list, { kind: "answer", status: 403, body: errorBody("AccessDenied") });
    const half = await run("list");
    assert.equal(half.code, 8);
    const document = JSON.parse(half.stdout.toString());
    assert.equal(document.backups.length, 1);
    assert.equal(document.unreachable[0].place, `s3://${bucket.name}/nightly`);
  });

  test("a manifest under object lock is reported and its backup kept whole, the others go", async () => {
    const s3 = await bucket.open({ prefix: "nightly" });
    const [locked, free] = [await copyTo(s3, 50), await copyTo(s3, 40)];
    proxy.fail((request) => isRequest.remove(request) && request.url.includes(locked), {
      kind: "answer",
      status: 403,
      body: errorBody("AccessDenied"),
    });
    const refused = await run("prune", "-k", "30");
    assert.equal(refused.code, 8, refused.stderr);
    assert.match(refused.stderr, new RegExp(`warning: ${locked} was not removed: `));
    const [, place] = JSON.parse(refused.stdout.toString()).places;
    assert.deepEqual(
      place.removed.map((one: { id: string }) => one.id),
      [free],
    );
    assert.equal(place.refused[0].code, "object-locked");
    const keys = (await Array.fromAsync(s3.list())).map(({ key }) => key);
    assert.equal(keys.filter((key) => key.startsWith(locked)).length, 3);
    assert.equal(keys.filter((key) => key.startsWith(free)).length, 0);
    proxy.heal();
    assert.equal((await run("prune", "-k", "30")).code, 0);
    assert.equal((await Array.fromAsync(s3.list())).length, 3);
  });
});
