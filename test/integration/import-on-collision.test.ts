import assert from "node:assert/strict";
import { test } from "node:test";
import { handMadeId } from "../harness/hand-made.ts";
import {
  assertImportRefused,
  assertUnchanged,
  deleteTenant,
  digestOf,
  freshBundle,
  importBytes,
  withDatabase,
} from "../harness/import.ts";
import { differingRows, rowTextsOf } from "../harness/row-texts.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
const globex = "(SELECT id FROM tenants WHERE slug = 'globex')";

import { loseAndMakeAgain, notesOf, rowsOf } from "../harness/collisions.ts";

test("skip: a site made again by hand stays, the bundle's stays out with all that hangs on it, the rest comes back", () =>
  withDatabase("skip-site", async (database) => {
    const bundle = await freshBundle("acme");
    const original = await rowTextsOf(database);
    const { made, lost } = await loseAndMakeAgain(database);
    const before = await rowTextsOf(database);
    const { plan } = await importBytes(database.url, bundle, { onCollision: "skip" });
    const after = await rowTextsOf(database);
    const came = differingRows(before, after);
    assert.ok(came.length > 0 && came.every((row) => row.startsWith("public.api_keys ")));
    for (const row of came) assert.equal(after.get(row), original.get(row));

    const gone = [...original.keys()].filter((row) => !before.has(row) && !came.includes(row));
    assert.ok(gone.length > 10);
    assert.deepEqual(rowsOf(plan, "skipped"), gone.sort());
    const [site] = notesOf(plan, "skipped").filter(({ table }) => table === "public.sites");
    assert.equal(
      site?.reason,
      `stays out: has a value in (tenant_id, name) that the live row (id)=(${made.site}) holds`,
    );
    const [host] = notesOf(plan, "skipped").filter(({ table }) => table === "public.hosts");
    assert.equal(
      host?.reason,
      `stays out: refers to public.sites (id)=(${lost.site}), which stays out`,
    );
    // Revoked serials are live, and are not linked to agents that do not come back.
    assert.ok(rowsOf(plan, "kept").every((row) => row.startsWith("public.crl_entries ")));
    for (const table of plan.tables) {
      const out = rowsOf(plan, "skipped").filter((row) => row.startsWith(`${table.table} `)).length;
      const { insert, update, relink, unchanged, keep } = table;
      assert.equal(insert + update + relink + unchanged + keep + out, table.inBundle, table.table);
    }

    const digest = await digestOf(database);
    const again = await importBytes(database.url, bundle, { onCollision: "skip" });
    assert.deepEqual(
      [again.applied, again.plan.notes],
      [false, plan.notes.filter(({ kind }) => kind !== "credentials")],
    );
    await assertUnchanged(database, digest);
  }));

test("a user with the same address is skipped with what refers to him, or stands for the bundle's user", () =>
  withDatabase("user", async (database) => {
    const bundle = await freshBundle("acme");
    const original = await rowTextsOf(database);
    const [user] = await database.query<{ id: string; email: string; tenant: string }>(
      `SELECT id, email, tenant_id AS tenant FROM users WHERE tenant_id = ${acme} AND role = 'OWNER'`,
    );
    await deleteTenant(database, "acme");
    await database.query(`
      INSERT INTO tenants (id, slug, name) VALUES ('${user?.tenant}', 'acme', 'Made again');
      INSERT INTO users (id, tenant_id, email, display_name, role, password_hash)
        VALUES ('${handMadeId(7)}', '${user?.tenant}', '${user?.email}', 'New', 'OWNER', '')`);
    const dry = { onCollision: "skip", dryRun: true } as const;
    const { plan: skipping } = await importBytes(database.url, bundle, dry);
    const skipped = rowsOf(skipping, "skipped");
    assert.ok(skipped.includes(`public.users (id)=(${user?.id})`));
    assert.ok(skipped.some((row) => row.startsWith("public.audit_events ")));
    assert.ok(
      skipping.tables.some(({ table, insert }) => table === "public.users" && insert === 3),
    );

    const { plan } = await importBytes(database.url, bundle, { onCollision: "adopt" });
    assert.deepEqual(rowsOf(plan, "adopted"), [`public.users (id)=(${user?.id})`]);
    const after = await rowTextsOf(database);
    for (const [row, text] of original) {
      if (row === `public.users (id)=(${user?.id})` || row.startsWith("public.tenants ")) continue;
      assert.equal(after.get(row), text.replaceAll(user?.id ?? "", handMadeId(7)), row);
    }
    const again = await importBytes(database.url, bundle, { onCollision: "adopt" });
    assert.equal(again.applied, false);
  }));

