import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { defaultMaxRowBytes } from "../../src/bundle/format.ts";
import { verifyBundle } from "../../src/bundle/verify.ts";
import { failure } from "../harness/assert-failure.ts";
import { pgtenant } from "../harness/command.ts";
import { handMadeId } from "../harness/hand-made.ts";
import {
  assertImportRefused,
  assertUnchanged,
  changesOf,
  deleteTenant,
  digestOf,
  importBytes,
  withDatabase,
} from "../harness/import.ts";
import { exportBundle, inChunks, readWholeBundle, rowsOf } from "../harness/tenant-bundle.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
const spare = `name = 'Spare 3' AND tenant_id = ${acme}`;
const site = { select: ["site=Spare 3"], exclude: [] };

test("a part is a valid bundle of the chosen rows and of all that these need", () =>
  withDatabase("export-part", async (database) => {
    const before = await digestOf(database);
    const { bytes, result } = await exportBundle(database.url, "acme", { selection: site });
    await assertUnchanged(database, before);
    const bundle = await readWholeBundle(bytes);
    assert.deepEqual(bundle.header.selection, { ...site, since: null });
    assert.deepEqual(result.selection, bundle.header.selection);
    assert.deepEqual(
      Object.fromEntries(
        bundle.tables.filter(({ end }) => end.rows > 0).map(({ name, end }) => [name, end.rows]),
      ),
      {
        "public.agents": 2,
        "public.certificate_history": 4,
        "public.crl_entries": 2,
        "public.enrollment_tokens": 2,
        "public.execution_logs": 10,
        "public.executions": 10,
        "public.hosts": 2,
        "public.microvms": 5,
        "public.plan_actions": 12,
        "public.plans": 6,
        "public.sites": 1,
        "public.tenants": 1,
        // Who asked for its plans.
        "public.users": 4,
        "public.vm_network_attachments": 5,
        "public.vxlan_networks": 1,
        "public.vxlan_tunnels": 2,
      },
    );
    const verified = await verifyBundle(inChunks(bytes), {
      name: '"part"',
      maxRowBytes: defaultMaxRowBytes,
    });
    assert.deepEqual(verified.findings, []);

    // It can be put back where nothing is left, and where only the part is missing.
    await database.query(`DELETE FROM sites WHERE ${spare}`);
    await importBytes(database.url, bytes);
    await assertUnchanged(database, before);
    await deleteTenant(database, "acme");
    const back = await importBytes(database.url, bytes);
    assert.equal(changesOf(back).users, "insert 4");
    const [count] = await database.query(`SELECT count(*) FROM microvms WHERE tenant_id = ${acme}`);
    assert.deepEqual(count, { count: "5" });
  }));

test("a part that leaves out an audit trail's rows, or old logs, still verifies", () =>
  withDatabase("export-excluded", async (database) => {
    const since = "2026-01-25T10:30:29Z";
    const selection = { select: ["audit", "plans"], exclude: ["users.role=OWNER"], since };
    const { bytes, result } = await exportBundle(database.url, "acme", { selection });
    const bundle = await readWholeBundle(bytes);
    const times = rowsOf(bundle, "public.audit_events").map((row) => String(row.occurred_at));
    assert.ok(times.length > 0 && times.length < 30);
    assert.ok(times.every((time) => time >= "2026-01-25T10:30:29"));
    assert.equal(rowsOf(bundle, "public.users").length, 3);
    assert.equal(rowsOf(bundle, "public.microvms").length, 15);
    assert.equal(rowsOf(bundle, "public.vxlan_networks").length, 0);
    assert.match(
      result.warnings.join("\n"),
      /^\d+ row\(s\) refer to rows that --exclude or --since leaves out, such as public\.\w+ \(id\)=\(.+\): they can be imported only where those are$/,
    );
    const verified = await verifyBundle(inChunks(bytes), {
      name: '"part"',
      maxRowBytes: defaultMaxRowBytes,
    });
    assert.deepEqual(verified.findings, []);
  }));

