import assert from "node:assert/strict";
import { test } from "node:test";
import type { ImportResult } from "../../src/tenant/import-types.ts";
import type { TestDatabase } from "../harness/database.ts";
import { handMadeId, makeSite } from "../harness/hand-made.ts";
import {
  assertImportRefused,
  assertUnchanged,
  changesOf,
  digestOf,
  freshBundle,
  type ImportChoice,
  importBytes,
  withDatabase,
} from "../harness/import.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
const spare = `name = 'Spare 3' AND tenant_id = ${acme}`;
const spareSite = `(SELECT id FROM sites WHERE ${spare})`;

function only(...select: string[]): ImportChoice {
  return { selection: { select, exclude: [] } };
}

function along({ plan }: ImportResult): readonly string[] {
  return plan.notes
    .filter(({ kind }) => kind === "along")
    .map(({ table, row, reason }) => `${table}${row === undefined ? "" : ` ${row}`}: ${reason}`);
}

async function idOf(database: TestDatabase, query: string): Promise<string> {
  const [row] = await database.query<{ id: string }>(query);
  return row?.id ?? "";
}

test("a deleted site comes back by its name with all that hung on it, and nothing else does", () =>
  withDatabase("selected-site", async (database) => {
    const bundle = await freshBundle("acme");
    const site = await idOf(database, `SELECT id FROM sites WHERE ${spare}`);
    // The tenant has worked on since the bundle was made.
    await makeSite(database, "Made since");
    await database.query(`
      UPDATE users SET display_name = 'Renamed since' WHERE tenant_id = ${acme};
      UPDATE tenants SET name = 'Renamed since' WHERE slug = 'acme';
      DELETE FROM api_keys WHERE tenant_id = ${acme};
      DELETE FROM vxlan_networks WHERE name = 'lan-2' AND tenant_id = ${acme};`);
    const before = await digestOf(database);
    await database.query(`DELETE FROM sites WHERE ${spare}`);

    const preview = await importBytes(database.url, bundle, {
      ...only("site=Spare 3"),
      dryRun: true,
    });
    const result = await importBytes(database.url, bundle, only("site=Spare 3"));
    assert.deepEqual(preview.plan, result.plan);
    await assertUnchanged(database, before);
    assert.deepEqual(changesOf(result), {
      sites: "insert 1",
      hosts: "insert 2",
      agents: "insert 2",
      certificate_history: "insert 4",
      crl_entries: "relink 2",
      enrollment_tokens: "insert 2",
      execution_logs: "insert 10",
      executions: "insert 10",
      microvms: "insert 5",
      plan_actions: "insert 12",
      plans: "insert 6",
      vm_network_attachments: "insert 5",
      vxlan_networks: "insert 1",
      vxlan_tunnels: "insert 2",
    });
    const sites = result.plan.tables.find(({ table }) => table === "public.sites");
    assert.equal(`${sites?.chosen} of ${sites?.inBundle}`, "1 of 3");
    assert.ok(
      along(result).includes(`public.plans: 6 row(s) belong to public.sites (id)=(${site})`),
    );
    assert.ok(
      along(result).includes(
        `public.execution_logs: 10 row(s) belong to public.sites (id)=(${site})`,
      ),
    );
    // By its key as well.
    const again = await importBytes(database.url, bundle, only(`site=${site}`));
    assert.equal(again.applied, false);
    assert.deepEqual(
      again.plan.tables.map(({ chosen }) => chosen),
      result.plan.tables.map(({ chosen }) => chosen),
    );
  }));

test("a row that a chosen one needs is inserted where it is absent, without what hangs on it", () =>
  withDatabase("needed", async (database) => {
    const user = handMadeId(1);
    await database.query(`
      INSERT INTO users (id, tenant_id, email, display_name, role, password_hash)
        VALUES ('${user}', ${acme}, 'gone@acme.example', 'Gone', 'ADMIN', '');
      INSERT INTO password_reset_tokens (user_id, tenant_id, token_hash, expires_at)
        VALUES ('${user}', ${acme}, 'hash', 'infinity');
      UPDATE sites SET created_by_user_id = '${user}' WHERE ${spare};`);
    const { bytes } = await exportBundle(database.url, "acme");
    const before = await digestOf(database);
    const site = await idOf(database, `SELECT id FROM sites WHERE ${spare}`);
    await database.query(
      `DELETE FROM sites WHERE ${spare}; DELETE FROM users WHERE id = '${user}'`,
    );

    const result = await importBytes(database.url, bytes, only("site=Spare 3"));
    assert.equal(changesOf(result).users, "insert 1");
    assert.ok(
      along(result).includes(
        `public.users (id)=(${user}): is needed by public.sites (id)=(${site})`,
      ),
    );
    assert.equal(changesOf(result).password_reset_tokens, undefined);
    const withToken = await importBytes(database.url, bytes, only("user=gone@acme.example"));
    assert.deepEqual(changesOf(withToken), { password_reset_tokens: "insert 1" });
    await assertUnchanged(database, before);
  }));

