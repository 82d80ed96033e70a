import assert from "node:assert/strict";
import { test } from "node:test";
import { handMadeId, makeSite } from "../harness/hand-made.ts";
import {
  assertUnchanged,
  changesOf,
  digestOf,
  freshBundle,
  importBytes,
  withDatabase,
} from "../harness/import.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";

for (const mode of ["missing", "overwrite", "replace"] as const) {
  test(`what was revoked or used since the bundle was made stays so, in mode ${mode}`, () =>
    withDatabase("one-way", async (database) => {
      const bundle = await freshBundle("acme");
      const tables = {
        api_keys: "revoked_at",
        enrollment_tokens: "used_at",
        password_reset_tokens: "used_at",
        email_verification_tokens: "used_at",
        project_invitations: "cancelled_at",
      };
      for (const [table, column] of Object.entries(tables)) {
        await database.query(
          `UPDATE ${table} SET ${column} = '2030-01-01' WHERE tenant_id = ${acme}`,
        );
      }
      await database.query(`
        UPDATE certificate_history SET revoked_at = '2030-01-01'
         WHERE agent_id IN (SELECT id FROM agents WHERE tenant_id = ${acme});
        UPDATE api_keys SET name = 'renamed' WHERE tenant_id = ${acme};`);
      const { plan } = await importBytes(database.url, bundle, { mode });
      for (const [table, column] of Object.entries(tables)) {
        const rows = await database.query(
          `SELECT DISTINCT ${column} = '2030-01-01' AS stays FROM ${table} WHERE tenant_id = ${acme}`,
        );
        assert.deepEqual(rows, [{ stays: true }], table);
      }
      const certificates = await database.query(`
        SELECT DISTINCT revoked_at = '2030-01-01' AS stays FROM certificate_history
         WHERE agent_id IN (SELECT id FROM agents WHERE tenant_id = ${acme})`);
      assert.deepEqual(certificates, [{ stays: true }]);
      const [renamed] = await database.query<{ count: string }>(
        `SELECT count(*) FROM api_keys WHERE tenant_id = ${acme} AND name = 'renamed'`,
      );
      assert.equal(renamed?.count === "0", mode !== "missing");
      const noted = plan.notes.filter((note) => note.kind === "stays-revoked");
      assert.equal(noted.length > 0, mode !== "missing");
      if (mode === "missing") return;
      assert.match(noted[0]?.reason ?? "", /is set in the live row and is never cleared/);
      assert.ok(noted.every((note) => /^\(id\)=\(.+\)$/.test(note.row ?? "")));
      const again = await importBytes(database.url, bundle, { mode, confirmed: false });
      assert.deepEqual(changesOf(again), {});
    }));
}

test("an invitation that was cancelled since keeps the status that says so", () =>
  withDatabase("one-way-status", async (database) => {
    const bundle = await freshBundle("acme");
    const cancelled = `tenant_id = ${acme} AND cancelled_at = '2030-01-01'`;
    await database.query(`
      UPDATE project_invitations SET status = 'CANCELLED', cancelled_at = '2030-01-01', role = 'VIEWER'
       WHERE tenant_id = ${acme} AND status = 'PENDING';
      UPDATE project_invitations SET status = 'EXPIRED'
       WHERE tenant_id = ${acme} AND status = 'DECLINED';`);
    await importBytes(database.url, bundle, { mode: "overwrite" });
    const [open] = await database.query(
      `SELECT status, role FROM project_invitations WHERE ${cancelled}`,
    );
    assert.deepEqual(open, { status: "CANCELLED", role: "OPERATOR" });
    const [declined] = await database.query(
      `SELECT count(*) FROM project_invitations WHERE tenant_id = ${acme} AND status = 'DECLINED'`,
    );
    assert.deepEqual(declined, { count: "1" }, "what was declined in the bundle already");
  }));

test("credentials that come back valid are listed", () =>
  withDatabase("credentials", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`DELETE FROM api_keys WHERE tenant_id = ${acme}`);
    const { plan } = await importBytes(database.url, bundle);
    const valid = await database.query<{ id: string }>(
      `SELECT id FROM api_keys WHERE tenant_id = ${acme} AND revoked_at IS NULL ORDER BY id::text`,
    );
    assert.ok(valid.length > 1);
    assert.deepEqual(plan.notes, [
      {
        kind: "credentials",
        table: "public.api_keys",
        reason: `${valid.length} row(s) come back as valid credentials (revoked_at empty); if any was revoked before it was deleted, revoke it again`,
      },
      ...valid.map(({ id }) => ({
        kind: "credentials",
        table: "public.api_keys",
        row: `(id)=(${id})`,
        reason: "comes back as a valid credential (revoked_at empty)",
      })),
    ]);
  }));

test("a password that comes back is listed, although no column could say that it was withdrawn", () =>
  withDatabase("credentials-lasting", async (database) => {
    const user = handMadeId(1);
    await database.query(`
      INSERT INTO users (id, tenant_id, email, display_name, role, password_hash)
        VALUES ('${user}', ${acme}, 'left@acme.example', 'Left', 'ADMIN', 'a hash')`);
    const { bytes } = await exportBundle(database.url, "acme");
    await database.query("DELETE FROM users WHERE id = $1", [user]);
    const { plan } = await importBytes(database.url, bytes);
    assert.deepEqual(
      plan.notes.filter(({ table }) => table === "public.users"),
      [
        {
          kind: "credentials",
          table: "public.users",
          reason:
            "1 row(s) come back with password_hash as in the bundle: this table has no column that says a credential is revoked; what was replaced or withdrawn before the row was deleted is valid again",
        },
        {
          kind: "credentials",
          table: "public.users",
          row: `(id)=(${user})`,
          reason: "comes back with password_hash as in the bundle",
        },
      ],
    );
  }));

