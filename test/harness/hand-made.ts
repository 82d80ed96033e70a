import type { TestDatabase } from "./database.ts";

/** Ids of rows that no seed has made. */
export function handMadeId(n: number): string {
  return `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
}

export interface HandMadeSite {
  readonly site: string;
  readonly host: string;
  readonly agent: string;
  readonly vm: string;
  readonly plan: string;
}

/** A site of acme with a host, an agent, a VM, a plan and a log line, ids counted from `first`. */
export async function makeSite(
  database: Pick<TestDatabase, "query">,
  name: string,
  first = 1,
): Promise<HandMadeSite> {
  const [site, host, agent, vm, plan, execution] = [0, 1, 2, 3, 4, 5].map((n) =>
    handMadeId(first + n),
  ) as [string, string, string, string, string, string];
  const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
  await database.query(`
    INSERT INTO sites (id, tenant_id, name) VALUES ('${site}', ${acme}, '${name}');
    INSERT INTO hosts (id, tenant_id, site_id, hostname)
      VALUES ('${host}', ${acme}, '${site}', 'by-hand');
    INSERT INTO agents (id, tenant_id, site_id, host_id, refresh_token_hash, agent_version, os, arch)
      VALUES ('${agent}', ${acme}, '${site}', '${host}', 'x', '1', 'linux', 'amd64');
    INSERT INTO microvms (id, tenant_id, site_id, host_id, name, vcpu_count, memory_mib)
      VALUES ('${vm}', ${acme}, '${site}', '${host}', 'by-hand', 1, 128);
    INSERT INTO plans (id, tenant_id, site_id, idempotency_key, plan_version, operations_json)
      VALUES ('${plan}', ${acme}, '${site}', 'by-hand-${first}', 1, '[]');
    INSERT INTO executions (id, tenant_id, site_id, host_id, agent_id, plan_id, vm_id, operation_id, operation_type)
      VALUES ('${execution}', ${acme}, '${site}', '${host}', '${agent}', '${plan}', '${vm}', 'op', 'CREATE');
    INSERT INTO execution_logs (id, tenant_id, execution_id, sequence, severity, message, emitted_at)
      VALUES (${900_000 + first}, ${acme}, '${execution}', 1, 'INFO', 'by hand', '2026-01-01');
  `);
  return { site, host, agent, vm, plan };
}
