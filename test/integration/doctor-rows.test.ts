import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { only, report } from "../harness/doctor.ts";
import { createOtherDatabase, otherProfile } from "../harness/other-database.ts";

suite("doctor, of rows", () => {
  let database: TestDatabase;
  before(async () => {
    database = await createDatabase("doctor rows", "n-kudo", { settings: { "seed.big": "off" } });
  });
  after(() => database.drop());

  test("finds rows that refer to another tenant's: exit 7", async () => {
    await database.query(`
      INSERT INTO vm_network_attachments (id, vm_id, network_id)
      SELECT gen_random_uuid(), v.id, n.id
        FROM microvms v JOIN tenants a ON a.id = v.tenant_id AND a.slug = 'acme',
             vxlan_networks n JOIN tenants g ON g.id = n.tenant_id AND g.slug = 'globex'
       LIMIT 1`);
    const found = await report(database.url);
    const finding = only(found, "cross-tenant-reference");
    assert.equal(finding.level, "problem");
    assert.match(
      finding.message,
      /^1 row\(s\) of public\.vm_network_attachments refer by (vm|network)_id to a row of public\.(microvms|vxlan_networks) that belongs to another tenant$/,
    );
    assert.equal(found.exitCode, 7);
    assert.ok(!found.findings.some((one) => one.check === "tenants"));
    await database.query(
      "DELETE FROM vm_network_attachments a USING microvms m, vxlan_networks n WHERE m.id = a.vm_id AND n.id = a.network_id AND m.tenant_id <> n.tenant_id",
    );
    assert.equal((await report(database.url)).problems, 0);
  });

  test("warns of a broken link of the chain, and takes a gap for what it is", async () => {
    await database.query("DELETE FROM audit_events WHERE id = 20");
    assert.deepEqual(
      [only(await report(database.url), "chain")],
      [
        {
          level: "ok",
          check: "chain",
          message:
            "87 link(s) of the chain in public.audit_events hold; 1 stand beside a gap, where rows were deleted",
        },
      ],
    );
    await database.query("UPDATE audit_events SET entry_hash = repeat('f', 64) WHERE id = 40");
    const found = await report(database.url);
    const chain = only(found, "chain");
    assert.equal(chain.level, "warning");
    assert.equal(
      chain.message,
      "1 row(s) of public.audit_events do not link to the row before them; 86 link(s) of the chain in public.audit_events hold; 1 stand beside a gap, where rows were deleted",
    );
    // A broken link says nothing against the tenants' boundary.
    assert.equal(only(found, "tenants").message, "no row refers to a row of another tenant");
    assert.equal(found.exitCode, 0);
  });

  test("finds all well in a schema that is not N-Kudo's", async () => {
    const other = await createOtherDatabase("doctor other");
    try {
      const found = await report(other.url, { profile: otherProfile });
      assert.deepEqual(
        found.findings.filter((one) => one.level === "problem"),
        [],
      );
      assert.equal(found.exitCode, 0);
    } finally {
      await other.drop();
    }
  });
});
