import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { type CommandResult, pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { assertUnchanged, digestOf } from "../harness/digest.ts";
import { errorBody, type FaultProxy, isRequest, startFaultProxy } from "../harness/fault-proxy.ts";
import { s3Missing } from "../harness/s3-server.ts";
import { makeBucket, type TestBucket } from "../harness/s3-store.ts";
import { chunks, keysOf, readAll } from "../harness/stores.ts";

suite("bundles in S3", { skip: s3Missing() ?? false }, () => {
  let database: TestDatabase;
  let bucket: TestBucket;
  let proxy: FaultProxy;

  before(async () => {
    bucket = await makeBucket();
    proxy = await startFaultProxy(bucket.access.endpoint);
    database = await createDatabase("s3 bundles", "n-kudo", { settings: { "seed.big": "off" } });
  });
  after(async () => {
    await database.drop();
    await bucket.close();
    await proxy.close();
  });

  async function run(...args: readonly string[]): Promise<CommandResult> {
    const { accessKeyId, secretAccessKey } = bucket.access;
    const result = await pgtenant(args, {
      url: database.url,
      env: {
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        BACKUP_S3_ENDPOINT: proxy.endpoint,
      },
    });
    assert.ok(!`${result.stdout}${result.stderr}`.includes(secretAccessKey));
    return result;
  }

  async function done(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await run(...args);
    assert.equal(code, 0, stderr);
    return stdout.toString();
  }

  test("are exported, inspected, verified and imported by their URL", async () => {
    const url = `s3://${bucket.name}/bundles/acme corp.jsonl.zst`;
    const exported = JSON.parse(await done("export", "acme", "-o", url, "--json"));
    assert.equal(exported.output, url);
    const store = await bucket.open();
    assert.equal((await store.stat("bundles/acme corp.jsonl.zst"))?.bytes, exported.bytes);

    assert.match(await done("inspect", url), /acme/);
    const verified = await done("verify", url);
    assert.ok(verified.startsWith(`"${url}" is whole and valid: tenant "acme"`), verified);
    const whole = await digestOf(database.url);
    await database.query("DELETE FROM tenants WHERE slug = 'acme'");
    assert.notDeepEqual(await digestOf(database.url), whole);
    await done("import", url, "--keep-in-flight");
    await assertUnchanged(database.url, whole);
  });

  test("have a dated name below a URL that ends with a slash", async () => {
    const place = `s3://${bucket.name}/all/`;
    const exported = JSON.parse(await done("export", "--all", "-o", place, "--json"));
    const store = await bucket.open();
    const keys = await keysOf(store, "all/tenant_");
    assert.deepEqual(
      exported.exported.map(({ output }: { output: string }) => output).toSorted(),
      keys.map((key) => `s3://${bucket.name}/${key}`),
    );
    assert.match(keys[0] ?? "", /^all\/tenant_acme_\d{8}_\d{6}\.jsonl\.zst$/);
  });

  test("are not overwritten without a word, and a wrong URL is a usage error", async () => {
    const store = await bucket.open();
    await store.write("taken", chunks("theirs"));
    const url = `s3://${bucket.name}/taken`;
    const taken = await run("export", "acme", "-o", url);
    assert.equal(taken.code, 2);
    assert.match(taken.stderr, /the object "s3:.*\/taken" exists already\nhint: .*--overwrite/);
    assert.equal((await readAll(store, "taken")).toString(), "theirs");

    for (const [key, message] of [
      ["missing", /there is no object "s3:.*\/missing"/],
      ["", /names no object, but a place/],
    ] as const) {
      const { code, stderr } = await run("inspect", `s3://${bucket.name}/${key}`);
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
    }
  });

  test("that cannot be written or read are exit 8, and leave nothing", async () => {
    proxy.fail(isRequest.put, { kind: "answer", status: 403, body: errorBody("AccessDenied") });
    const denied = await run("export", "acme", "-o", `s3://${bucket.name}/denied`);
    assert.equal(denied.code, 8, denied.stderr);
    assert.match(
      denied.stderr,
      /could not write "s3:.*\/denied": .* denies it \(AccessDenied\)\nhint: /,
    );
    proxy.heal();
    assert.deepEqual(await keysOf(await bucket.open(), "denied"), []);
    const missing = await run("verify", "s3://no-such-bucket-here/x");
    assert.equal(missing.code, 8, missing.stderr);
    assert.match(missing.stderr, /there is no bucket "no-such-bucket-here"/);
  });
});