test("a row that is live and stays needs nothing of the bundle", () =>
  withDatabase("needs-nothing", async (database) => {
    const user = handMadeId(1);
    await database.query(`
      INSERT INTO users (id, tenant_id, email, display_name, role, password_hash)
        VALUES ('${user}', ${acme}, 'gone@acme.example', 'Gone', 'ADMIN', '');
      UPDATE sites SET created_by_user_id = '${user}' WHERE ${spare};`);
    const { bytes } = await exportBundle(database.url, "acme");
    await database.query(`
      UPDATE sites SET created_by_user_id = NULL WHERE ${spare};
      DELETE FROM users WHERE id = '${user}';`);
    const result = await importBytes(database.url, bytes, only("site=Spare 3"));
    assert.equal(result.applied, false);
    const over = await importBytes(database.url, bytes, {
      ...only("site=Spare 3"),
      mode: "overwrite",
    });
    assert.deepEqual(changesOf(over), { users: "insert 1", sites: "update 1" });
  }));

test("what is excluded stays out with what hangs on it, unless a chosen row cannot be without", () =>
  withDatabase("excluded", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`DELETE FROM sites WHERE ${spare}`);
    const choice = (...exclude: string[]) => ({ selection: { select: ["site=Spare 3"], exclude } });
    const error = await assertImportRefused(database, bundle, choice("vms"), {
      exitCode: 4,
      message:
        /public\.executions \(id\)=\(.+\), which needs public\.microvms \(id\)=\(.+\) \(vm_id, tenant_id\), which --exclude or --since leaves out and which is not in the database; nothing was written/,
      hint: /leave out less, or \(--exclude\) what needs it, too/,
    });
    assert.equal(error.code, "needed-row");
    const result = await importBytes(
      database.url,
      bundle,
      choice("vms", "plans", "execution_logs"),
    );
    const changes = changesOf(result);
    assert.deepEqual(
      ["microvms", "vm_network_attachments", "plans", "executions", "plan_actions"].map(
        (table) => changes[table],
      ),
      [undefined, undefined, undefined, undefined, undefined],
    );
    assert.equal(changes.vxlan_tunnels, "insert 2");
    // What is still missing, and a table alone of it.
    const rest = await importBytes(database.url, bundle, {
      selection: { select: [], exclude: ["public.execution_logs"] },
    });
    assert.deepEqual(changesOf(rest), {
      microvms: "insert 5",
      vm_network_attachments: "insert 5",
      plans: "insert 6",
      plan_actions: "insert 12",
      executions: "insert 10",
    });
    const logs = await importBytes(database.url, bundle, only("execution_logs"));
    assert.deepEqual(changesOf(logs), { execution_logs: "insert 10" });
  }));

test("log rows from before --since stay out", () =>
  withDatabase("since", async (database) => {
    const since = "2026-01-25T10:30:00.5Z";
    const bundle = await freshBundle("acme");
    const [expected] = await database.query<{ logs: string }>(
      `SELECT count(*) AS logs FROM execution_logs WHERE tenant_id = ${acme} AND NOT emitted_at < '${since}'`,
    );
    await database.query(`
      DELETE FROM execution_logs WHERE tenant_id = ${acme};
      DELETE FROM sites WHERE ${spare};`);
    const result = await importBytes(database.url, bundle, {
      selection: { select: [], exclude: [], since },
    });
    assert.equal(changesOf(result).execution_logs, `insert ${expected?.logs}`);
    assert.ok(Number(expected?.logs) > 0 && Number(expected?.logs) < 40);
    const [older] = await database.query(
      `SELECT count(*) FROM execution_logs WHERE tenant_id = ${acme} AND emitted_at < '${since}'`,
    );
    assert.deepEqual(older, { count: "0" });
    assert.equal(changesOf(result).sites, "insert 1");
  }));

test("a site that was renamed since is found by its old and by its new name", () =>
  withDatabase("renamed", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(`UPDATE sites SET name = 'New name' WHERE ${spare}`);
    const before = await digestOf(database);
    for (const name of ["Spare 3", "New name"]) {
      await database.query(
        `DELETE FROM vxlan_networks WHERE name = 'lan-3' AND tenant_id = ${acme}`,
      );
      const result = await importBytes(database.url, bundle, only(`site=${name}`));
      assert.deepEqual(changesOf(result), {
        vm_network_attachments: "insert 5",
        vxlan_networks: "insert 1",
        vxlan_tunnels: "insert 2",
      });
      await assertUnchanged(database, before);
    }
  }));

