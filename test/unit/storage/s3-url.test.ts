import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { isS3Url, openS3Url, parseS3Url } from "../../../src/storage/s3-url.ts";

suite("an s3:// URL", () => {
  test("names a bucket and a key, which is taken as it is", () => {
    const cases = [
      ["s3://backups/a/b.sql", "backups", "a/b.sql"],
      ["s3://my.backups-1/a b%20+ü?#.sql", "my.backups-1", "a b%20+ü?#.sql"],
      ["S3://backups/a/", "backups", "a/"],
      ["s3://backups/", "backups", ""],
      ["s3://backups", "backups", ""],
    ] as const;
    for (const [url, bucket, key] of cases) {
      assert.ok(isS3Url(url));
      assert.deepEqual(parseS3Url(url), { bucket, key });
    }
    assert.ok(!isS3Url("backups/s3:/x"));
  });

  test("that names no bucket is refused: exit 2", () => {
    for (const url of ["s3:", "s3:/a/b", "s3://", "s3:///key", "s3://a b/key", "s3://-x/key"]) {
      assert.throws(() => parseS3Url(url), {
        name: "AppError",
        code: "bad-s3-url",
        exitCode: 2,
        message: `"${url}" names no object in S3`,
      });
    }
  });

  test("that names a place is no object: exit 2", async () => {
    for (const url of ["s3://backups", "s3://backups/", "s3://backups/a/"]) {
      await assert.rejects(openS3Url(url, {}), { code: "bad-s3-url", exitCode: 2 });
    }
  });
});
