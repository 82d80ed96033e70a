import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, suite, test } from "node:test";
import { errorDocument } from "../harness/assert-failure.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase } from "../harness/database.ts";
import { edit, type Forgery, forge } from "../harness/forge.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const forgeries: readonly (readonly [
  what: string,
  forgery: Forgery,
  kind: string,
  message: RegExp,
])[] = [
  [
    "a reference to a row that is not there",
    { rows: { hosts: edit({ site_id: randomUUID() }) } },
    "dangling-reference",
    /row 1 of table "public\.hosts"/,
  ],
  [
    "an audit event that does not link to the one before",
    { rows: { audit_events: (rows) => rows.with(3, { ...rows[3], prev_hash: "f".repeat(64) }) } },
    "broken-chain",
    /^row 4 of table "public\.audit_events" does not link to the row before it/,
  ],
  [
    "a value that its column cannot hold",
    { rows: { execution_logs: edit({ emitted_at: "yesterday" }) } },
    "invalid-row",
    /row 1 of table "public\.execution_logs"/,
  ],
];

suite("verify of a bundle that is whole, with hashes that are right, but forged", () => {
  let bytes: Buffer;

  before(async () => {
    // One tenant only: the chain of audit events then runs through its rows without a gap.
    const settings = { "seed.big": "off", "seed.tenants": "1" };
    const database = await createDatabase("verify", "n-kudo", { settings });
    try {
      ({ bytes } = await exportBundle(database.url, "acme"));
    } finally {
      await database.drop();
    }
  });

  for (const [what, forgery, kind, message] of forgeries) {
    test(`${what} exits 3 and is named`, async () => {
      const input = await forge(bytes, forgery);
      const result = await pgtenant(["verify", "-", "--json"], { input });
      assert.equal(result.code, 3, result.stderr);
      const error = errorDocument(result);
      assert.equal(error.code, "invalid-bundle");
      assert.equal(error.message, "the standard input is whole, but 1 thing in it does not hold");
      const [finding] = error.findings as readonly { kind: string; message: string }[];
      assert.equal(finding?.kind, kind);
      assert.match(finding?.message ?? "", message);
      assert.ok(result.stderr.includes(`\n  ${finding?.message}\n`), result.stderr);
    });
  }
});
