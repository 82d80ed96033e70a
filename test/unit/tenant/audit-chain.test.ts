import assert from "node:assert/strict";
import { test } from "node:test";
import { type AuditEntry, entryHash, entryJson } from "../../../src/tenant/audit-chain.ts";

// The wanted values were made by Python's json, base64 and hashlib.

const full: AuditEntry = {
  tenantId: "678e7033-0e44-7394-ef47-5a2971cef71c",
  siteId: "11111111-2222-4333-8444-555555555555",
  actorType: "USER",
  actorUserId: "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
  actorAgentId: "99999999-8888-4777-8666-555555555555",
  action: "plan.apply",
  resourceType: "plan",
  resourceId:
    '<a href="x">Tom & Jerry</a>\u2028\u2029\\ "q" \t\n\r\b\f\u0001\u001f\u007f \u00e9 \u{1F600}',
  requestId: "req-1",
  sourceIp: "192.0.2.10",
  metadata: '{"a": 1, "\u00fc": "<>"}',
  occurredAt: "2026-01-15T08:00:00.000120",
  previousHash: "0".repeat(64),
  chainValid: true,
};

const bare: AuditEntry = {
  tenantId: "t",
  siteId: null,
  actorType: "SYSTEM",
  actorUserId: null,
  actorAgentId: null,
  action: "retention.sweep",
  resourceType: "tenant",
  resourceId: "",
  requestId: null,
  sourceIp: null,
  metadata: null,
  occurredAt: "2026-01-15T08:00:00.000000",
  previousHash: "ab".repeat(32),
  chainValid: false,
};

test("an event is hashed as Go's encoding/json writes it, with its escapes and base64", () => {
  assert.equal(entryHash(full), "a95d3b8c4c2c1fc3cfb677739339a9349a71a9f6b8e204ec81ae4ea60d721ba2");
  assert.match(entryJson(full), /"resource_id":"\\u003ca href=\\"x\\"\\u003eTom \\u0026 Jerry/);
  assert.match(entryJson(full), /"metadata_json":"eyJhIjogMSwgIsO8IjogIjw\+In0="/);
});

test("what is null or empty is left out, and zeros at the end of a time are cut", () => {
  assert.equal(entryHash(bare), "de897a7cbe5abefc808305bd953da8ca2298fa453e94ea6411c4fdab6470337f");
  assert.equal(
    entryJson(bare),
    `{"tenant_id":"t","actor_type":"SYSTEM","action":"retention.sweep","resource_type":"tenant","resource_id":"","occurred_at":"2026-01-15T08:00:00Z","prev_hash":"${"ab".repeat(32)}","chain_valid":false}`,
  );
  for (const empty of [{ siteId: "" }, { requestId: "" }, { sourceIp: "" }, { metadata: "" }]) {
    assert.equal(entryHash({ ...bare, ...empty }), entryHash(bare));
  }
});

test("each of the values counts", () => {
  const hashes = new Set([entryHash(full)]);
  for (const name of Object.keys(full) as (keyof AuditEntry)[]) {
    const value =
      name === "chainValid" ? false : name === "occurredAt" ? "2026-01-15T08:00:00.1" : "other";
    hashes.add(entryHash({ ...full, [name]: value }));
  }
  assert.equal(hashes.size, Object.keys(full).length + 1);
});
