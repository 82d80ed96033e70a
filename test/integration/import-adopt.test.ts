import assert from "node:assert/strict";
import { test } from "node:test";
import {
  assertImportRefused,
  changesOf,
  freshBundle,
  importBytes,
  withDatabase,
} from "../harness/import.ts";
import { rowTextsOf } from "../harness/row-texts.ts";
import { withSmallSchema } from "../harness/small-schema.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";

import { loseAndMakeAgain, notesOf, rowsOf } from "../harness/collisions.ts";

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
