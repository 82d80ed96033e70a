import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { Ajv2020 } from "ajv/dist/2020.js";
import { parseSet, type TenantSet } from "../../src/tenant/set/tenant-set.ts";
import type { TestDatabase } from "./database.ts";

/** Adds tenants with few rows each: `small-1`, `small-2`, … */
export async function addSmallTenants(
  database: TestDatabase,
  many: number,
  first = 1,
): Promise<void> {
  await database.query(`
    INSERT INTO tenants (id, slug, name, primary_region, data_retention_days, created_at, updated_at)
    SELECT md5('t' || n)::uuid, 'small-' || n, 'Small ' || n, 'eu-central-1', 30, now(), now()
      FROM generate_series(${first}, ${first + many - 1}) AS n;
    INSERT INTO users (id, tenant_id, email, display_name, password_hash, role, is_active,
                       created_at, updated_at)
    SELECT md5('u' || n || '/' || k)::uuid, md5('t' || n)::uuid,
           'user-' || k || '@small-' || n || '.example', 'User', '!', 'ADMIN', true, now(), now()
      FROM generate_series(${first}, ${first + many - 1}) AS n, generate_series(1, 3) AS k;
    INSERT INTO sites (id, tenant_id, name, connectivity_state, created_at, updated_at)
    SELECT md5('s' || n || '/' || k)::uuid, md5('t' || n)::uuid, 'Site ' || k, 'ONLINE', now(), now()
      FROM generate_series(${first}, ${first + many - 1}) AS n, generate_series(1, 2) AS k;
    INSERT INTO hosts (id, tenant_id, site_id, hostname, cpu_cores_total, memory_bytes_total,
                       storage_bytes_total, kvm_available, cloud_hypervisor_available,
                       created_at, updated_at)
    SELECT md5('h' || n || '/' || k)::uuid, md5('t' || n)::uuid,
           md5('s' || n || '/' || (1 + k % 2))::uuid, 'host-' || k, 16, 68719476736, 1099511627776,
           true, true, now(), now()
      FROM generate_series(${first}, ${first + many - 1}) AS n, generate_series(1, 4) AS k;
    ANALYZE`);
}

const schema = new URL("../../schemas/tenant-set.schema.json", import.meta.url);

/** The set of a manifest's text, which has to fit its schema and its own hash. */
export async function setOf(text: string): Promise<TenantSet> {
  const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
  const validate = ajv.compile(JSON.parse(await readFile(schema, "utf8")));
  assert.ok(validate(JSON.parse(text)), JSON.stringify(validate.errors));
  return parseSet(text, "of the test");
}
