import assert from "node:assert/strict";
import { test } from "node:test";
import { nKudo } from "../../src/profile/n-kudo.ts";
import { assertNoIds, idsOf, shapeOf, tenantRows } from "../harness/clone.ts";
import type { TestDatabase } from "../harness/database.ts";
import { forge } from "../harness/forge.ts";
import {
  assertImportRefused,
  assertUnchanged,
  changesOf,
  deleteTenant,
  digestOf,
  freshBundle,
  importBytes,
  tenantDigests,
  withDatabase,
} from "../harness/import.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
const left = [...Object.keys(nKudo.clone.leaveOut), "public.audit_events"];

/** Acme with its ids in every form and in every kind of place where one can stand. */
async function mentionIds(database: TestDatabase): Promise<void> {
  await database.query(`
    CREATE TEMP TABLE one AS
      SELECT (SELECT id FROM sites WHERE tenant_id = t.id ORDER BY id LIMIT 1) AS site,
             (SELECT id FROM microvms WHERE tenant_id = t.id ORDER BY id LIMIT 1) AS vm,
             (SELECT id FROM api_keys WHERE tenant_id = t.id ORDER BY id LIMIT 1) AS key, t.id AS tenant
        FROM tenants t WHERE slug = 'acme';
    UPDATE plans SET operations_json = jsonb_build_object('vm', one.vm, 'deep', jsonb_build_array(
             jsonb_build_object(one.site::text, upper(one.vm::text), 'key', 'uses ' || one.key || ', then stops')))
      FROM one WHERE tenant_id = one.tenant;
    UPDATE plan_actions SET payload_json = to_jsonb('urn:uuid:' || one.vm)
      FROM one WHERE tenant_id = one.tenant;
    UPDATE execution_logs SET message = format('vm=%s%s {%s} 0x%s %s deadbeef%s %s', one.vm, one.site,
             upper(one.site::text), replace(one.vm::text, '-', ''), upper(replace(one.site::text, '-', '')),
             replace(one.site::text, '-', ''), gen_random_uuid())
      FROM one WHERE tenant_id = one.tenant AND sequence % 3 = 0;
    UPDATE microvms SET rootfs_path = '/var/vms/' || id || '/disk.img', net_ifaces = jsonb_build_array(host_id)
     WHERE tenant_id = ${acme} AND host_id IS NOT NULL;
    UPDATE executions SET error_message = (ARRAY['beef' || replace(one.vm::text, '-', ''), upper(one.vm::text),
             replace(one.vm::text, '-', ''), 'twice ' || one.vm || one.vm, repeat('long ', 1000) || one.vm])
             [1 + abs(hashtext(executions.id::text)) % 5]
      FROM one WHERE tenant_id = one.tenant;
    ALTER TABLE sites ADD COLUMN labels text[], ADD COLUMN raw json, ADD COLUMN twin uuid, ADD COLUMN bytes bytea;
    UPDATE sites SET labels = ARRAY['site ' || sites.id, NULL, 'a"b'], twin = one.vm,
           raw = ('{ "b" : "' || sites.id || '",  "a":1 }')::json, bytes = uuid_send(sites.id)
      FROM one WHERE tenant_id = one.tenant;
    DROP TABLE one;`);
}