test("a network whose vni another tenant has taken is skipped with its tunnels, and never adopted", () =>
  withDatabase("vni", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`
      CREATE TEMP TABLE lost AS SELECT * FROM vxlan_networks WHERE tenant_id = ${acme} ORDER BY vni LIMIT 1;
      DELETE FROM vxlan_networks WHERE vni IN (SELECT vni FROM lost);
      INSERT INTO vxlan_networks (id, tenant_id, name, vni, cidr)
        SELECT '${handMadeId(1)}', ${globex}, 'taken', vni, '10.9.0.0/16' FROM lost`);
    await assertImportRefused(
      database,
      bundle,
      { onCollision: "adopt" },
      {
        exitCode: 4,
        message:
          /^public\.vxlan_networks \(id\)=\(.*\) has a value in \(vni\) that the live row \(id\)=\(00000000-.*\) holds, which is not this tenant's own; nothing was written$/,
      },
    );
    const before = await digestOf(database);
    const { plan, applied } = await importBytes(database.url, bundle, { onCollision: "skip" });
    assert.equal(applied, false);
    await assertUnchanged(database, before);
    assert.deepEqual(
      [...new Set(rowsOf(plan, "skipped").map((row) => row.split(" ")[0]))],
      ["public.vm_network_attachments", "public.vxlan_networks", "public.vxlan_tunnels"],
    );
  }));

test("a live row that collides is kept as it is, and so is one that waited for its value", () =>
  withDatabase("kept", async (database) => {
    const bundle = await freshBundle("acme");
    const users = await database.query<{ id: string; email: string }>(
      `SELECT id, quote_literal(email) AS email FROM users WHERE tenant_id = ${acme} ORDER BY role`,
    );
    const [first, second, third] = users;
    // The third waits for nobody; the first for the second's address, the second for a stranger's.
    await database.query(`
      UPDATE users SET email = 'away@example.org' WHERE id = '${first?.id}';
      UPDATE users SET email = 'third@example.org' WHERE id = '${third?.id}';
      INSERT INTO users (id, tenant_id, email, display_name, role, password_hash)
        VALUES ('${handMadeId(1)}', ${acme}, 'stranger@example.org', 'Stranger', 'VIEWER', '');
      INSERT INTO audit_events (id, tenant_id, actor_type, actor_user_id, action, resource_type, resource_id)
        VALUES (800001, ${acme}, 'USER', '${handMadeId(1)}', 'x', 'x', 'x');
      UPDATE users SET email = ${first?.email} WHERE id = '${second?.id}';
      UPDATE users SET email = ${second?.email} WHERE id = '${handMadeId(1)}'`);
    const before = await rowTextsOf(database);
    for (const mode of ["overwrite", "replace"] as const) {
      for (const onCollision of ["skip", "adopt"] as const) {
        const { plan } = await importBytes(database.url, bundle, { mode, onCollision });
        assert.deepEqual(
          rowsOf(plan, "kept"),
          [`public.users (id)=(${first?.id})`, `public.users (id)=(${second?.id})`].sort(),
        );
        const { keep, update } = plan.tables.find(({ table }) => table === "public.users") ?? {};
        assert.deepEqual(
          [keep, update],
          [2, mode === "overwrite" && onCollision === "skip" ? 1 : 0],
        );
        assert.deepEqual(differingRows(before, await rowTextsOf(database)), [
          `public.users (id)=(${third?.id})`,
        ]);
      }
    }
  }));

test("the tenant's own row is not skipped when its slug is taken: the import is refused", () =>
  withDatabase("skip-root", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`
      DELETE FROM tenants WHERE slug = 'acme';
      INSERT INTO tenants (id, slug, name) VALUES ('${handMadeId(1)}', 'acme', 'New Acme')`);
    for (const onCollision of ["skip", "adopt"] as const) {
      await assertImportRefused(
        database,
        bundle,
        { onCollision },
        { exitCode: 4, message: /^public\.tenants \(id\)=\(.*\) has a value in \(slug\)/ },
      );
    }
  }));
