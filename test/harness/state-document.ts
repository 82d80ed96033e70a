import type { TestDatabase } from "./database.ts";

/** By table: what N-Kudo's own state document holds of a row, as SQL expressions over `l`. */
const members: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  sites: {
    id: "l.id",
    tenant_id: "l.tenant_id",
    name: "l.name",
    external_key: "l.external_key",
    location_country_code: "l.location_country_code",
    connectivity_state: "l.connectivity_state",
    last_heartbeat_at: "l.last_heartbeat_at",
    created_at: "l.created_at",
  },
  hosts: {
    id: "l.id",
    tenant_id: "l.tenant_id",
    site_id: "l.site_id",
    hostname: "l.hostname",
    cpu_cores_total: "l.cpu_cores_total",
    memory_bytes_total: "l.memory_bytes_total",
    storage_bytes_total: "l.storage_bytes_total",
    kvm_available: "l.kvm_available",
    cloud_hypervisor_available: "l.cloud_hypervisor_available",
    last_facts_at: "l.last_facts_at",
  },
  microvms: {
    id: "l.id",
    tenant_id: "l.tenant_id",
    site_id: "l.site_id",
    host_id: "coalesce(l.host_id::text, '')",
    name: "l.name",
    state: "l.state",
    vcpu_count: "l.vcpu_count",
    memory_mib: "l.memory_mib",
    last_transition_at: "l.last_transition_at",
    updated_at: "l.updated_at",
  },
  api_keys: {
    id: "l.id",
    tenant_id: "l.tenant_id",
    name: "l.name",
    created_at: "l.created_at",
    expires_at: "l.expires_at",
  },
  enrollment_tokens: {
    ID: "l.id",
    TenantID: "l.tenant_id",
    SiteID: "l.site_id",
    TokenHash: "''",
    ExpiresAt: "'0001-01-01T00:00:00Z'::text",
    consumed: "l.used_at IS NOT NULL",
    consumed_at: "l.used_at",
  },
  audit_events: {
    id: "l.id",
    tenant_id: "l.tenant_id",
    site_id: "l.site_id",
    actor_type: "l.actor_type",
    actor_user_id: "l.actor_user_id",
    actor_agent_id: "l.actor_agent_id",
    action: "l.action",
    resource_type: "l.resource_type",
    resource_id: "l.resource_id",
    request_id: "nullif(l.request_id, '')",
    source_ip: "l.source_ip::text",
    metadata_json:
      "replace(encode(convert_to(l.metadata_json::text, 'UTF8'), 'base64'), E'\\n', '')",
    occurred_at: "l.occurred_at",
    prev_hash: "l.prev_hash",
    entry_hash: "l.entry_hash",
    chain_valid: "l.chain_valid",
  },
};

/** The columns of a table's row that a state document brings back. */
export function documentColumns(table: string): readonly string[] {
  return Object.keys(members[table] ?? {});
}

/** N-Kudo's own program cannot write the times and the NUL-like texts of the seed, so they are made plain. */
export async function makeOrdinary(database: TestDatabase): Promise<void> {
  const time = "'2026-01-02 03:04:05.678901+00'";
  await database.query(`
    UPDATE sites SET last_heartbeat_at = ${time} WHERE NOT isfinite(last_heartbeat_at) OR last_heartbeat_at NOT BETWEEN '1900-01-01' AND '2100-01-01';
    UPDATE hosts SET last_facts_at = ${time} WHERE NOT isfinite(last_facts_at) OR last_facts_at NOT BETWEEN '1900-01-01' AND '2100-01-01';
    UPDATE microvms SET last_transition_at = ${time} WHERE NOT isfinite(last_transition_at) OR last_transition_at NOT BETWEEN '1900-01-01' AND '2100-01-01';
    UPDATE api_keys SET expires_at = ${time} WHERE NOT isfinite(expires_at) OR expires_at NOT BETWEEN '1900-01-01' AND '2100-01-01';
    UPDATE enrollment_tokens SET used_at = ${time} WHERE NOT isfinite(used_at) OR used_at NOT BETWEEN '1900-01-01' AND '2100-01-01';
    UPDATE audit_events SET request_id = NULL WHERE request_id = '';`);
}

/** The tenant's state document, as N-Kudo's own export writes it but for its line breaks. */
export async function stateDocument(database: TestDatabase, tenant: string): Promise<string> {
  const client = await database.connect();
  await client.query("SET TimeZone = 'UTC'");
  const arrays: string[] = [];
  for (const [table, columns] of Object.entries(members)) {
    const parts = Object.entries(columns).map(([key, value]) => `'${key}', ${value}`);
    const { rows } = await client.query<{ text: string }>(
      `SELECT json_strip_nulls(json_build_object(${parts.join(", ")}))::text AS text
         FROM ${table} AS l WHERE l.tenant_id = $1 ORDER BY l.id DESC`,
      [tenant],
    );
    arrays.push(`"${table}": [\n${rows.map(({ text }) => text).join(",\n")}\n]`);
  }
  return `{
  "version": "1.0",
  "exported_at": "2026-02-03T04:05:06.789Z",
  "tenant_id": "${tenant}",
  "tenant": {"id": "", "slug": "", "name": "", "data_retention_days": 0, "created_at": "0001-01-01T00:00:00Z"},
  "agents": null,
  "plans": null,
  ${arrays.join(",\n  ")}
}
`;
}
