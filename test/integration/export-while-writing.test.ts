import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import {
  exportBundle,
  type ReadBundle,
  readWholeBundle,
  rowsOf,
} from "../harness/tenant-bundle.ts";

/** One new row in each table, all hanging together; and those of three calls before are deleted. */
const churn = `
CREATE FUNCTION id_of(kind text, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT md5('churn ' || kind || n)::uuid $$;
CREATE PROCEDURE churn(tenant uuid, n integer) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO users (id, tenant_id, email, display_name, role, password_hash)
    VALUES (id_of('user', n), tenant, 'u' || n || '@churn', 'u', 'VIEWER', '');
  INSERT INTO sites (id, tenant_id, name, created_by_user_id)
    VALUES (id_of('site', n), tenant, 'churn ' || n, id_of('user', n));
  INSERT INTO hosts (id, tenant_id, site_id, hostname)
    VALUES (id_of('host', n), tenant, id_of('site', n), 'h');
  COMMIT;
  INSERT INTO agents (id, tenant_id, site_id, host_id, refresh_token_hash, agent_version, os, arch)
    VALUES (id_of('agent', n), tenant, id_of('site', n), id_of('host', n), '', '1', 'linux', 'arm');
  INSERT INTO microvms (id, tenant_id, site_id, host_id, name, vcpu_count, memory_mib)
    VALUES (id_of('vm', n), tenant, id_of('site', n), id_of('host', n), 'vm', 1, 1);
  INSERT INTO plans (id, tenant_id, site_id, idempotency_key, plan_version, operations_json)
    VALUES (id_of('plan', n), tenant, id_of('site', n), 'churn ' || n, 1, '[]');
  INSERT INTO plan_actions (tenant_id, plan_id, operation_id, operation_type, vm_id)
    VALUES (tenant, id_of('plan', n), 'o', 'START', id_of('vm', n));
  COMMIT;
  INSERT INTO executions (id, tenant_id, site_id, plan_id, operation_id, operation_type)
    VALUES (id_of('execution', n), tenant, id_of('site', n), id_of('plan', n), 'o', 'START');
  INSERT INTO execution_logs (tenant_id, execution_id, sequence, severity, message, emitted_at)
    SELECT tenant, id_of('execution', n), k, 'INFO', 'm', now() FROM generate_series(1, 20) k;
  INSERT INTO audit_events (tenant_id, actor_type, action, resource_type, resource_id)
    VALUES (tenant, 'SYSTEM', 'a', 'r', n);
  INSERT INTO api_keys (tenant_id, name, key_hash) VALUES (tenant, 'k', 'churn ' || n);
  INSERT INTO enrollment_tokens (tenant_id, site_id, token_hash, expires_at)
    VALUES (tenant, id_of('site', n), 'churn ' || n, now());
  INSERT INTO certificate_history (agent_id, serial, expires_at)
    VALUES (id_of('agent', n), 'churn ' || n, now());
  INSERT INTO crl_entries (serial, agent_id) VALUES ('churn ' || n, id_of('agent', n));
  INSERT INTO password_reset_tokens (user_id, tenant_id, token_hash, expires_at)
    VALUES (id_of('user', n), tenant, 'churn ' || n, now());
  INSERT INTO email_verification_tokens (user_id, tenant_id, token_hash, expires_at)
    VALUES (id_of('user', n), tenant, 'churn ' || n, now());
  INSERT INTO project_invitations (tenant_id, email, role, invited_by_user_id, token_hash, expires_at)
    VALUES (tenant, 'i' || n, 'VIEWER', id_of('user', n), 'churn ' || n, now());
  COMMIT;
  INSERT INTO vxlan_networks (id, tenant_id, site_id, name, vni, cidr)
    VALUES (id_of('net', n), tenant, id_of('site', n), 'n', 1000000 + n, '10.0.0.0/8');
  INSERT INTO vxlan_tunnels (network_id, host_id, local_ip, vtep_name)
    VALUES (id_of('net', n), id_of('host', n), '10.0.0.1', 'v');
  INSERT INTO vm_network_attachments (vm_id, network_id) VALUES (id_of('vm', n), id_of('net', n));
  UPDATE tenants SET updated_at = clock_timestamp() WHERE id = tenant;
  COMMIT;
  DELETE FROM plan_actions WHERE plan_id = id_of('plan', n - 3);
  DELETE FROM sites WHERE id = id_of('site', n - 3);
  DELETE FROM project_invitations WHERE invited_by_user_id = id_of('user', n - 3);
  DELETE FROM users WHERE id = id_of('user', n - 3);
  COMMIT;
END
$$`;

suite("while another connection writes to every table without pause", () => {
  let database: TestDatabase;
  let tenant: string;

  before(async () => {
    database = await createDatabase("export while writing", "n-kudo", {
      settings: { "seed.big": "off" },
    });
    await database.query(churn);
    const [row] = await database.query<{ id: string }>(
      "SELECT id FROM tenants WHERE slug = 'acme'",
    );
    tenant = row?.id ?? "";
  });
  after(() => database.drop());

  test("every reference of a bundle finds its row in that bundle", async () => {
    const writer = await database.connect();
    let writing = true;
    let calls = 0;
    const written = (async () => {
      for (; writing; calls += 1) await writer.query(`CALL churn('${tenant}', ${calls})`);
    })();
    const churned = new Set<number>();
    try {
      for (let i = 0; i < 12; i += 1) {
        const bundle = await readWholeBundle((await exportBundle(database.url, "acme")).bytes);
        const { checked, dangling } = checkReferences(bundle);
        assert.deepEqual(dangling, []);
        assert.ok(checked > 500, `${checked} references`);
        churned.add(
          rowsOf(bundle, "public.api_keys").filter((row) =>
            String(row.key_hash).startsWith("churn"),
          ).length,
        );
      }
    } finally {
      writing = false;
      await written;
    }
    assert.ok(calls >= 12, `${calls} calls`);
    assert.ok(churned.size > 3, "the exports saw the tenant change");
  });
});

/** Looks up every reference that the header names. */
function checkReferences(bundle: ReadBundle): { checked: number; dangling: readonly string[] } {
  const dangling: string[] = [];
  let checked = 0;
  for (const table of bundle.header.tables) {
    for (const reference of table.references) {
      const key = (row: Record<string, unknown>, columns: readonly string[]) =>
        JSON.stringify(columns.map((column) => row[column]));
      const targets = new Set(rowsOf(bundle, reference.table).map((row) => key(row, reference.to)));
      for (const row of rowsOf(bundle, table.name)) {
        if (reference.columns.some((column) => row[column] === null)) continue;
        checked += 1;
        const wanted = key(row, reference.columns);
        if (!targets.has(wanted)) dangling.push(`${table.name} -> ${reference.table} ${wanted}`);
      }
    }
  }
  return { checked, dangling };
}
