import assert from "node:assert/strict";
import { test } from "node:test";
import type { ImportPlan, PlanNote } from "../../src/tenant/import-types.ts";
import type { TestDatabase } from "../harness/database.ts";
import { handMadeId, makeSite } from "../harness/hand-made.ts";
import {
  assertImportRefused,
  assertUnchanged,
  changesOf,
  deleteTenant,
  digestOf,
  freshBundle,
  importBytes,
  withDatabase,
} from "../harness/import.ts";
import { differingRows, rowTextsOf } from "../harness/row-texts.ts";
import { withSmallSchema } from "../harness/small-schema.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
const globex = "(SELECT id FROM tenants WHERE slug = 'globex')";

function notesOf(plan: ImportPlan, kind: PlanNote["kind"]): readonly PlanNote[] {
  return plan.notes.filter((note) => note.kind === kind);
}

function rowsOf(plan: ImportPlan, kind: PlanNote["kind"]): readonly string[] {
  return notesOf(plan, kind)
    .map(({ table, row }) => `${table} ${row}`)
    .sort();
}

/** Deletes the spare site of acme and a key, and makes the site again by hand, with a host. */
async function loseAndMakeAgain(database: TestDatabase) {
  await database.query(`
    CREATE TEMP TABLE lost AS SELECT * FROM sites WHERE name = 'Spare 3' AND tenant_id = ${acme};
    CREATE TEMP TABLE lost_hosts AS SELECT * FROM hosts WHERE site_id IN (SELECT id FROM lost);
    DELETE FROM sites WHERE id IN (SELECT id FROM lost);
    DELETE FROM api_keys WHERE tenant_id = ${acme}`);
  const made = await makeSite(database, "Spare 3");
  const [names] = await database.query<{ site: string; host: string; hostname: string }>(`
    SELECT (SELECT id FROM lost) AS site, id AS host, hostname FROM lost_hosts ORDER BY hostname LIMIT 1`);
  assert.ok(names !== undefined);
  await database.query(`UPDATE hosts SET hostname = $1 WHERE id = $2`, [names.hostname, made.host]);
  return { made, lost: names };
}

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