test("the bundle of a part replaces and overwrites that part alone", () =>
  withDatabase("replace-by-part", async (database) => {
    const { bytes } = await exportBundle(database.url, "acme", { selection: site });
    await database.query(`
      UPDATE tenants SET name = 'Edited' WHERE slug = 'acme';
      UPDATE users SET display_name = 'Edited' WHERE tenant_id = ${acme};
      DELETE FROM api_keys WHERE tenant_id = ${acme};`);
    const before = await digestOf(database);
    const change = `
      UPDATE hosts SET cpu_cores_total = 3 WHERE site_id = (SELECT id FROM sites WHERE ${spare});
      INSERT INTO hosts (id, tenant_id, site_id, hostname)
        SELECT '${handMadeId(1)}', tenant_id, id, 'made since' FROM sites WHERE ${spare};`;
    await database.query(change);
    const overwritten = await importBytes(database.url, bytes, { mode: "overwrite" });
    assert.deepEqual(changesOf(overwritten), { hosts: "update 2" });
    await database.query(`UPDATE sites SET name = 'Renamed' WHERE ${spare}`);
    const replaced = await importBytes(database.url, bytes, { mode: "replace" });
    assert.deepEqual(changesOf(replaced), { sites: "update 1", hosts: "delete 1" });
    const after = await digestOf(database);
    assert.deepEqual(
      after.tables.filter(({ table }) => table !== "public.sites"),
      before.tables.filter(({ table }) => table !== "public.sites"),
    );
    // A selection of one's own, in what is a part already.
    await database.query(change);
    const inner = await importBytes(database.url, bytes, {
      mode: "replace",
      selection: { select: ["hosts"], exclude: ["host=made since"] },
    });
    assert.deepEqual(changesOf(inner), { hosts: "update 2" });
  }));

test("a row that is needed and neither in the bundle nor live is refused", () =>
  withDatabase("needed-nowhere", async (database) => {
    const user = handMadeId(1);
    await database.query(`
      INSERT INTO users (id, tenant_id, email, display_name, role, password_hash)
        VALUES ('${user}', ${acme}, 'gone@acme.example', 'Gone', 'ADMIN', '');
      UPDATE sites SET created_by_user_id = '${user}' WHERE ${spare};`);
    const selection = { select: ["site=Spare 3"], exclude: ["users"] };
    const { bytes } = await exportBundle(database.url, "acme", { selection });
    await database.query(
      `DELETE FROM sites WHERE ${spare}; DELETE FROM users WHERE id = '${user}'`,
    );
    const error = await assertImportRefused(
      database,
      bytes,
      {},
      {
        exitCode: 4,
        message:
          /^public\.sites \(id\)=\(.+\) refers to a row of "public\.users" that is neither in the bundle nor in the database \(created_by_user_id, tenant_id\); nothing was written$/,
        hint: /Bring that back first, from a bundle of the whole tenant/,
      },
    );
    assert.equal(error.code, "needed-row");
  }));

test("the command names the part, and writes nothing where there is none", () =>
  withDatabase("export-command", async (database) => {
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    try {
      const file = join(folder, "part.jsonl");
      const args = ["export", "acme", "--select", "site=Spare 3", "--exclude", "audit", "-o", file];
      const made = await pgtenant(args, { url: database.url });
      assert.equal(made.code, 0, made.stderr);
      assert.match(
        made.stdout.toString() + made.stderr,
        /^ {2}only a part of it: site=Spare 3; without audit$/m,
      );
      const shown = await pgtenant(["inspect", file]);
      assert.match(shown.stdout.toString(), /^selection +site=Spare 3; without audit$/m);
      const all = await pgtenant(
        ["export", "--all", "--select", "site=Spare 3", "-o", `${folder}/all/`],
        {
          url: database.url,
        },
      );
      assert.equal(all.code, 0, all.stderr);
      const names = await readdir(join(folder, "all"));
      assert.equal(names.filter((name) => name.startsWith("tenant_")).length, 3);
      for (const [item, code] of [
        ["site=none", "nothing-selected"],
        ["nothing", "unknown-selection"],
      ] as const) {
        await assert.rejects(
          exportBundle(database.url, "acme", { selection: { select: [item], exclude: [] } }),
          failure(
            2,
            code,
            code === "nothing-selected"
              ? /^--select "site=none" means no row of the tenant$/
              : /no such group or table/,
          ),
        );
      }
      const none = await pgtenant(
        ["export", "acme", "--select", "site=none", "-o", join(folder, "none")],
        {
          url: database.url,
        },
      );
      assert.equal(none.code, 2);
      assert.deepEqual((await readdir(folder)).sort(), ["all", "part.jsonl"]);
    } finally {
      await rm(folder, { recursive: true });
    }
  }));
