import assert from "node:assert/strict";
import { createHmac, scryptSync } from "node:crypto";
import { suite, test } from "node:test";
import { keyIdOf } from "../../../src/bundle/key-id.ts";
import { partHmac } from "../../../src/bundle/part-hmac.ts";

suite("the id of a key", () => {
  test("is the recipients, or digits that are the same for the same passphrase", () => {
    assert.deepEqual(keyIdOf({ method: "none" }), []);
    assert.deepEqual(keyIdOf({ method: "age", recipients: ["age1x", "age1y"] }), [
      "age1x",
      "age1y",
    ]);
    const [id = "", ...others] = keyIdOf({ method: "openssl", passphrase: "secret words" });
    assert.deepEqual(others, []);
    assert.match(id, /^passphrase:[0-9a-f]{8}$/);
    assert.deepEqual(keyIdOf({ method: "age", passphrase: "secret words" }), [id]);
    assert.notDeepEqual(keyIdOf({ method: "age", passphrase: "secret word" }), [id]);
  });
});

suite("the HMAC of a stored file", () => {
  const name = "backup_1.sql.gz.enc";

  test("is bound to the passphrase, the name and the digest of the bytes", () => {
    const one = partHmac("secret", name, "00ff");
    assert.equal(partHmac("secret", name, "00ff"), one);
    assert.notEqual(partHmac("Secret", name, "00ff"), one);
    assert.notEqual(partHmac("secret", "backup_2.sql.gz.enc", "00ff"), one);
    assert.notEqual(partHmac("secret", name, "00fe"), one);
  });

  test("stays what it is: manifests that are stored depend on it", () => {
    const options = { N: 32768, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };
    const key = scryptSync("secret", `pgtenant hmac ${name}`, 32, options);
    const expected = createHmac("sha256", key).update("00ff").digest("hex");
    assert.equal(partHmac("secret", name, "00ff"), expected);
  });
});