test("adopt: the site made again by hand stands for the bundle's, and so do its hosts, agents and plans", () =>
  withDatabase("adopt-site", async (database) => {
    const bundle = await freshBundle("acme");
    const original = await rowTextsOf(database);
    const { made, lost } = await loseAndMakeAgain(database);
    const before = await rowTextsOf(database);
    const { plan } = await importBytes(database.url, bundle, { onCollision: "adopt" });
    const after = await rowTextsOf(database);
    for (const [row, text] of before) {
      // Only the revoked serials are linked again.
      if (!row.startsWith("public.crl_entries ")) assert.equal(after.get(row), text, row);
    }
    const adopted = rowsOf(plan, "adopted");
    assert.ok(adopted.includes(`public.sites (id)=(${lost.site})`));
    assert.ok(adopted.includes(`public.hosts (id)=(${lost.host})`));
    assert.deepEqual([...new Set(adopted.map((row) => row.split(" ")[0]))].sort(), [
      "public.agents",
      "public.hosts",
      "public.plans",
      "public.sites",
    ]);
    const back = [...original.keys()].filter((row) => !before.has(row) && after.has(row));
    assert.deepEqual(
      [...original.keys()].filter((row) => !after.has(row)).sort(),
      adopted,
      "each row that did not come back has one that stands for it",
    );
    // What came back is as it was, but for the ids of the rows that others stand for.
    const replaced = new Map<string, string>([
      [lost.site, made.site],
      [lost.host, made.host],
    ]);
    for (const note of notesOf(plan, "adopted")) {
      const [, old = "", by = ""] =
        /^(\S+) the live row stands for it: .* live row \(id\)=\((.*)\) holds; /.exec(
          `${note.row?.slice(6, -1)} ${note.reason}`,
        ) ?? [];
      replaced.set(old, by);
    }
    for (const row of back) {
      const text = original.get(row)?.replace(/[0-9a-f-]{36}/g, (id) => replaced.get(id) ?? id);
      assert.equal(after.get(row), text, row);
    }
    const note = notesOf(plan, "adopted").find(({ table }) => table === "public.sites");
    const [, moved] = /holds; (\d+) reference\(s\) lead there now$/.exec(note?.reason ?? "") ?? [];
    assert.ok(Number(moved) > 10, note?.reason);

    const again = await importBytes(database.url, bundle, { onCollision: "adopt" });
    assert.equal(again.applied, false);
    assert.deepEqual(rowsOf(again.plan, "adopted"), adopted);
    const overwrite = { onCollision: "adopt", mode: "overwrite" } as const;
    const linked = await importBytes(database.url, bundle, overwrite);
    assert.deepEqual(changesOf(linked), { crl_entries: "relink 1" }, "to the agent that is there");
    const last = await importBytes(database.url, bundle, overwrite);
    assert.equal(last.applied, false);
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

test("a live row that the bundle has as well stands for no other row of it", () =>
  withDatabase("adopt-own", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`
      DELETE FROM sites WHERE name = 'Spare 3' AND tenant_id = ${acme};
      UPDATE sites SET name = 'Spare 3'
       WHERE id = (SELECT id FROM sites WHERE tenant_id = ${acme} ORDER BY id LIMIT 1)`);
    await assertImportRefused(
      database,
      bundle,
      { onCollision: "adopt" },
      { exitCode: 4, message: /holds, which is another row of the bundle; nothing was written$/ },
    );
  }));

const rooms = {
  name: "rooms",
  root: { table: "public.firms", key: "id", lookup: ["slug"] },
  oneWay: { "public.rooms": ["closed"] },
};

const roomsSchema = `
  CREATE TABLE firms (id integer PRIMARY KEY, slug text UNIQUE);
  CREATE TABLE sites (id integer PRIMARY KEY, firm integer NOT NULL REFERENCES firms ON DELETE CASCADE,
                      name text, code text, UNIQUE (firm, name), UNIQUE (firm, code));
  CREATE TABLE rooms (site integer REFERENCES sites ON DELETE CASCADE, no integer, closed date, label text,
                      PRIMARY KEY (site, no));
  CREATE TABLE desks (site integer, room integer, no integer, label text, PRIMARY KEY (site, room, no),
                      FOREIGN KEY (site, room) REFERENCES rooms ON DELETE CASCADE);
  INSERT INTO firms VALUES (1, 'one');
  INSERT INTO sites VALUES (1, 1, 'A', 'a'), (2, 1, 'B', 'b');
  INSERT INTO rooms VALUES (1, 1, NULL, 'old'), (1, 2, NULL, 'old'), (2, 1, NULL, 'old');
  INSERT INTO desks VALUES (1, 1, 1, 'old'), (1, 2, 1, 'old'), (1, 2, 2, 'old'), (2, 1, 1, 'old');`;

test("adopt: keys that carry their parent's key along follow, and rows that were there already are matched again", () =>
  withSmallSchema("adopt-keys", roomsSchema, rooms, async ({ database, profile }) => {
    const { bytes } = await exportBundle(database.url, "one", { profile });
    await database.query(`
      DELETE FROM sites WHERE id = 1;
      INSERT INTO sites VALUES (9, 1, 'A', 'new');
      INSERT INTO rooms VALUES (9, 1, '2030-01-01', 'new');`);
    const choice = { profile, onCollision: "adopt", mode: "overwrite" } as const;
    const { plan } = await importBytes(database.url, bytes, choice);
    assert.deepEqual(changesOf({ plan }), { rooms: "insert 1, update 1", desks: "insert 3" });
    assert.deepEqual(rowsOf(plan, "adopted"), ["public.sites (id)=(1)"]);
    assert.deepEqual(rowsOf(plan, "stays-revoked"), ["public.rooms (site, no)=(9, 1)"]);
    assert.deepEqual(
      await database.query("SELECT site, no, closed::text, label FROM rooms ORDER BY 1, 2"),
      [
        { site: 2, no: 1, closed: null, label: "old" },
        { site: 9, no: 1, closed: "2030-01-01", label: "old" },
        { site: 9, no: 2, closed: null, label: "old" },
      ],
    );
    assert.deepEqual(
      await database.query("SELECT site, room, no FROM desks WHERE site <> 2 ORDER BY 1, 2, 3"),
      [
        { site: 9, room: 1, no: 1 },
        { site: 9, room: 2, no: 1 },
        { site: 9, room: 2, no: 2 },
      ],
    );
    const again = await importBytes(database.url, bytes, choice);
    assert.equal(again.applied, false);
  }));

test("adopt is refused where two live rows hold values of one, or one of two", () =>
  withSmallSchema("adopt-two", roomsSchema, rooms, async ({ database, profile }) => {
    const { bytes } = await exportBundle(database.url, "one", { profile });
    const choice = { profile, onCollision: "adopt" } as const;
    await database.query(`
      DELETE FROM sites;
      INSERT INTO sites VALUES (8, 1, 'A', 'x'), (9, 1, 'y', 'a')`);
    const two = await assertImportRefused(database, bytes, choice, {
      exitCode: 4,
      message: /and another live row holds another value of it/,
    });
    assert.equal(two.code, "unique-collision");
    await database.query(`DELETE FROM sites; INSERT INTO sites VALUES (9, 1, 'A', 'b')`);
    await assertImportRefused(database, bytes, choice, {
      exitCode: 4,
      message: /which stands for another row of the bundle/,
    });
    const { plan } = await importBytes(database.url, bytes, { ...choice, onCollision: "skip" });
    assert.deepEqual(changesOf({ plan }), {});
    assert.equal(notesOf(plan, "skipped").length, 9);
  }));
