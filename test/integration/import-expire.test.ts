import assert from "node:assert/strict";
import { test } from "node:test";
import { handMadeId } from "../harness/hand-made.ts";
import {
  assertUnchanged,
  changesOf,
  deleteTenant,
  digestOf,
  freshBundle,
  importBytes,
  withDatabase,
} from "../harness/import.ts";
import { differingRows, rowTextsOf } from "../harness/row-texts.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
const expiring = { expireCredentials: true } as const;

test("with --expire-credentials, tokens and keys come back revoked, and nothing else is altered", () =>
  withDatabase("expire", async (database) => {
    const bundle = await freshBundle("acme");
    const before = await rowTextsOf(database);
    await deleteTenant(database, "acme");
    const { plan } = await importBytes(database.url, bundle, expiring);
    const expired = plan.notes.filter(({ kind }) => kind === "expired");
    const listed = expired.map(({ table, row }) => `${table} ${row}`).sort();
    assert.deepEqual(differingRows(before, await rowTextsOf(database)), listed);
    assert.deepEqual(
      [...new Set(expired.map(({ table, reason }) => `${table} ${reason}`))].sort(),
      [
        "public.api_keys comes back revoked (revoked_at is the time of the import)",
        "public.email_verification_tokens comes back revoked (used_at is the time of the import)",
        "public.enrollment_tokens comes back revoked (used_at is the time of the import)",
        "public.password_reset_tokens comes back revoked (used_at is the time of the import)",
        "public.project_invitations comes back revoked (cancelled_at is the time of the import)",
      ],
    );
    const valid = await database.query(`
      SELECT id FROM api_keys WHERE tenant_id = ${acme} AND revoked_at IS NULL
      UNION ALL SELECT id FROM enrollment_tokens WHERE tenant_id = ${acme} AND used_at IS NULL
      UNION ALL SELECT id FROM password_reset_tokens WHERE tenant_id = ${acme} AND used_at IS NULL
      UNION ALL SELECT id FROM email_verification_tokens WHERE tenant_id = ${acme} AND used_at IS NULL
      UNION ALL SELECT id FROM project_invitations WHERE tenant_id = ${acme} AND status = 'PENDING'`);
    assert.deepEqual(valid, []);
    const [times] = await database.query(`
      SELECT count(DISTINCT revoked_at) AS times, max(revoked_at) BETWEEN now() - interval '5 minutes' AND now() AS recent
        FROM api_keys WHERE tenant_id = ${acme} AND revoked_at > '2026-06-01'`);
    assert.deepEqual(times, { times: "1", recent: true });

    const after = await digestOf(database);
    for (const mode of ["missing", "overwrite", "replace"] as const) {
      const again = await importBytes(database.url, bundle, { ...expiring, mode });
      assert.deepEqual([again.applied, changesOf(again)], [false, {}], mode);
      assert.ok(again.plan.notes.every(({ kind }) => kind !== "expired"));
      await assertUnchanged(database, after);
    }
  }));

test("secrets that no column can revoke are counted, and no valid credential is left to list", () =>
  withDatabase("expire-lasting", async (database) => {
    const bundle = await freshBundle("acme");
    await deleteTenant(database, "acme");
    const dry = { ...expiring, dryRun: true } as const;
    const { plan } = await importBytes(database.url, bundle, dry);
    const listed = plan.notes.filter(({ kind }) => kind === "credentials");
    const lasting = listed.filter(({ row }) => row === undefined);
    assert.equal(listed.length - lasting.length, 9, "each is named as well");
    assert.deepEqual(
      lasting.map(({ table, reason }) => `${table} ${reason.replace(/:.*/, "")}`).sort(),
      [
        "public.agents 6 row(s) come back with enrollment_token_hash, refresh_token_hash as in the bundle",
        "public.users 3 row(s) come back with password_hash as in the bundle",
      ],
    );
    assert.match(lasting[0]?.reason ?? "", /--expire-credentials cannot end them$/);
  }));

test("credentials that are live stay valid, and what is not in the bundle as well", () =>
  withDatabase("expire-live", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`
      UPDATE api_keys SET name = 'renamed' WHERE tenant_id = ${acme};
      INSERT INTO api_keys (id, tenant_id, name, key_hash)
        VALUES ('${handMadeId(1)}', ${acme}, 'new', 'new');
      DELETE FROM enrollment_tokens WHERE tenant_id = ${acme} AND used_at IS NULL`);
    const valid = () =>
      database.query(
        `SELECT id FROM api_keys WHERE tenant_id = ${acme} AND revoked_at IS NULL ORDER BY id`,
      );
    const before = await valid();
    const { plan } = await importBytes(database.url, bundle, { ...expiring, mode: "overwrite" });
    assert.deepEqual(await valid(), before);
    const expired = plan.notes.filter(({ kind }) => kind === "expired");
    assert.deepEqual([...new Set(expired.map(({ table }) => table))], ["public.enrollment_tokens"]);
  }));