test("a clone has the original's shape and none of its ids, and the original stays as it was", () =>
  withDatabase("clone", async (database) => {
    await mentionIds(database);
    const { bytes } = await exportBundle(database.url, "acme");
    const before = await tenantDigests(database);
    const clone = { slug: "acme-two", name: "Acme, again", withAudit: false };
    const original = await tenantRows(database, "acme");
    const untouched = await digestOf(database);

    const dry = await importBytes(database.url, bytes, { clone, dryRun: true });
    await assertUnchanged(database, untouched);
    const done = await importBytes(database.url, bytes, { clone });
    assert.deepEqual(changesOf(dry), changesOf(done));
    assert.deepEqual(dry.plan.sequences, done.plan.sequences);
    assert.deepEqual(dry.plan.notes, done.plan.notes);
    const credentials = done.plan.notes.filter(({ kind }) => kind === "credentials");
    assert.deepEqual(credentials, [], "the profile drops them all");
    assert.equal(done.plan.clonedFrom?.slug, "acme");
    assert.equal(done.plan.tenant.slug, "acme-two");
    assert.equal(done.plan.tenant.name, "Acme, again");

    const again = { slug: "acme-three", withAudit: false };
    const third = await importBytes(database.url, bytes, { clone: again });
    assert.equal(third.plan.tenant.name, "Acme Corporation");
    const ids = idsOf(original);
    assert.ok(ids.size > 100, String(ids.size));
    const shape = await shapeOf(database, "acme", left);
    const taken = new Set(ids);
    for (const slug of ["acme-two", "acme-three"]) {
      const rows = await tenantRows(database, slug);
      assertNoIds(rows, taken);
      for (const id of idsOf(rows)) taken.add(id);
      assert.deepEqual(await shapeOf(database, slug, left), shape);
      for (const table of left) assert.equal(rows.get(table)?.length, 0, table);
    }
    const after = await tenantDigests(database);
    for (const slug of ["acme", "globex", "initech"]) {
      assert.deepEqual(after.get(slug), before.get(slug), slug);
    }
    assert.equal(after.size, before.size + 2);

    const [found] = await database.query(`
      SELECT bool_and(s.labels[1] = 'site ' || s.id) AS labels, bool_and(s.labels[3] = 'a"b') AS other,
             bool_and(raw::text = '{ "b" : "' || s.id || '",  "a":1 }') AS raw,
             bool_and(bytes = uuid_send(s.id)) AS bytes,
             bool_and(twin IN (SELECT id FROM microvms v WHERE v.tenant_id = t.id)) AS twin
        FROM sites s JOIN tenants t ON t.id = s.tenant_id WHERE t.slug = 'acme-two'`);
    assert.deepEqual(found, { labels: true, other: true, raw: true, bytes: true, twin: true });
    const [paths] = await database.query(`
      SELECT count(*) FILTER (WHERE rootfs_path = '/var/vms/' || v.id || '/disk.img') AS disks,
             count(*) FILTER (WHERE net_ifaces = jsonb_build_array(host_id)) AS hosts
        FROM microvms v JOIN tenants t ON t.id = tenant_id WHERE t.slug = 'acme-two'`);
    assert.deepEqual(paths, { disks: "12", hosts: "12" });
    const messages = await database.query<{ message: string; vm: string; site: string }>(`
      SELECT message, v.id AS vm, s.id AS site
        FROM execution_logs l JOIN tenants t ON t.id = l.tenant_id AND t.slug = 'acme-two'
        JOIN microvms v ON v.id::text = substr(message, 4, 36)
        JOIN sites s ON s.id::text = substr(message, 40, 36)
       WHERE message LIKE 'vm=%'`);
    assert.ok(messages.length > 0);
    for (const { message, vm, site } of messages) {
      const plain = site.replaceAll("-", "");
      const wanted = `vm=${vm}${site} {${site.toUpperCase()}} 0x${vm.replaceAll("-", "")} ${plain.toUpperCase()} deadbeef${plain} `;
      assert.equal(message.slice(0, wanted.length), wanted);
    }
  }));

test("credentials stay behind, and numbers that are unique over all tenants are given anew", () =>
  withDatabase("clone-policy", async (database) => {
    await database.query(`
      UPDATE vxlan_networks SET vni = 16777213 WHERE vni = (SELECT max(vni) FROM vxlan_networks)`);
    const { bytes } = await exportBundle(database.url, "acme");
    const [live] = await database.query<{ vnis: number[]; count: string }>(`
      SELECT array_agg(vni ORDER BY vni) AS vnis,
             count(*) FILTER (WHERE tenant_id = ${acme}) AS count FROM vxlan_networks`);
    const { plan } = await importBytes(database.url, bytes, {
      clone: { slug: "copy", withAudit: false },
    });
    const networks = await database.query<{ vni: number }>(`
      SELECT vni FROM vxlan_networks JOIN tenants t ON t.id = tenant_id WHERE slug = 'copy' ORDER BY vni`);
    // Two behind the highest, and the rest from the lowest gap on.
    const free = Array.from({ length: 20 }, (_, i) => i + 1).filter((n) => !live?.vnis.includes(n));
    const wanted = Number(live?.count);
    assert.deepEqual(
      networks.map((row) => row.vni),
      [...free.slice(0, wanted - 2), 16777214, 16777215],
    );
    const [agents] = await database.query(`
      SELECT count(*) FILTER (WHERE refresh_token_hash LIKE 'pgtenant-clone-%') = count(*) AS refresh,
             count(DISTINCT refresh_token_hash) = count(*) AS each_other,
             bool_and(enrollment_token_hash IS NULL AND cert_serial IS NULL) AS gone
        FROM agents JOIN tenants t ON t.id = tenant_id WHERE slug = 'copy'`);
    assert.deepEqual(agents, { refresh: true, each_other: true, gone: true });
    const [users] = await database.query(`
      SELECT bool_and(password_hash LIKE 'pgtenant-clone-%') AS password
        FROM users JOIN tenants t ON t.id = tenant_id WHERE slug = 'copy'`);
    assert.deepEqual(users, { password: true });
    assert.deepEqual(
      plan.leftOut.flatMap((entry) => ("table" in entry ? [entry.table] : [])).sort(),
      [...left].sort(),
    );
    const noted = plan.notes
      .filter((note) => note.kind === "cloned")
      .map((n) => `${n.table}: ${n.reason}`);
    assert.ok(
      noted.includes(`public.vxlan_networks: ${wanted} number(s) given anew in vni: 1 to 16777215`),
      noted.join("\n"),
    );
    assert.ok(
      noted.some((text) =>
        /^public\.agents: 6 row\(s\) lose enrollment_token_hash, refresh_token_hash, cert_serial$/.test(
          text,
        ),
      ),
    );
    assert.ok(
      noted.some((text) => /^public\.tenants: becomes a new tenant, a clone of "acme"/.test(text)),
    );
    assert.ok(
      noted.some((text) => /^public\.execution_logs: 40 new key\(s\) in id$/.test(text)),
      noted.join("\n"),
    );
  }));