test("append-only rows are never altered, not even by overwrite and replace", () =>
  withDatabase("append-only-altered", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`
      UPDATE audit_events SET action = 'changed', chain_valid = false WHERE tenant_id = ${acme};
      UPDATE crl_entries SET reason = 9
       WHERE agent_id IN (SELECT id FROM agents WHERE tenant_id = ${acme});`);
    const before = await digestOf(database);
    for (const mode of ["overwrite", "replace"] as const) {
      const { plan } = await importBytes(database.url, bundle, { mode });
      await assertUnchanged(database, before);
      assert.deepEqual(
        plan.tables.filter((t) => t.keep > 0).map((t) => [t.table, t.keep]),
        [
          ["public.audit_events", 30],
          ["public.crl_entries", 6],
        ],
      );
    }
  }));

test("replace keeps append-only rows that the bundle lacks, and what they refer to, and lists both", () =>
  withDatabase("append-only-extra", async (database) => {
    const bundle = await freshBundle("acme");
    const seen = await makeSite(database, "Seen by an audit event", 1);
    const revoked = await makeSite(database, "With a revoked certificate", 100);
    const gone = await makeSite(database, "Gone", 200);
    const user = handMadeId(300);
    await database.query(`
      INSERT INTO users (id, tenant_id, email, display_name, role, password_hash)
        VALUES ('${user}', ${acme}, 'new@acme.example', 'New', 'ADMIN', '');
      INSERT INTO audit_events (id, tenant_id, site_id, actor_type, actor_user_id, action, resource_type, resource_id)
        VALUES (800001, ${acme}, '${seen.site}', 'USER', '${user}', 'site.create', 'site', 'x');
      INSERT INTO crl_entries (serial, agent_id) VALUES ('by hand', '${revoked.agent}');`);

    const { plan } = await importBytes(database.url, bundle, { mode: "replace" });
    const listed = plan.notes.map((note) => `${note.kind} ${note.table} ${note.row}`).sort();
    assert.deepEqual(listed, [
      "append-only public.audit_events (id)=(800001)",
      "append-only public.crl_entries (serial)=(by hand)",
      `still-referenced public.agents (id)=(${revoked.agent})`,
      `still-referenced public.hosts (id)=(${revoked.host})`,
      `still-referenced public.sites (id)=(${seen.site})`,
      `still-referenced public.sites (id)=(${revoked.site})`,
      `still-referenced public.users (id)=(${user})`,
    ]);
    const left = await database.query<{ id: string }>(
      "SELECT id FROM sites WHERE id::text LIKE '00000000-%' UNION ALL SELECT id FROM microvms WHERE id::text LIKE '00000000-%' ORDER BY 1",
    );
    assert.deepEqual(
      left.map((row) => row.id),
      [seen.site, revoked.site],
    );
    const [crl] = await database.query("SELECT agent_id FROM crl_entries WHERE serial = 'by hand'");
    assert.deepEqual(crl, { agent_id: revoked.agent });
    assert.notEqual(gone.site, seen.site);
    const again = await importBytes(database.url, bundle, { mode: "replace", confirmed: false });
    assert.equal(again.applied, false);
  }));

test("of very many rows that replace keeps, some are listed and the others counted", () =>
  withDatabase("append-only-many", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`
      INSERT INTO audit_events (tenant_id, actor_type, action, resource_type, resource_id)
      SELECT ${acme}, 'SYSTEM', 'live.work', 'tenant', n FROM generate_series(1, 20000) n`);
    const before = await digestOf(database);
    const { plan } = await importBytes(database.url, bundle, { mode: "replace" });
    await assertUnchanged(database, before);
    const notes = plan.notes.filter(({ kind }) => kind === "append-only");
    assert.equal(notes.length, 10_001);
    assert.deepEqual(
      notes.filter(({ row }) => row === undefined).map(({ reason }) => reason),
      ["10000 more row(s) are not in the bundle, and stay; rows of this table are never deleted"],
    );
  }));

test("a revoked serial is linked to its agent again when the agent comes back, not otherwise", () =>
  withDatabase("relink", async (database) => {
    const bundle = await freshBundle("acme");
    const original = await digestOf(database);
    await database.query(`
      UPDATE crl_entries SET agent_id = NULL
       WHERE agent_id IN (SELECT id FROM agents WHERE tenant_id = ${acme});`);
    const cleared = await digestOf(database);
    const missing = await importBytes(database.url, bundle);
    assert.deepEqual(changesOf(missing), {});
    assert.equal(missing.plan.tables.find((t) => t.table === "public.crl_entries")?.keep, 6);
    await assertUnchanged(database, cleared);

    const overwrite = await importBytes(database.url, bundle, {
      mode: "overwrite",
      confirmed: false,
    });
    assert.deepEqual(changesOf(overwrite), { crl_entries: "relink 6" });
    await assertUnchanged(database, original);

    await database.query(`DELETE FROM sites WHERE name = 'Spare 3' AND tenant_id = ${acme}`);
    const back = await importBytes(database.url, bundle);
    assert.equal(changesOf(back).crl_entries, "relink 2");
    await assertUnchanged(database, original);
  }));
