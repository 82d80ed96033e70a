import assert from "node:assert/strict";
import { test } from "node:test";
import {
  anotherEvent,
  assertChain,
  assertHashes,
  commitElsewhere,
} from "../harness/audit-chain.ts";
import {
  assertImportRefused,
  assertUnchanged,
  deleteTenant,
  digestOf,
  freshBundle,
  importBytes,
  withDatabase,
} from "../harness/import.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";
import { importWithReceipt, undo, withUndoable } from "../harness/undo.ts";

const ours = "metadata_json ->> 'tool' = 'pgtenant'";
const loseKeys =
  "DELETE FROM api_keys WHERE tenant_id = (SELECT id FROM tenants WHERE slug = 'acme')";

test("--audit appends one event to the log, linked to the event that is last by then", () =>
  withDatabase("audit-event", async (database) => {
    const bytes = await freshBundle("acme");
    await database.query(loseKeys);
    const before = await digestOf(database);
    const dry = await importBytes(database.url, bytes, { audit: true, dryRun: true });
    await assertUnchanged(database, before);
    assert.deepEqual(
      dry.plan.notes.filter((note) => note.kind === "audit"),
      [
        {
          kind: "audit",
          table: "public.audit_events",
          reason:
            'an event "tenant.imported" is appended to the log; other writers of the log wait from then on until all is committed',
        },
      ],
    );
    await importBytes(database.url, bytes, {
      audit: true,
      name: '"/var/backups/secret-place/acme.jsonl"',
      onPlan: () => commitElsewhere(database, anotherEvent),
    });
    await assertChain(database);
    assert.equal(await assertHashes(database, ours), 1);
    const [event] = await database.query<{ metadata: { bundle: Record<string, string> } }>(`
      SELECT actor_type, action, resource_type, resource_id = tenant_id::text AS of_tenant, slug, chain_valid,
             site_id, e.id = (SELECT max(id) FROM audit_events) AS last,
             abs(extract(epoch FROM clock_timestamp() - occurred_at)) < 60 AS now, metadata_json AS metadata
        FROM audit_events e JOIN tenants t ON t.id = tenant_id WHERE ${ours}`);
    const { metadata, ...columns } = event ?? {};
    assert.deepEqual(columns, {
      actor_type: "SYSTEM",
      action: "tenant.imported",
      resource_type: "tenant",
      of_tenant: true,
      slug: "acme",
      chain_valid: true,
      site_id: null,
      last: true,
      now: true,
    });
    const { bundle, ...rest } = metadata ?? { bundle: {} };
    assert.deepEqual(rest, {
      tool: "pgtenant",
      mode: "missing",
      rows: { inserted: 4, updated: 0, deleted: 0 },
    });
    assert.equal(bundle.name, "acme.jsonl");
    assert.match(bundle.sha256 ?? "", /^[0-9a-f]{64}$/);
    // Nothing is left to do, so there is nothing to tell.
    const done = await digestOf(database);
    await importBytes(database.url, bytes, { audit: true });
    await assertUnchanged(database, done);
  }));

test("the event is the log's last where the log's sequence is behind its rows", () =>
  withDatabase("audit-event-behind", async (database) => {
    const bytes = await freshBundle("acme");
    const sequence = "audit_events_id_seq";
    // Of the bundle's rows, which are not there yet; and of live ones.
    await deleteTenant(database, "acme");
    await database.query(`DELETE FROM audit_events; ALTER SEQUENCE ${sequence} RESTART WITH 1`);
    for (const lose of ["", `${loseKeys}; ALTER SEQUENCE ${sequence} RESTART WITH 1`]) {
      if (lose !== "") await database.query(lose);
      await importBytes(database.url, bytes, { audit: true });
      await assertHashes(database, ours);
      const [last] = await database.query(
        "SELECT metadata_json ->> 'tool' AS tool FROM audit_events ORDER BY id DESC LIMIT 1",
      );
      assert.deepEqual(last, { tool: "pgtenant" });
    }
    const events = await database.query(`
      SELECT prev_hash = lag(entry_hash) OVER (ORDER BY id) AS linked FROM audit_events
       WHERE id >= (SELECT min(id) - 1 FROM audit_events WHERE ${ours}) ORDER BY id`);
    assert.deepEqual(
      events.slice(1).filter(({ linked }) => linked !== true),
      [],
    );
    const [row] = await database.query(`SELECT count(*) FROM audit_events WHERE ${ours}`);
    assert.deepEqual(row, { count: "2" });
  }));