test("rows are cloned in the order of their old keys, and sequences stand at the last", () =>
  withDatabase("clone-sequences", async (database) => {
    const bytes = await freshBundle("acme");
    const [start] = await database.query<{ last: string }>(
      "SELECT last_value AS last FROM execution_logs_id_seq",
    );
    const { plan } = await importBytes(database.url, bytes, {
      clone: { slug: "copy", withAudit: false },
    });
    const [end] = await database.query<{ last: string }>(
      "SELECT last_value AS last FROM execution_logs_id_seq",
    );
    assert.equal(Number(end?.last), Number(start?.last) + 40);
    assert.deepEqual(plan.sequences, [
      { sequence: "public.execution_logs_id_seq", from: start?.last, to: end?.last },
    ]);
    const rows = (slug: string) =>
      database.query(`SELECT message, emitted_at FROM execution_logs l JOIN tenants t ON t.id = tenant_id
        WHERE slug = '${slug}' AND message !~ '[0-9a-f]{8}-' ORDER BY l.id`);
    assert.deepEqual(await rows("copy"), await rows("acme"));
  }));

test("a clone into a database without the original works as well", () =>
  withDatabase("clone-elsewhere", async (database) => {
    const bytes = await freshBundle("acme");
    const shape = await shapeOf(database, "acme", left);
    await deleteTenant(database, "acme");
    await importBytes(database.url, bytes, { clone: { slug: "acme", withAudit: false } });
    assert.deepEqual(await shapeOf(database, "acme", left), shape);
  }));

test("a slug that is taken, empty, too long or no value of its column is refused", () =>
  withDatabase("clone-slug", async (database) => {
    const bytes = await freshBundle("acme");
    const [id] = await database.query<{ id: string }>(
      "SELECT id FROM tenants WHERE slug = 'globex'",
    );
    const refuse = (slug: string, exitCode: number, message: RegExp, name?: string) =>
      assertImportRefused(
        database,
        bytes,
        { clone: { slug, name, withAudit: false } },
        { exitCode, message, hint: /--as-tenant SLUG/ },
      );
    await refuse(
      "globex",
      4,
      /^there is a tenant "globex" already \([0-9a-f-]{36}\); nothing was written$/,
    );
    await refuse(id?.id ?? "", 4, /^there is a tenant "[0-9a-f-]{36}" already/);
    await refuse(
      " ",
      2,
      /^the slug " " of the new tenant is empty or has more than 200 characters$/,
    );
    await refuse("x".repeat(201), 2, /more than 200 characters$/);
    await database.query("ALTER TABLE tenants ALTER COLUMN name TYPE varchar(20)");
    await refuse(
      "new",
      2,
      /^the name "A name that is too long" of the new tenant is not a character varying\(20\)/,
      "A name that is too long",
    );
  }));

test("a bundle that lacks rows which others refer to cannot become a clone beside the original", () =>
  withDatabase("clone-torn", async (database) => {
    const bytes = await freshBundle("acme");
    const torn = await forge(bytes, { rows: { hosts: (rows) => rows.slice(1) } });
    await assertImportRefused(
      database,
      torn,
      { clone: { slug: "copy", withAudit: false } },
      {
        exitCode: 4,
        message:
          /refers to a row of "public\.hosts" that is neither in the bundle nor in the database/,
        hint: /^A clone can refer to its own rows only/,
      },
    );
  }));

test("a unique value that the profile says nothing of is refused by name, with what it can say", () =>
  withDatabase("clone-unique", async (database) => {
    await database.query(`
      ALTER TABLE sites ADD COLUMN dns text UNIQUE;
      UPDATE sites SET dns = 'site-' || left(md5(id::text), 8);`);
    const { bytes } = await exportBundle(database.url, "acme");
    await assertImportRefused(
      database,
      bytes,
      { clone: { slug: "copy", withAudit: false } },
      {
        exitCode: 4,
        message: /has a value in \(dns\) that the live row/,
        hint: /"renumber".+"drop"/,
      },
    );
  }));

test("a sequence that is behind its table is refused before it gives keys that exist", () =>
  withDatabase("clone-behind", async (database) => {
    const bytes = await freshBundle("acme");
    await database.query("SELECT setval('execution_logs_id_seq', 100)");
    await assertImportRefused(
      database,
      bytes,
      { clone: { slug: "copy", withAudit: false } },
      {
        exitCode: 4,
        message:
          /^sequence "public\.execution_logs_id_seq" is behind the rows of "public\.execution_logs"/,
        hint: /ALTER SEQUENCE/,
      },
    );
  }));
