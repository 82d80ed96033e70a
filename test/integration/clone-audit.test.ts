import assert from "node:assert/strict";
import { test } from "node:test";
import {
  anotherEvent,
  assertChain,
  assertHashes,
  commitElsewhere,
} from "../harness/audit-chain.ts";
import { assertNoIds, idsOf, shapeOf, tenantRows } from "../harness/clone.ts";
import {
  assertImportRefused,
  assertUnchanged,
  digestOf,
  freshBundle,
  importBytes,
  importInto,
  tenantDigests,
  withDatabase,
} from "../harness/import.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";
import { exportBundle, withTenantSchema } from "../harness/tenant-bundle.ts";

const copied = "tenant_id = (SELECT id FROM tenants WHERE slug = 'copy')";
const clone = { slug: "copy", withAudit: true };

test("--with-audit appends the events behind the last one, chained anew and marked as copies", () =>
  withDatabase("clone-audit", async (database) => {
    const bytes = await freshBundle("acme");
    const before = await tenantDigests(database);
    const ids = idsOf(await tenantRows(database, "acme"));
    const [last] = await database.query<{ id: string }>("SELECT max(id) AS id FROM audit_events");
    const untouched = await digestOf(database);
    const dry = await importBytes(database.url, bytes, { clone, dryRun: true });
    await assertUnchanged(database, untouched);
    const { plan } = await importBytes(database.url, bytes, { clone });
    assert.deepEqual(plan.tables, dry.plan.tables);
    assert.ok(
      !plan.leftOut.some((entry) => "table" in entry && entry.table === "public.audit_events"),
    );
    assert.ok(
      plan.notes.some((note) =>
        note.reason.startsWith(
          "30 event(s) are appended to the log, chained anew and marked as copies; other writers",
        ),
      ),
    );
    await assertChain(database);
    assert.equal(await assertHashes(database, copied), 30);
    const [found] = await database.query(`
      SELECT min(id) AS first, count(*) AS events, bool_and(chain_valid) AS valid,
             count(DISTINCT metadata_json -> 'pgtenant' ->> 'copiedFrom') AS marks,
             bool_and(metadata_json -> 'pgtenant' ->> 'copiedFrom' ~ '^bundle [0-9a-f]{64}$') AS marked
        FROM audit_events WHERE ${copied}`);
    assert.deepEqual(found, {
      first: String(Number(last?.id) + 1),
      events: "30",
      valid: true,
      marks: "1",
      marked: true,
    });
    // What the metadata was before stands in it still, whether it was an object or not.
    const metadata = (slug: string) => `
      SELECT CASE WHEN metadata_json ? 'value' THEN metadata_json -> 'value'
                  WHEN jsonb_typeof(metadata_json) = 'object' THEN metadata_json - 'pgtenant' ELSE metadata_json END::text AS text
        FROM audit_events e JOIN tenants t ON t.id = tenant_id WHERE slug = '${slug}' ORDER BY e.id`;
    assert.deepEqual(
      await database.query(metadata("copy")),
      await database.query(metadata("acme")),
    );
    assertNoIds(await tenantRows(database, "copy"), ids);
    const left = ["certificate_history", "crl_entries", "api_keys", "enrollment_tokens"];
    const without = [
      ...left,
      "password_reset_tokens",
      "email_verification_tokens",
      "project_invitations",
    ];
    const names = without.map((name) => `public.${name}`);
    assert.deepEqual(
      await shapeOf(database, "copy", names),
      await shapeOf(database, "acme", names),
    );
    const after = await tenantDigests(database);
    for (const slug of ["acme", "globex", "initech"]) {
      assert.deepEqual(after.get(slug), before.get(slug), slug);
    }
  }));

test("what others have drawn and committed since the plan was made is behind the clone's links and keys", () =>
  withDatabase("clone-audit-live", async (database) => {
    await database.query(
      "ALTER TABLE plans ADD COLUMN first_log bigint REFERENCES execution_logs (id)",
    );
    await database.query(`
      UPDATE plans p SET first_log = (
        SELECT min(l.id) FROM execution_logs l JOIN executions e ON e.id = execution_id WHERE e.plan_id = p.id)`);
    const { bytes } = await exportBundle(database.url, "acme");
    const planned = await withTenantSchema(database.url, (session, schema) =>
      importInto(session, schema, bytes, {
        clone,
        onPlan: () => {
          commitElsewhere(database, anotherEvent);
          commitElsewhere(database, "SELECT nextval('execution_logs_id_seq')");
          commitElsewhere(database, anotherEvent);
        },
      }),
    );
    assert.equal(planned.applied, true);
    await assertChain(database);
    assert.equal(await assertHashes(database, copied), 30);
    const [ends] = await database.query(`
      SELECT (SELECT last_value FROM execution_logs_id_seq) = (SELECT max(id) FROM execution_logs) AS logs,
             (SELECT last_value FROM audit_events_id_seq) = (SELECT max(id) FROM audit_events) AS events,
             (SELECT count(*) FROM audit_events WHERE action = 'live.work') AS live`);
    assert.deepEqual(ends, { logs: true, events: true, live: "2" });
    const first = (slug: string) =>
      database.query(`
        SELECT p.plan_version, p.idempotency_key, l.message !~ '[0-9a-f]{8}-' AND true AS plain, l.sequence, l.emitted_at
          FROM plans p JOIN tenants t ON t.id = p.tenant_id JOIN execution_logs l ON l.id = first_log
         WHERE slug = '${slug}' ORDER BY 1, 2`);
    const wanted = await first("acme");
    assert.ok(wanted.length > 3);
    assert.deepEqual(await first("copy"), wanted);
  }));

test("a log whose formula is not known is refused by name", async () => {
  const database = await createOtherDatabase("clone-audit-other");
  try {
    const { bytes } = await exportBundle(database.url, "north", { profile: otherProfile });
    await assertImportRefused(
      database,
      bytes,
      { clone, profile: otherProfile },
      {
        exitCode: 2,
        message: /^--with-audit: the profile "shop" names no chained table$/,
        hint: /leave out --with-audit/,
      },
    );
  } finally {
    await database.drop();
  }
});