test("the event of a clone is the new tenant's, behind the events that it has copied", () =>
  withDatabase("audit-event-clone", async (database) => {
    const bytes = await freshBundle("acme");
    await importBytes(database.url, bytes, {
      audit: true,
      clone: { slug: "copy", withAudit: true },
    });
    await assertChain(database);
    assert.equal(await assertHashes(database, ours), 1);
    const events = await database.query(`
      SELECT action, slug, metadata_json ->> 'clonedFrom' AS "from", (metadata_json -> 'rows' ->> 'inserted')::int > 100 AS counted
        FROM audit_events e JOIN tenants t ON t.id = tenant_id ORDER BY e.id DESC LIMIT 1`);
    assert.deepEqual(events, [
      { action: "tenant.cloned", slug: "copy", from: "acme", counted: true },
    ]);
  }));

test("an undo leaves the import's event, and appends one of its own with --audit", () =>
  withUndoable("audit-event-undo", async (undoable) => {
    const { database } = undoable;
    const bytes = await freshBundle("acme");
    await database.query(loseKeys);
    const before = await database.query("SELECT * FROM api_keys ORDER BY id");
    const { receipt } = await importWithReceipt(undoable, bytes, { audit: true });
    const { plan } = await undo(undoable, receipt, { audit: true });
    assert.deepEqual(await database.query("SELECT * FROM api_keys ORDER BY id"), before);
    assert.deepEqual(
      plan?.notes
        .filter((note) => note.kind === "audit")
        .map((note) => note.reason.split(" is ")[0]),
      ['an event "tenant.import_undone"'],
    );
    await assertChain(database);
    assert.equal(await assertHashes(database, ours), 2);
    const events = await database.query(
      `SELECT action, metadata_json -> 'rows' ->> 'deleted' AS deleted FROM audit_events WHERE ${ours} ORDER BY id`,
    );
    assert.deepEqual(events, [
      { action: "tenant.imported", deleted: "0" },
      { action: "tenant.import_undone", deleted: "4" },
    ]);
  }));

test("an import with --audit that makes the tenant says that it cannot be undone", () =>
  withUndoable("audit-event-made", async (undoable) => {
    const { database } = undoable;
    const bytes = await freshBundle("acme");
    await deleteTenant(database, "acme");
    const { receipt, plan } = await importWithReceipt(undoable, bytes, { audit: true });
    const [note] = plan.notes.filter(({ kind }) => kind === "audit");
    assert.match(
      note?.reason ?? "",
      /; the import makes the tenant, and cannot be undone with it, because the event hangs on it$/,
    );
    const [event] = await database.query<{ id: string }>(
      `SELECT id FROM audit_events WHERE ${ours}`,
    );
    await assert.rejects(undo(undoable, receipt), {
      exitCode: 4,
      message: new RegExp(`public\\.audit_events \\(id\\)=\\(${event?.id}\\)`),
    });
  }));

test("an undo that deletes the tenant has no log to write to, and says so", () =>
  withUndoable("audit-event-gone", async (undoable) => {
    const bytes = await freshBundle("acme");
    const { receipt } = await importWithReceipt(undoable, bytes, {
      clone: { slug: "copy", withAudit: false },
    });
    const { plan } = await undo(undoable, receipt, { audit: true });
    const [note] = plan?.notes.filter(({ kind }) => kind === "audit") ?? [];
    assert.equal(note?.reason, "no event is appended: it would belong to the tenant, which goes");
    assert.deepEqual(await undoable.database.query("SELECT FROM tenants WHERE slug = 'copy'"), []);
  }));

test("an event that a trigger alters, and a log of another kind, are refused", async () => {
  await withDatabase("audit-event-trigger", async (database) => {
    const bytes = await freshBundle("acme");
    await database.query(`
      ${loseKeys};
      CREATE FUNCTION rehash() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.entry_hash := 'mine'; RETURN NEW; END $$;
      CREATE TRIGGER rehash BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION rehash();`);
    // Sequences move, of course; rows do not.
    const rows = async () => (await digestOf(database)).tables;
    const before = await rows();
    await assert.rejects(importBytes(database.url, bytes, { audit: true }), {
      exitCode: 7,
      message:
        'the database made something else of the event in "public.audit_events"; everything was rolled back',
    });
    assert.deepEqual(await rows(), before);
  });
  const other = await createOtherDatabase("audit-event-other");
  try {
    const { bytes } = await exportBundle(other.url, "north", { profile: otherProfile });
    await assertImportRefused(
      other,
      bytes,
      { audit: true, profile: otherProfile },
      { exitCode: 2, message: /^--audit: the profile "shop" names no chained table$/ },
    );
  } finally {
    await other.drop();
  }
});
