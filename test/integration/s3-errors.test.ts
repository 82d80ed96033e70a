import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { inspect } from "node:util";
import { AppError } from "../../src/errors.ts";
import type { S3Options } from "../../src/storage/s3-client.ts";
import { openS3Store } from "../../src/storage/s3-store.ts";
import type { Store } from "../../src/storage/store.ts";
import { errorBody, type FaultProxy, isRequest, startFaultProxy } from "../harness/fault-proxy.ts";
import { s3Missing } from "../harness/s3-server.ts";
import { makeBucket, type TestBucket } from "../harness/s3-store.ts";
import { chunks, keysOf } from "../harness/stores.ts";

const secret = "wJalrXUtnFEMI-planted-secret";

suite("an error of S3 says what to do", { skip: s3Missing() ?? false }, () => {
  let bucket: TestBucket;
  let proxy: FaultProxy;
  before(async () => {
    bucket = await makeBucket();
    proxy = await startFaultProxy(bucket.access.endpoint);
  });
  after(async () => {
    await bucket.close();
    await proxy.close();
  });

  /** Operations fail alike: exit 8, a hint that is a sentence, and no secret anywhere. */
  async function assertFailure(
    options: Partial<S3Options>,
    expected: { readonly code: string; readonly message: RegExp; readonly hint: RegExp },
  ): Promise<void> {
    const { endpoint, region, accessKeyId, secretAccessKey } = bucket.access;
    const store: Store = await openS3Store({
      bucket: bucket.name,
      endpoint,
      region,
      credentials: { accessKeyId, secretAccessKey },
      patience: { pauseMs: 10, connectMs: 2_000 },
      ...options,
    });
    const work = {
      write: () => store.write("key", chunks("x")),
      list: () => keysOf(store),
      stat: () => store.stat("key"),
      read: () => store.read("key"),
      sweep: () => store.sweep(""),
    };
    for (const [name, operation] of Object.entries(work)) {
      await assert.rejects(
        async () => await operation(),
        (error) => {
          assert.ok(error instanceof AppError, name);
          assert.equal(error.code, expected.code, name);
          assert.equal(error.exitCode, 8);
          assert.match(error.message, /^could not /);
          assert.ok(error.message.includes(`"${store.place}`), error.message);
          assert.match(error.message, expected.message);
          assert.match(error.hint ?? "", expected.hint);
          assert.match(error.hint ?? "", /\.$/);
          const shown = inspect(error, { depth: 20, showHidden: true });
          for (const word of [secret, bucket.access.secretAccessKey]) {
            assert.ok(!shown.includes(word), `${name} shows a secret`);
          }
          return true;
        },
      );
    }
    await store.close();
  }

  test("an access key that the server does not know", async () => {
    await assertFailure(
      { credentials: { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: secret } },
      {
        code: "s3-wrong-credentials",
        message: /does not accept the credentials \(InvalidAccessKeyId\)$/,
        hint: /^Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY/,
      },
    );
  });

  test("a wrong secret", async () => {
    const { accessKeyId } = bucket.access;
    await assertFailure(
      { credentials: { accessKeyId, secretAccessKey: secret } },
      {
        code: "s3-wrong-credentials",
        message: /does not accept the credentials \(SignatureDoesNotMatch\)$/,
        hint: /^Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY/,
      },
    );
  });

  test("a bucket that does not exist", async () => {
    await assertFailure(
      { bucket: "no-such-bucket-here" },
      {
        code: "no-such-bucket",
        message: /: there is no bucket "no-such-bucket-here" on 127\.0\.0\.1:\d+$/,
        hint: /BACKUP_S3_BUCKET and BACKUP_S3_ENDPOINT/,
      },
    );
  });

  test("a server that is not there, or a name that nobody has", async () => {
    const unreachable = { code: "s3-unreachable", hint: /^Check BACKUP_S3_ENDPOINT/ };
    await assertFailure(
      { endpoint: "http://user:planted-secret@127.0.0.1:1" },
      {
        ...unreachable,
        message: /: 127\.0\.0\.1:1 cannot be reached \(ECONNREFUSED, 5 attempts\)$/,
      },
    );
    await assertFailure(
      { endpoint: "http://s3.invalid" },
      { ...unreachable, message: /: s3\.invalid cannot be reached \((ENOTFOUND|EAI_AGAIN)/ },
    );
  });

  test("a server that does not speak TLS", async () => {
    await assertFailure(
      { endpoint: bucket.access.endpoint.replace("http:", "https:") },
      {
        code: "s3-unreachable",
        message: /cannot be reached/,
        hint: /^Its certificate is not trusted, or it does not speak TLS/,
      },
    );
  });

  test("clocks that differ, another region, no space, and whatever else it answers", async () => {
    const answers = [
      [403, "RequestTimeTooSkewed", "s3-clock", /the clocks of this machine/, /NTP/],
      [
        400,
        "AuthorizationHeaderMalformed",
        "s3-region",
        /not in the region us-east-1/,
        /S3_REGION/,
      ],
      [403, "AccessDenied", "s3-denied", /denies it \(AccessDenied\)/, /rights/],
      [403, "QuotaExceeded", "s3-full", /has no space left/, /Prune/],
      [400, "Whatever", "s3-failed", /answered 400 Whatever \(a reason\)$/, /documentation/],
    ] as const;
    for (const [status, name, code, message, hint] of answers) {
      proxy.fail(isRequest.any, {
        kind: "answer",
        status,
        body: errorBody(name, "a reason"),
      });
      await assertFailure({ endpoint: proxy.endpoint }, { code, message, hint });
      proxy.heal();
    }
  });

  test("credentials that nobody gave", async () => {
    const kept = { ...process.env };
    for (const name of Object.keys(process.env)) {
      if (name.startsWith("AWS_")) delete process.env[name];
    }
    // Nor the home folder's files, nor the metadata service of a cloud's machine.
    const nowhere = { AWS_EC2_METADATA_DISABLED: "true", HOME: "/nonexistent" };
    Object.assign(process.env, nowhere);
    try {
      await assertFailure(
        { credentials: undefined },
        {
          code: "s3-no-credentials",
          message: /: there are no credentials for S3$/,
          hint: /^Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY/,
        },
      );
    } finally {
      for (const name of Object.keys(nowhere)) delete process.env[name];
      Object.assign(process.env, kept);
    }
  });
});