test("overwrite with a selection alters no row outside of it, the tenant's own included", () =>
  withDatabase("overwrite-part", async (database) => {
    const bundle = await freshBundle("acme");
    const edited = `
      UPDATE tenants SET name = 'Edited' WHERE slug = 'acme';
      UPDATE users SET display_name = 'Edited' WHERE tenant_id = ${acme};
      UPDATE hosts SET cpu_cores_total = 3 WHERE tenant_id = ${acme} AND site_id <> ${spareSite};`;
    await database.query(edited);
    const before = await digestOf(database);
    await database.query(`
      UPDATE hosts SET cpu_cores_total = 3 WHERE site_id = ${spareSite};
      UPDATE microvms SET vcpu_count = 99 WHERE site_id = ${spareSite};`);
    const part = { ...only("site=Spare 3"), mode: "overwrite" } as const;
    const result = await importBytes(database.url, bundle, part);
    assert.deepEqual(changesOf(result), { hosts: "update 2", microvms: "update 5" });
    await assertUnchanged(database, before);
    const named = await importBytes(database.url, bundle, {
      ...only("tenants"),
      mode: "overwrite",
    });
    assert.deepEqual(changesOf(named), { tenants: "update 1" });
  }));

test("replace with a selection deletes inside of it only, and moves back what has left it", () =>
  withDatabase("replace-part", async (database) => {
    const bundle = await freshBundle("acme");
    await makeSite(database, "Made since");
    const before = await digestOf(database);
    const host = handMadeId(50);
    await database.query(`
      INSERT INTO hosts (id, tenant_id, site_id, hostname)
        VALUES ('${host}', ${acme}, ${spareSite}, 'made since');
      INSERT INTO microvms (id, tenant_id, site_id, host_id, name, vcpu_count, memory_mib)
        VALUES ('${handMadeId(51)}', ${acme}, ${spareSite}, '${host}', 'made since', 1, 128);
      UPDATE vxlan_networks SET site_id = '${handMadeId(1)}' WHERE name = 'lan-3' AND tenant_id = ${acme};
      UPDATE vxlan_networks SET site_id = ${spareSite} WHERE name = 'lan-2' AND tenant_id = ${acme};`);
    const part = { ...only("site=Spare 3"), mode: "replace" } as const;
    const result = await importBytes(database.url, bundle, part);
    assert.deepEqual(changesOf(result), {
      hosts: "delete 1",
      microvms: "delete 1",
      vxlan_networks: "update 2",
    });
    await assertUnchanged(database, before);
    // A part that the bundle knows nothing of.
    const gone = await importBytes(database.url, bundle, {
      ...only("site=Made since"),
      mode: "replace",
    });
    assert.deepEqual(changesOf(gone), {
      sites: "delete 1",
      hosts: "delete 1",
      agents: "delete 1",
      microvms: "delete 1",
      plans: "delete 1",
      executions: "delete 1",
      execution_logs: "delete 1",
    });
  }));

test("a selection that means nothing is refused, with what is near", () =>
  withDatabase("means-nothing", async (database) => {
    const bundle = await freshBundle("acme");
    await assertImportRefused(database, bundle, only("site=Spair 3"), {
      exitCode: 2,
      message: /^--select "site=Spair 3" means no row of the bundle$/,
      hint: /^Did you mean "Spare 3"\? Rows of public\.sites are looked for by id or name or external_key\.$/,
    });
    await assertImportRefused(database, bundle, only("sitez"), {
      exitCode: 2,
      message: /^--select "sitez": there is no such group or table$/,
      hint: /^Did you mean "sites"\? Groups: sites, hosts, agents/,
    });
    const without = { selection: { select: ["sites"], exclude: ["site=Spair 3"] } };
    await assertImportRefused(database, bundle, without, {
      exitCode: 2,
      message: /^--exclude "site=Spair 3" means no row of the bundle or the database$/,
    });
    const nothing = { selection: { select: ["audit"], exclude: [], since: "2100-01-01" } };
    await assertImportRefused(database, bundle, nothing, {
      exitCode: 2,
      message: /^the bundle holds no row that is selected and not left out; nothing was written$/,
    });
    const secret = { selection: { select: ["users.password_hash=$2a$12$"], exclude: [] } };
    const error = await assertImportRefused(database, bundle, secret, {
      exitCode: 2,
      message: /means no row of the bundle/,
    });
    assert.doesNotMatch(JSON.stringify(error), /argon2id/);
  }));
